"""Firmware builds: whole or not at all, offline, in the cache folder, errors in plain words."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builds import MODELS, SMALL_MODEL, Small, compile_small, inject

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import project, toolchain
from tinydeploy.devices.catalogue import SHIPPED, find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.loopback import LoopbackRunner
from tinydeploy.devices.platformio import PlatformioBuilder, identify, load_build
from tinydeploy.errors import DeviceError, DoesNotFitError, ToolMissingError, UsageError
from tinydeploy.store import sha256_file
from tinydeploy.types import Build

CORTEX_M4 = "qemu-cortex-m4"
OTHER_MODEL = MODELS / "autoencoder_int8.tflite"


def snapshot(folder: Path) -> dict[Path, int]:
    return {p: p.stat().st_mtime_ns for p in folder.rglob("*.o")}


# ---------------------------------------------------------------- what a build is
def test_a_build_can_be_moved(small: Small, tmp_path: Path) -> None:
    build = small(CORTEX_M4)
    moved = Path(shutil.copytree(build.directory, tmp_path / "moved"))
    assert sorted(p.name for p in moved.iterdir()) == [
        "SHA256SUMS", "build.json", "firmware.bin", "firmware.elf", "firmware.map", "model.tflite",
    ]  # fmt: skip
    assert str(build.directory) not in (moved / "build.json").read_text()
    again = load_build(moved)
    assert again == replace(
        build, directory=moved, elf=moved / "firmware.elf", model_path=moved / "model.tflite"
    )
    assert again.firmware_sha256 == sha256_file(moved / "firmware.bin")
    assert again.model_sha256 == sha256_file(moved / "model.tflite") == sha256_file(SMALL_MODEL)


def test_the_same_again_is_the_same(small: Small, tmp_path: Path) -> None:
    first, device = small(CORTEX_M4), find(CORTEX_M4)
    compiled = compile_small(SMALL_MODEL, device, tmp_path)
    second = PlatformioBuilder().build(compiled, SMALL_MODEL, device, tmp_path / "out")
    assert second.build_id == first.build_id
    assert second.firmware_sha256 == first.firmware_sha256
    assert second.build_id.encode() in (tmp_path / "out" / "firmware.bin").read_bytes()


def test_the_build_id_names_all_that_makes_it(tmp_path: Path) -> None:
    device = find(CORTEX_M4)
    compiled = compile_small(SMALL_MODEL, device, tmp_path)
    different = {
        identify(compiled, device, "gcc 12"),
        identify(compiled, device, "gcc 13"),
        identify(compiled, replace(device, ram_bytes=4096), "gcc 12"),
        identify(compiled, find("qemu-cortex-m3"), "gcc 12"),
        identify(replace(compiled, optimize="size"), device, "gcc 12"),
        identify(replace(compiled, engine="tflm"), device, "gcc 12"),
        identify(replace(compiled, model_sha256="0"), device, "gcc 12"),
    }
    inject(compiled, "    /* another source */")
    different.add(identify(compiled, device, "gcc 12"))
    assert len(different) == 8
    moved = replace(device, source="/elsewhere/board.toml")
    assert identify(compiled, moved, "gcc 12") in different


def test_a_model_recompiles_neither_kernels_nor_start_up(tmp_path: Path) -> None:
    device, builder = find(CORTEX_M4), PlatformioBuilder()
    with project.opened(device, "balanced") as held:
        objects = held.folder / ".pio" / "build" / device.name
    times = []
    for model in (SMALL_MODEL, OTHER_MODEL):
        compiled = compile_small(model, device, tmp_path / model.stem)
        builder.build(compiled, model, device, tmp_path / model.stem / "out")
        times.append(snapshot(objects))
    before, after = times
    changed = {p.name for p in after if before.get(p) != after[p]}
    assert "td_model.o" in changed
    assert not [name for name in changed if name.startswith(("startup", "cmsdk", "fault"))]
    kept = {p for p in after if "td_kernels" in p.parts}
    assert kept and all(before[p] == after[p] for p in kept)


# ---------------------------------------------------------------- boards of all kinds
def test_the_native_board_runs(small: Small) -> None:
    device, build = find("loopback"), small("loopback")
    x = np.zeros((2, *_input_shape()), np.int8)
    outputs, result = LoopbackRunner().run(build, device, [x])
    assert [o.tobytes() for o in outputs] == [
        e.tobytes() for e in AotCompiler().native(SMALL_MODEL).predict([x])
    ]
    assert result.latency_us == (1250.0, 1300.0) and result.energy_uj == (41.5, 42.75)


def _input_shape() -> tuple[int, ...]:
    from tinydeploy.tflite import read_graph

    graph = read_graph(SMALL_MODEL)
    return graph.tensors[graph.inputs[0]].shape[1:]


def test_a_board_of_the_user_with_its_own_port(root: Path, tmp_path: Path) -> None:
    text = (SHIPPED / f"{CORTEX_M4}.toml").read_text()
    (tmp_path / "my-board.toml").write_text(text.replace('"cmsdk"', '"my_port"'))
    with pytest.raises(UsageError, match=r"there is no port my_port\.c"):
        _build_for("my-board", tmp_path)
    port = (root / "firmware" / "ports" / "cmsdk.c").read_text()
    (tmp_path / "my_port.c").write_text(port)
    build = _build_for("my-board", tmp_path)
    identity = QemuRunner().identify(build, find("my-board", [tmp_path]))
    assert identity.board == "my-board"
    assert "my_port.o" in (build.directory / "firmware.map").read_text()


def _build_for(board: str, folder: Path, **changes: Any) -> Build:
    device = replace(find(board, [folder]), **changes)
    compiled = compile_small(SMALL_MODEL, device, folder)
    return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "out")


# ---------------------------------------------------------------- by hand
def by_hand(folder: Path) -> subprocess.CompletedProcess[str]:
    """`pio run` without a single setting of ours: what a user does in an exported project."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    return subprocess.run(
        [sys.executable, "-m", "platformio", "run"],
        cwd=folder,
        env=environment | {"PLATFORMIO_DISABLE_UPGRADE_CHECK": "true"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_pio_run_builds_the_project_by_hand(small: Small, tmp_path: Path) -> None:
    small(CORTEX_M4)
    with project.opened(find(CORTEX_M4), "balanced") as held:
        copy = Path(shutil.copytree(held.folder, tmp_path / "by hand"))
    shutil.rmtree(copy / ".pio", ignore_errors=True)
    result = by_hand(copy)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (copy / ".pio" / "build" / CORTEX_M4 / "firmware.bin").is_file()
    board = copy / "boards" / f"{CORTEX_M4}.json"
    data = json.loads(board.read_text())
    data["upload"]["maximum_size"] = 4096
    board.write_text(json.dumps(data))
    result = by_hand(copy)
    assert result.returncode != 0 and "greater than maximum allowed" in result.stderr


# ---------------------------------------------------------------- many at once, and killed ones
def test_two_models_at_once_for_one_board(tmp_path: Path) -> None:
    device = find(CORTEX_M4)

    def build(model: Path) -> tuple[str, bytes]:
        compiled = compile_small(model, device, tmp_path / model.stem)
        out = tmp_path / model.stem / "out"
        result = PlatformioBuilder().build(compiled, model, device, out)
        return result.build_id, (out / "firmware.bin").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        results = [*pool.map(build, [SMALL_MODEL, OTHER_MODEL] * 2)]
    assert results[0] == results[2] != results[1] == results[3]
    for build_id, image in results:
        assert build_id.encode() in image


BUILDS = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from builds import SMALL_MODEL, build_small
print("starts", flush=True)
build_small(SMALL_MODEL, "qemu-cortex-m4", Path(sys.argv[2]))
"""


def test_a_killed_build_leaves_nothing_half_made(tmp_path: Path) -> None:
    """Killed at several moments of a first build; the next one finds a cache that works."""
    environment = os.environ | {"TINYDEPLOY_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", BUILDS, str(Path(__file__).parent), str(tmp_path)]
    for seconds in (0.15, 0.6, 1.5):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        assert process.stdout is not None and process.stdout.readline() == b"starts\n"
        time.sleep(seconds)
        process.kill()
        process.communicate()
        out = tmp_path / "build"
        assert not out.exists() or load_build(out).board == CORTEX_M4
    subprocess.run(command, env=environment, check=True, timeout=300)
    build = load_build(tmp_path / "build")
    assert build.build_id.encode() in (build.directory / "firmware.bin").read_bytes()


# ---------------------------------------------------------------- what goes wrong
@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    """A folder that the failing build must leave alone, with nothing beside it."""
    folder = tmp_path / "out"
    yield folder
    assert not folder.exists()
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_compile_errors_come_first(tmp_path: Path, out: Path) -> None:
    device = find(CORTEX_M4)
    compiled = inject(compile_small(SMALL_MODEL, device, tmp_path), "    this is wrong;")
    with pytest.raises(DeviceError) as caught:
        PlatformioBuilder().build(compiled, SMALL_MODEL, device, out)
    first = caught.value.message.splitlines()[1]
    assert "model/td_model.c" in first and "error: " in first
    assert "pio run" in caught.value.hint


def test_undefined_symbols_are_named(tmp_path: Path, out: Path) -> None:
    device = find(CORTEX_M4)
    code = "    extern void td_not_there(void);\n    td_not_there();"
    compiled = inject(compile_small(SMALL_MODEL, device, tmp_path), code)
    with pytest.raises(DeviceError, match="undefined reference to `td_not_there'"):
        PlatformioBuilder().build(compiled, SMALL_MODEL, device, out)


def test_a_missing_compiler_names_the_package(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = find(CORTEX_M4)
    compiled = compile_small(SMALL_MODEL, device, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="arm-none-eabi-gcc is not on PATH") as caught:
        PlatformioBuilder().build(compiled, SMALL_MODEL, device, out)
    assert toolchain.PACKAGES["arm-none-eabi-gcc"] in caught.value.hint


def test_too_large_for_the_board_still_links(tmp_path: Path) -> None:
    build = _build_for(CORTEX_M4, tmp_path, flash_bytes=2048, ram_bytes=512)
    assert build.footprint.flash_bytes > 2048 and build.footprint.ram_bytes > 512


def test_too_large_to_link_says_how_much(tmp_path: Path, out: Path) -> None:
    """RAM begins right behind this board's flash, so the linker has no room to spare."""
    device = replace(find(CORTEX_M4), flash_bytes=4096, ram_origin=4096, ram_bytes=8192)
    compiled = compile_small(SMALL_MODEL, device, tmp_path)
    with pytest.raises(DoesNotFitError, match=r"needs at least ([\d,]+) B of flash") as caught:
        PlatformioBuilder().build(compiled, SMALL_MODEL, device, out)
    assert "has 4,096 B" in caught.value.message
    needed = int(caught.value.message.split(" B of flash")[0].split()[-1].replace(",", ""))
    real = _build_for(CORTEX_M4, tmp_path / "real").footprint.flash_bytes
    assert 4096 < needed <= real + 64


def test_the_host_takes_no_firmware(tmp_path: Path, out: Path) -> None:
    compiled = compile_small(SMALL_MODEL, find("host"), tmp_path)
    with pytest.raises(UsageError, match="host takes no firmware"):
        PlatformioBuilder().build(compiled, SMALL_MODEL, find("host"), out)


def test_another_engine_is_refused(tmp_path: Path, out: Path) -> None:
    device = find(CORTEX_M4)
    compiled = replace(compile_small(SMALL_MODEL, device, tmp_path), engine="tflm")
    with pytest.raises(UsageError, match="tflm"):
        PlatformioBuilder().build(compiled, SMALL_MODEL, device, out)


@pytest.mark.parametrize("damage", ["missing", "no json", "wrong key", "no elf"])
def test_a_damaged_build_is_refused(damage: str, small: Small, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small(CORTEX_M4).directory, tmp_path / "build"))
    file = folder / "build.json"
    if damage == "missing":
        file.unlink()
    elif damage == "no json":
        file.write_text(file.read_text()[:100])
    elif damage == "wrong key":
        file.write_text(json.dumps({**json.loads(file.read_text()), "surprise": 1}))
    else:
        (folder / "firmware.elf").unlink()
    with pytest.raises(UsageError) as caught:
        load_build(folder)
    assert caught.value.hint
