"""What `tinydeploy mlperf` does: firmware, inputs, modes, sessions on disk."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinydeploy.devices import mlperf_board, mlperf_report, mlperf_rules
from tinydeploy.devices.mlperf import (
    CHUNK_BYTES,
    CHUNK_BYTES_METERED,
    DeviceName,
    MlperfClient,
)
from tinydeploy.devices.mlperf_rules import Rules, Sample
from tinydeploy.errors import UsageError, WrongFirmwareError
from tinydeploy.types import DeviceProfile

if TYPE_CHECKING:
    from tinydeploy.ports import Meter

NOT_A_SUBMISSION = (
    "not an MLPerf result: only a reviewed submission with MLCommons' own runner may be called one"
)
MODES = {"performance": "p", "accuracy": "a", "energy": "e"}


@dataclass(frozen=True)
class Job:
    """All that the command's options say."""

    model: Path
    device: DeviceProfile
    modes: tuple[str, ...]
    data: Path | None
    samples: int | None
    port: str
    baud: int | None
    io_manager: bool
    meter: str
    out: Path | None
    engine: str
    optimize: str
    tflm_lib: str
    described: dict[str, Any]

    def __post_init__(self) -> None:
        if "accuracy" in self.modes and self.data is None:
            raise UsageError("accuracy needs labelled data", hint="--data DIR or FILE.npz")
        if "energy" in self.modes and not self.meter:
            raise UsageError(
                "energy needs a meter", hint="--meter lpm01a:/dev/ttyACM1, for example"
            )


def plan(job: Job, rules: Rules) -> dict[str, Any]:
    """What `run` would do, for `--dry-run`."""
    return {
        "model": str(job.model),
        "board": job.device.name,
        "port": job.port or ("" if job.device.real else "(started here)"),
        "modes": list(job.modes),
        "clock": mlperf_board.clock_of(job.device).text,
        "rules": dataclasses.asdict(rules),
        "out": str(job.out) if job.out else None,
        "note": NOT_A_SUBMISSION,
    }


def run(job: Job, rules: Rules, progress: Callable[[str], None]) -> dict[str, Any]:
    """Build, run all modes, write their sessions. Returns what `--json` prints."""
    clock = mlperf_board.clock_of(job.device)
    result: dict[str, Any] = {
        "board": job.device.name,
        "model": job.model.stem,
        "origin": clock.origin,
        "clock": clock.text,
        "submission": False,
        "note": NOT_A_SUBMISSION,
    }
    samples = _samples(job)
    plain = [mode for mode in job.modes if mode != "energy"]
    if plain:
        result |= _on_board(job, job.device, plain, samples, rules, progress)
    if "energy" in job.modes:
        device = mlperf_board.energy_mode(job.device)
        result |= _on_board(job, device, ["energy"], samples, rules, progress)
    return result


