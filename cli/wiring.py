"""Puts the rooms together: the implementations behind the ports. Imports on demand."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy import plugins
from tinydeploy.lineage import Lineage, tool_versions
from tinydeploy.store import sha256_json, sha256_tree
from tinydeploy.types import (
    Artifact,
    Build,
    DeviceProfile,
    Evaluation,
    InputDescription,
    Measurement,
    Profile,
    Task,
    to_json,
)

if TYPE_CHECKING:
    import numpy as np

    from tinydeploy.compiler.aot import AotCompiler
    from tinydeploy.config import Config
    from tinydeploy.graph import Graph
    from tinydeploy.pipeline.data import Dataset
    from tinydeploy.pipeline.run import Tools
    from tinydeploy.ports import Builder, Meter, Predictor, Runner
    from tinydeploy.registry.lifecycle import Lifecycle
    from tinydeploy.registry.mlflow import MlflowRegistry

PORT_BACK_S = 10.0
ROOMS = ("pipeline", "compiler", "devices", "firmware")


def devices(names: Iterable[str], profiles: Iterable[Path] = ()) -> dict[str, DeviceProfile]:
    """The profiles of boards by name, in the given order."""
    from tinydeploy.devices.catalogue import find

    return {name: find(name, profiles) for name in names}


def compiler() -> AotCompiler:
    """The compiler of both engines."""
    from tinydeploy.compiler.aot import AotCompiler

    return AotCompiler()


def builder(tflm_lib: str = "") -> Builder:
    """PlatformIO. `tflm_lib` names the library that the `tflm` engine needs."""
    from tinydeploy.devices.platformio import PlatformioBuilder

    return PlatformioBuilder(tflm_lib)


def runner(
    device: DeviceProfile,
    port: str = "",
    baudrate: int | None = None,
    meter: Meter | None = None,
) -> Runner:
    """What carries firmware for this board: an emulator, a process, a serial port.

    With a `port` (a serial port, a URL, a board's serial number) it is that, whatever the board.
    `meter` measures energy in the board's supply.
    """
    if port or device.platform not in plugins.names("runner"):
        from tinydeploy.devices.serial_board import SerialRunner

        return SerialRunner(port, baudrate, meter=meter)
    made: Runner = plugins.load("runner", device.platform)(**({"meter": meter} if meter else {}))
    return made


def meter(address: str, device: DeviceProfile) -> Meter:
    """The energy meter at `KIND:ADDRESS[,KEY=VALUE...]`, set to the board's supply voltage."""
    from tinydeploy.devices.meter.address import open_meter

    return open_meter(address, device.supply_v)


def registry(where: Path | str) -> MlflowRegistry:
    """MLflow below a folder's mlruns/, or on the server at a URL (with an outbox)."""
    if isinstance(where, str):
        from tinydeploy.cli import options
        from tinydeploy.registry.queueing import QueueingRegistry

        return QueueingRegistry(where, options.progress)
    from tinydeploy.registry.mlflow import MlflowRegistry

    return MlflowRegistry(where)


def lifecycle(where: Path | str) -> Lifecycle:
    """Promotes, pins and rolls back what is registered."""
    if isinstance(where, str):
        from tinydeploy.cli import options
        from tinydeploy.registry.facts import QueueingLifecycle
        from tinydeploy.registry.queueing import QueueingRegistry

        return QueueingLifecycle(QueueingRegistry(where, options.progress))
    from tinydeploy.registry.lifecycle import Lifecycle

    return Lifecycle(registry(where))


@cache
def fingerprints() -> dict[str, str]:
    """A hash of each room's code, and of the core's, for cached results."""
    patterns = (
        "**/*.py",
        "**/*.toml",
        "**/*.c",
        "**/*.cc",
        "**/*.h",
        "**/*.ld",
        "**/*.ini",
        "**/*.json",
    )
    core = sha256_tree(_folder("tinydeploy"), ("*.py",))
    return {
        r: sha256_json([core, sha256_tree(_folder(f"tinydeploy.{r}"), patterns)]) for r in ROOMS
    }


def lineage() -> Lineage:
    """What makes a variant or a build here and now: the code of the rooms, the packages."""
    return Lineage(code=fingerprints(), tools=tool_versions())


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed")
    return Path(spec.origin).parent


def tools(config: Config, store: MlflowRegistry) -> Tools:
    """Everything `pipeline.run.deploy` needs."""
    from tinydeploy.pipeline.run import Tools

    made = builder(config.tflm_lib)
    if config.engine == "tflm":
        from tinydeploy.cli.tflm_firmware import MeasuringBuilder

        made = MeasuringBuilder(made, config.tflm_lib)
    return Tools(compiler(), made, runner, store, fingerprints())


# ---------------------------------------------------------------- steps that several commands share
def require_deployable(model: Path) -> None:
    """Refuse a model that computes wrongly, or not at all, on a microcontroller."""
    from tinydeploy.pipeline import checks
    from tinydeploy.tflite import read_graph

    checks.require_deployable(read_graph(model))


def build_firmware(
    model: Path,
    device: DeviceProfile,
    out: Path,
    *,
    engine: str,
    optimize: str,
    profile: bool = False,
    tflm_lib: str = "",
    updatable: bool = False,
) -> Build:
    """Compile a model and link it for a board, into `out`; with `profile` it marks its layers.

    `tflm_lib` names the library that the `tflm` engine needs. The model of `updatable` firmware
    can be exchanged on the board.
    """
    require_deployable(model)
    if engine == "tflm" and not updatable:
        from tinydeploy.cli.tflm_firmware import build

        return build(model, device, out, profile=profile, library=tflm_lib)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        sources = Path(scratch) / "source"
        compiled = compiler().compile(
            model,
            sources,
            device=device,
            engine=engine,
            optimize=optimize,
            profile=profile,
            updatable=updatable,
        )
        return builder().build(compiled, model, device, out)


def identify_after_upload(build: Build, device: DeviceProfile, port: str) -> Any:
    """Who the board says it is; a real one may need some seconds until its port is back."""
    import time

    from tinydeploy.errors import LinkError

    port = "" if port and Path(port).is_dir() else port
    deadline = time.monotonic() + (PORT_BACK_S if device.real else 0)
    while True:
        try:
            return runner(device, port).identify(build, device)
        except LinkError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def export_model(
    model: Path,
    device: DeviceProfile,
    out: Path,
    *,
    engine: str,
    optimize: str,
    tflm_lib: str = "",
) -> list[str]:
    """Write a model as a project for people's own firmware into `out`; its files."""
    from tinydeploy.devices.platformio import PlatformioBuilder

    require_deployable(model)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        compiled = compiler().compile(
            model, Path(scratch) / "source", device=device, engine=engine, optimize=optimize
        )
        return PlatformioBuilder(tflm_lib).export(compiled, model, device, out)


def artifact(model: Path, description: InputDescription | None, task: Task | None) -> Artifact:
    """The artifact of a `.tflite`, with what options say laid over its description."""
    from tinydeploy.pipeline.artifact import load_artifact
    from tinydeploy.pipeline.metrics import DEFAULT_METRIC

    found = load_artifact(model)
    if description:
        found = dataclasses.replace(found, input=description)
    if task:
        found = dataclasses.replace(found, task=task, metric=DEFAULT_METRIC[task])
    return found


def evaluate(artifact: Artifact, data: Dataset, engine: str, split: str = "") -> Evaluation:
    """An artifact's metric on a data set, computed by `aot`, `litert` or `tflm`."""
    from tinydeploy.pipeline.evaluate import evaluate

    predictor: Predictor
    if engine == "aot":
        predictor = compiler().native(artifact.path)
    else:
        predictor = plugins.load("interpreter", engine)(artifact.path)
    try:
        return evaluate(artifact, data, predictor, split=split, engine=engine)
    finally:
        predictor.close()


def run_on_host(
    model: Path, inputs: list[np.ndarray], optimize: str
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Outputs of the native build, and the one figure a host has: the plan of the arena."""
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        compiled = compiler().compile(model, Path(scratch) / "source", optimize=optimize)
    predictor = compiler().native(model, optimize=optimize)
    try:
        outputs = predictor.predict(inputs)
    finally:
        predictor.close()
    nothing = dict.fromkeys(("instructions", "flash_bytes", "ram_bytes", "code_bytes"))
    return outputs, {
        "board": "host", **nothing, "arena_bytes": compiled.arena_bytes, "flash": None, "ram": None,
    }  # fmt: skip


def run_compared(
    build: Build,
    device: DeviceProfile,
    inputs: list[np.ndarray],
    port: str = "",
    baudrate: int | None = None,
    meter: Meter | None = None,
) -> tuple[list[np.ndarray], Measurement]:
    """Run a build and compare every output with the host's: the native build, or TFLite-Micro.

    `port`, `baudrate` and `meter` as for `runner`.
    """
    from tinydeploy.pipeline.host import HostBuild, compare

    def on_host() -> Predictor:
        if build.engine == "tflm":
            predictor: Predictor = plugins.load("interpreter", "tflm")(build.model_path)
            return predictor
        return compiler().native(build.model_path, optimize=build.optimize)

    outputs, measurement = runner(device, port, baudrate, meter).run(build, device, inputs)
    host = HostBuild(on_host)
    try:
        return outputs, compare(outputs, host.predict(inputs), measurement)
    finally:
        host.close()


def figures(build: Build, measurement: Measurement) -> dict[str, Any]:
    """What `run --json` prints: footprint with the measured stack, raw counts, origins."""
    footprint = build.footprint
    if measurement.stack_bytes is not None:
        footprint = footprint.with_stack(measurement.stack_bytes)
    return {
        "board": build.board,
        "engine": build.engine,
        "build_id": build.build_id,
        **to_json(footprint),
        **{
            key: to_json(getattr(measurement, key))
            for key in ("instructions", "cycles_model", "latency_us", "energy_uj", "stack_bytes")
        },
        "origin": dict(measurement.origin),
        "method": measurement.method,
    }


def layer_costs(graph: Graph, parts: Profile, whole: Measurement) -> dict[str, Any]:
    """What `profile --json` prints: a row a layer, and how well their sum meets the whole.

    `whole` is the measurement of ordinary firmware with the same input. `sum` is that of the
    layers; what the engine does between them is in `outside`.
    """
    from tinydeploy.graph_stats import macs

    counted = parts.instructions is not None
    unit = "instructions" if counted else "latency_us"
    total = getattr(parts, unit) or 0
    samples = getattr(whole, unit)
    rows = []
    for cost in parts.layers:
        op = graph.ops[cost.layer]
        value = getattr(cost, unit)
        work = macs(op, graph)
        rows.append(
            {
                "layer": cost.layer,
                "op": op.name,
                "output_shape": "x".join(map(str, graph.tensors[op.outputs[0]].shape)),
                "macs": work,
                **to_json(cost),
                "share": value / total if total else 0.0,
                "per_mac": value / work if work else None,
            }
        )
    layers = sum(row[unit] for row in rows)
    return {
        "board": parts.board,
        "unit": unit,
        "layers": rows,
        "outside": total - layers,
        "sum": layers,
        "whole": samples[-1],
        "sum_over_whole": layers / samples[-1] if samples[-1] else 1.0,
        "cycles_model": parts.cycles_model,
        "origin": dict(parts.origin),
    }
