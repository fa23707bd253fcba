"""Results in the form of MLCommons' runner: `results.txt`, `results.json`, `log.txt`.

Lines and keys are those that `benchmark/runner` of mlcommons/tiny writes, so that what reads its
sessions reads ours. Nothing that is written here is a submission: `notes` say so on top of
`results.txt`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tinydeploy.devices.mlperf_rules import Rules, Run, Trial, throughputs
from tinydeploy.store import write_atomic

_RULE = 57 * "-"


def performance_lines(runs: Sequence[Run], now: datetime, rules: Rules) -> list[str]:
    """What the runner prints of performance windows."""
    values = throughputs(runs)
    lines = []
    for number, (run, throughput) in enumerate(zip(runs, values, strict=True), 1):
        elapsed_s = (run.infer.elapsed_us or 0) / 1e6
        lines += [
            f"Performance results for window {number}",
            f"    # Inferences : {run.infer.iterations}",
            f"    Runtime: {elapsed_s} sec.",
            f"    Throughput: {throughput} inf./sec.",
        ]
        if elapsed_s >= rules.window_s:
            lines.append("    Runtime requirements have been met.")
    median = statistics.median(values)
    stamp = f"{now:%m%d.%H%M%S} ulp-mlperf: "
    return [
        *lines,
        stamp + _RULE,
        f"{stamp}Median throughput is {median:>10.3f} inf./sec.",
        stamp + _RULE,
    ]


def accuracy_lines(top1: float, auc: float | None, now: datetime) -> list[str]:
    """What the runner prints of an accuracy run."""
    stamp = f"{now:%m%d.%H%M%S} ulp-mlperf: "
    lines = [f"{stamp}Top 1% = {100 * top1:2.1f}"]
    return lines if auc is None else [*lines, f"{stamp}AUC = {auc:.3f}"]


def energy_lines(trials: Sequence[Trial]) -> list[str]:
    """What the runner prints of energy trials."""
    lines = ["Power Edition Output"]
    for number, trial in enumerate(trials):
        energy_j = trial.trace.energy_j(trial.start_s, trial.end_s)
        lines += [
            f"Energy data for trial {number}",
            f"  Elapsed time  : {trial.window_s}",
            f"  Inferences    : {trial.run.infer.iterations}",
            f"  Power         : {1e3 * energy_j / trial.window_s:5.4f} mW.",
            f"  Total Energy  : {1e6 * energy_j:.3f} uJ",
            f"  Energy/Inf    : {trial.uj_per_inference:.3f} uJ/inf",
        ]
    median = statistics.median(trial.uj_per_inference for trial in trials)
    return [*lines, _RULE, f"Median energy cost is {median:5.4f} uJ/inf.", _RULE]


def run_json(run: Run, mode: str, trial: Trial | None = None) -> dict[str, Any]:
    """One entry of `results.json`. `trial` adds samples (J) and (number, sample) of each edge."""
    infer = run.infer
    found: dict[str, Any] = {"results": list(infer.results), "total_inferences": 1}
    if infer.start_us is not None:
        found |= {"start_time": infer.start_us, "end_time": infer.end_us}
        found |= {"elapsed_time": infer.elapsed_us}
    found |= {"iterations": infer.iterations, "warmups": infer.warmups}
    if mode == "p":
        found["throughput"] = throughputs([run])[0]
    entry: dict[str, Any] = {
        "file": run.sample.file,
        "classes": str(run.sample.classes),
        "class": str(run.sample.label),
        "bytes_to_send": None,
        "stride": None,
        "total_length": None,
        "infer": found,
        "mode": mode,
    }
    if trial is not None:
        entry["power"] = _power(trial)
    return entry


def _power(trial: Trial) -> dict[str, Any]:
    """Energy a sample in joules and the edges' sample numbers, as the runner keeps them."""
    trace = trial.trace
    first, last = trace.bounds_s
    steps = [*(float(b - a) for a, b in zip(trace.time_s, trace.time_s[1:], strict=False))]
    steps.append(last - float(trace.time_s[-1]))
    joules = [float(p) * dt for p, dt in zip(trace.power_w, steps, strict=True)]
    edges = [
        (f"{number:02}", int((trace.time_s < edge).sum()))
        for number, edge in enumerate(trace.edges_s)
    ]
    return {
        "samples": joules,
        "timestamps": edges,
        "extracted_power": None,
        "voltage": float(trace.voltage_v.mean()),
        "sample_rate_hz": (len(joules) - 1) / (last - first) if last > first else None,
    }


def write_session(
    folder: Path,
    notes: Sequence[str],
    lines: Sequence[str],
    entries: Sequence[dict[str, Any]],
    transcript: Sequence[str],
) -> None:
    """The three files of a session; each is written whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    text = [*(f"# {note}" for note in notes), *lines]
    write_atomic(folder / "results.txt", ("\n".join(text) + "\n").encode())
    write_atomic(folder / "results.json", json.dumps(list(entries)).encode())
    write_atomic(folder / "log.txt", ("\n".join(transcript) + "\n").encode())
