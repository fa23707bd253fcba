"""The firmware of a hand-written model, compiled for this machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from tinydeploy.types import Build, DeviceProfile, Footprint

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "firmware"
TOY = Path(__file__).parent / "data" / "toy_model"
BUILD_ID = "1" * 64
INPUT_BYTES = 108
LINE_BYTES = 140

_FLAGS = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]


def compile_toy(out: Path, *extra: str, folder: Path = TOY) -> Path:
    """The toy model's firmware, with further compiler arguments, or that in another folder."""
    sources = [
        FIRMWARE / "src" / "main.c",
        FIRMWARE / "ports" / "native.c",
        folder / "td_model.c",
        *sorted((FIRMWARE / "lib" / "td_link").glob("*.c")),
    ]
    includes = [
        f"-I{folder}" for folder in (FIRMWARE / "include", FIRMWARE / "lib/td_link", folder)
    ]
    subprocess.run(["cc", *_FLAGS, *includes, *extra, *sources, "-o", out], check=True)
    return out


def toy_build(elf: Path, build_id: str = BUILD_ID) -> Build:
    """What a builder would return for it; there is no .tflite behind it."""
    return Build(
        directory=elf.parent,
        elf=elf,
        build_id=build_id,
        board="loopback",
        engine="aot",
        optimize="balanced",
        compiler="cc",
        model_path=elf.parent / "none.tflite",
        model_sha256="2" * 64,
        firmware_sha256="",
        footprint=Footprint(0, 0, 0, 0, {}, {}),
    )


def toy_board(measures: bool = True, **script: str) -> DeviceProfile:
    """A board of the platform "native" with the words of a script."""
    return DeviceProfile(
        name="loopback",
        description="",
        core="host",
        flash_bytes=1 << 20,
        ram_bytes=1 << 20,
        clock_hz=0,
        platform="native",
        emulator=script,
        measures_time=measures,
        measures_energy=measures,
    )


def toy_inputs(samples: int, seed: int = 0) -> list[np.ndarray]:
    """Random inputs; the first byte keeps clear of the pattern that hangs the model."""
    rng = np.random.default_rng(seed)
    first = rng.integers(-128, 128, (samples, 100)).astype(np.int8)
    first[:, 0] &= 0x3F
    return [first, rng.normal(size=(samples, 2)).astype(np.float32)]


def toy_outputs(inputs: list[np.ndarray]) -> list[np.ndarray]:
    """What the model computes (see data/toy_model/td_model.c), in numpy."""
    first, second = inputs
    summary = np.stack(
        [
            first.sum(1, dtype=np.int16),
            (second[:, 0] > second[:, 1]).astype(np.int16),
            np.arange(1, len(first) + 1, dtype=np.int16),
        ],
        axis=1,
    )
    return [(first.view(np.uint8) + np.uint8(1)).view(np.int8), summary]
