"""Accuracy computed from a board's own answers: the pipeline's metric over the device's outputs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinydeploy.errors import UsageError
from tinydeploy.types import Artifact, Build, DeviceProfile

if TYPE_CHECKING:
    from tinydeploy.ports import Runner

BAR_CHARACTERS = 24
REDRAW_S = 0.2


class ProgressBar:
    """How far a run is, on stderr: redrawn on a terminal, a line every tenth elsewhere."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: int | None = None
        self._shown = -1.0
        self._tenth = -1

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` samples are done."""
        now = time.monotonic()
        if self._first is None:
            self._first, self._started = done, now
        here = done - self._first
        left = (total - done) * (now - self._started) / here if here else None
        text = f"{done:,} of {total:,} samples"
        text += f", {left:,.0f} s left" if left is not None and done < total else ""
        if sys.stderr.isatty():
            if now - self._shown > REDRAW_S or done == total:
                self._shown = now
                filled = BAR_CHARACTERS * done // total
                bar = "#" * filled + "." * (BAR_CHARACTERS - filled)
                click.echo(f"\r[{bar}] {text}   ", err=True, nl=done == total)
        elif 10 * done // total > self._tenth:
            self._tenth = 10 * done // total
            click.echo(text, err=True)


def measure_accuracy(
    build: Build, device: DeviceProfile, runner: Runner, artifact: Artifact, data: Path, baud: int
) -> dict[str, Any]:
    """What `measure --data --json` prints.

    Raises UsageError for data that does not fit, and as `DevicePredictor.predict` does.
    """
    from tinydeploy.devices.streaming import DevicePredictor, journal_path, seconds_on_the_line
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.evaluate import evaluate
    from tinydeploy.tflite import read_graph

    session = getattr(runner, "session", None)
    if session is None:
        raise UsageError(
            f"boards of the platform {device.platform} cannot be asked sample by sample",
            hint="measure them without --data",
        )
    dataset = load_dataset(data, description=artifact.input)
    graph = read_graph(build.model_path)
    names = {op.name for op in graph.ops}
    bar = ProgressBar()
    announced = False

    def progress(done: int, total: int) -> None:
        nonlocal announced
        if not announced and predictor.identity is not None:
            announced = True
            seconds = seconds_on_the_line(predictor.identity, total - done, baud)
            already = f", {done:,} of them done already" if done else ""
            click.echo(
                f"{total:,} samples{already}: {seconds:,.0f} s on a line of {baud:,} baud, "
                "and the inferences",
                err=True,
            )
        bar(done, total)

    predictor = DevicePredictor(
        connect=lambda: session(build, device),
        build=build,
        journal_path=journal_path(build, dataset.sha256[:16]),
        progress=progress,
        stateful="READ_VARIABLE" in names or any(t.is_variable for t in graph.tensors),
    )
    started = time.monotonic()
    result = evaluate(artifact, dataset, predictor, split="", engine=build.engine)
    emulated = predictor.latency_us is None
    return {
        "board": device.name,
        "build_id": build.build_id,
        "metric": result.metric,
        "value": result.value,
        **result.metrics,
        "samples": result.samples,
        "correct": sum(result.correct) if result.correct else None,
        "origin": "emulated" if emulated else "measured",
        "latency_us": predictor.latency_us if device.measures_time else None,
        "resumed": predictor.resumed,
        "seconds": round(time.monotonic() - started, 3),
        "data_sha256": result.data_sha256,
    }