def _on_board(
    job: Job,
    device: DeviceProfile,
    modes: Sequence[str],
    samples: Sequence[Sample],
    rules: Rules,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.fit import require_fit

    if job.baud:
        device = dataclasses.replace(device, baud=job.baud)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        build = wiring.build_firmware(
            job.model, device, Path(scratch) / "build",
            engine=job.engine, optimize=job.optimize, tflm_lib=job.tflm_lib,
        )  # fmt: skip
        require_fit(build.footprint, device)
        with mlperf_board.open_board(build, device, job.port) as link:
            chunk = CHUNK_BYTES_METERED if "energy" in modes else CHUNK_BYTES
            client = MlperfClient(link, chunk, job.io_manager)
            if job.io_manager:
                client.set_baud(device.baud)
            else:
                mlperf_board.require_build(link, build)
            name = client.identify()
            _require_board(name, device)
            found = {"device": name.board, "model": name.model, "build_id": build.build_id}
            for mode in modes:
                progress(f"{mode}: {name.model} on {name.board}")
                if mode == "performance":
                    found[mode] = _performance(job, client, samples, rules, progress)
                elif mode == "accuracy":
                    found[mode] = _accuracy(job, client, samples, progress)
                else:
                    with closing(wiring.meter(job.meter, device)) as meter:
                        found[mode] = _energy(job, client, samples, meter, rules, progress)
    return found


def _require_board(name: DeviceName, device: DeviceProfile) -> None:
    """Behind an interface board the build cannot be asked for, but the board's name can."""
    if name.board != device.name:
        raise WrongFirmwareError(
            f"the device calls itself {name.board}, not {device.name}",
            hint="flash the firmware that `tinydeploy build` makes for this board",
        )


def _performance(
    job: Job, client: MlperfClient, samples: Sequence[Sample], rules: Rules, progress: Any
) -> dict[str, Any]:
    runs = mlperf_rules.performance(client, samples, rules, progress)
    lines = mlperf_report.performance_lines(runs, datetime.now(), rules)
    entries = [mlperf_report.run_json(run, "p") for run in runs]
    rates = mlperf_rules.throughputs(runs)
    return {
        "median_throughput": statistics.median(rates),
        "throughputs": rates,
        "iterations": runs[0].infer.iterations,
        "runtimes_s": [(run.infer.elapsed_us or 0) / 1e6 for run in runs],
        **_session(job, "performance", lines, entries, client),
    }


def _accuracy(
    job: Job, client: MlperfClient, samples: Sequence[Sample], progress: Any
) -> dict[str, Any]:
    from tinydeploy.pipeline.metrics import auc

    runs = mlperf_rules.accuracy(client, samples, progress)
    top1, area = mlperf_rules.top1(runs), mlperf_rules.mean_auc(runs, auc)
    lines = mlperf_report.accuracy_lines(top1, area, datetime.now())
    entries = [mlperf_report.run_json(run, "a") for run in runs]
    session = _session(job, "accuracy", lines, entries, client)
    return {"top1": top1, "auc": area, "samples": len(runs), **session}


def _energy(
    job: Job,
    client: MlperfClient,
    samples: Sequence[Sample],
    meter: Meter,
    rules: Rules,
    progress: Any,
) -> dict[str, Any]:
    trials = mlperf_rules.energy(client, samples, meter, rules, progress)
    entries = [mlperf_report.run_json(trial.run, "e", trial) for trial in trials]
    energies = [trial.uj_per_inference for trial in trials]
    return {
        "median_uj": statistics.median(energies),
        "uj": energies,
        "iterations": trials[0].run.infer.iterations,
        "windows_s": [trial.window_s for trial in trials],
        "meter": meter.name,
        **_session(job, "energy", mlperf_report.energy_lines(trials), entries, client),
    }


def _session(
    job: Job, mode: str, lines: list[str], entries: list[dict[str, Any]], client: MlperfClient
) -> dict[str, Any]:
    """Write a mode's session below --out; the lines are printed as well."""
    notes = [NOT_A_SUBMISSION, f"time: {mlperf_board.clock_of(job.device).text}"]
    transcript = client.transcript.copy()
    client.transcript.clear()
    if job.out is None:
        return {"lines": lines, "session": None}
    folder = job.out / mode
    mlperf_report.write_session(folder, notes, lines, entries, transcript)
    return {"lines": lines, "session": str(folder)}


# ---------------------------------------------------------------- inputs
def _samples(job: Job) -> list[Sample]:
    """The runner's own form of a data set, an .npz or images, or one random input."""
    from tinydeploy.cli import options
    from tinydeploy.cli.arrays import random_inputs
    from tinydeploy.tflite import read_graph

    graph = read_graph(job.model)
    if job.data is None:
        arrays = random_inputs(graph, 1)
        return [Sample("random", b"".join(a[0].tobytes() for a in arrays), 0, 1)]
    if len(graph.inputs) != 1:
        raise UsageError("--data is for models with one input", hint="leave it out: random inputs")
    tensor = graph.tensors[graph.inputs[0]]
    if (job.data / mlperf_rules.LABELS).is_file():
        size = tensor.elements * np.dtype(tensor.dtype).itemsize
        return mlperf_rules.read_samples(job.data, size, job.samples)
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.prepare import prepare

    description = wiring.artifact(job.model, options.input_description(**job.described), None).input
    data = load_dataset(job.data, description=description)
    if job.samples is not None:
        data = data.head(min(job.samples, len(data)))
    if data.y is None and "accuracy" in job.modes:
        raise UsageError(f"{job.data} has no labels", hint="accuracy needs y")
    classes = graph.tensors[graph.outputs[0]].elements
    labels = np.zeros(len(data), int) if data.y is None else data.y
    rows = prepare(data.x, tensor, description)
    return [
        Sample(f"{number:06}.bin", row.tobytes(), int(label), classes)
        for number, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]
