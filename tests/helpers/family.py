"""A family of variants and their builds on boards, as `deploy` would hand them to the registry."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.store import sha256_bytes
from tinydeploy.types import (
    Artifact,
    Build,
    Evaluation,
    Footprint,
    InputDescription,
    Measurement,
    ModelSource,
    Selection,
)

BOARD = "qemu-cortex-m4"

DATA = {
    "calibration": {
        "path": "/data/calibration.npz",
        "sha256": "c" * 64,
        "samples": 200,
        "context": "calibration",
    },
    "validation": {
        "path": "/data/validation.npz",
        "sha256": "d" * 64,
        "samples": 4,
        "context": "validation",
    },
}


def tflite_bytes(seed: int) -> bytes:
    """A real small model; trailing bytes, which readers ignore, make it another one."""
    model = Path(__file__).parents[1] / "models" / "conv1d_int8.tflite"
    return model.read_bytes() + bytes([seed]) * 4


def variant(
    folder: Path, source: str = "net", recipe: str = "int8", seed: int = 0, value: float = 0.75
) -> tuple[ModelSource, Artifact, Evaluation, dict[str, Any]]:
    """The arguments of `register` after the name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{source}-{recipe}-{seed}.tflite"
    path.write_bytes(tflite_bytes(seed))
    sha256 = sha256_bytes(path.read_bytes())
    model = ModelSource(folder / f"{source}.keras", "keras", sha256_bytes(source.encode()), source)
    artifact = Artifact(
        path=path,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        recipe=recipe,
        source_name=source,
        source_sha256=model.sha256,
        data_sha256="c" * 64,
        labels=("a", "b"),
        input=InputDescription(dtype="uint8", scale=1 / 255),
    )
    evaluation = Evaluation(
        model_sha256=sha256,
        data_sha256="d" * 64,
        split="validation",
        engine="aot",
        metric="accuracy",
        value=value,
        samples=4,
        metrics={"accuracy": value},
        correct=(1, 1, 1, 0),
    )
    return model, artifact, evaluation, DATA


def build(folder: Path, artifact: Artifact, board: str = BOARD, **new: Any) -> Build:
    """A build with its files; the figures depend on the model's size and the board's name."""
    folder.mkdir(parents=True, exist_ok=True)
    elf = folder / "firmware.elf"
    elf.write_bytes(b"\x7fELF" + board.encode() + artifact.sha256.encode())
    engine_code = 10_000 + len(board)
    made = Build(
        directory=folder,
        elf=elf,
        build_id=sha256_bytes(f"{artifact.sha256} {board}".encode()),
        board=board,
        engine="aot",
        optimize="balanced",
        compiler="arm-none-eabi-gcc 12.2.1",
        model_path=artifact.path,
        model_sha256=artifact.sha256,
        firmware_sha256=sha256_bytes(elf.read_bytes()),
        footprint=Footprint(
            flash_bytes=artifact.size_bytes + engine_code + 2_000,
            ram_bytes=8_192,
            arena_bytes=4_096,
            code_bytes=engine_code,
            flash={
                "weights": artifact.size_bytes,
                "engine_code": engine_code,
                "protocol": 1_500,
                "libc_startup": 500,
            },
            ram={"arena": 4_096, "io": 100, "stack": 2_048, "protocol": 1_900, "libc": 48},
        ),
    )
    made = dataclasses.replace(made, **new)
    described = {"build_id": made.build_id, "board": made.board}
    (folder / "build.json").write_text(json.dumps(described), encoding="utf-8")
    return made


def measurement(made: Build, **new: Any) -> Measurement:
    """What an emulator found out with three inputs."""
    found = Measurement(
        build_id=made.build_id,
        board=made.board,
        samples=3,
        outputs_compared=3,
        outputs_equal=3,
        instructions=(1_000_001, 1_000_003, 1_000_004),
        cycles_model=1_250_000,
        stack_bytes=512,
        arena_bytes=4_096,
        origin={
            "instructions": "emulated",
            "cycles_model": "estimated",
            "stack_bytes": "emulated",
            "arena_bytes": "emulated",
        },
        method="qemu, TCG plugin",
    )
    return dataclasses.replace(found, **new)


def choose(registry: MlflowRegistry, chosen: str | None, board: str = BOARD) -> Selection:
    """A selection of one variant by name, with a reason for each other."""
    candidates = registry.candidates("family", board)
    reasons = {c.name: f"not {chosen}" for c in candidates if c.name != chosen}
    pick = next((c for c in candidates if c.name == chosen), None)
    pareto = (chosen,) if chosen else ()
    return Selection(board, "flash", pick, tuple(candidates), pareto, reasons)


def registered(
    registry: MlflowRegistry, folder: Path, *recipes: str, board: str = BOARD
) -> dict[str, tuple[str, str]]:
    """Variants with a run each: recipe -> (version, run id)."""
    found = {}
    for seed, recipe in enumerate(recipes):
        model = variant(folder, recipe=recipe, seed=seed, value=0.5 + seed / 10)
        version = registry.register("family", *model)
        made = build(folder / f"{recipe}-{board}", model[1], board)
        found[recipe] = version, registry.record("family", version, made, measurement(made))
    return found


def client_of(registry: MlflowRegistry) -> Any:
    """MLflow's own client, to see what it sees."""
    with registry.folder.locked() as client:
        return client
