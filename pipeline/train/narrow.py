"""Greedy search of widths: drop the channels that cost least, as AutoSlim does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.losses import gives_probabilities, task_loss
from tinydeploy.pipeline.train.masked import Masked, Widths
from tinydeploy.store import write_json

TRACE = "widths.json"
_SLICES = 8
"""A group's channels are dropped in so many steps."""
_BATCH = 256


@dataclass(frozen=True)
class Judged:
    """Mean loss of some samples, and the share that is classified right (None: no classes)."""

    loss: float
    accuracy: float | None


def slice_of(size: int) -> int:
    """How many channels of a group of `size` are dropped at a time."""
    return max(1, round(size / _SLICES))


def least(size: int, share: float) -> int:
    """The smallest width of a group on the way to `share` of the multiply-accumulates.

    At half the width a convolution is left with a quarter of them: a group may get half as wide as
    `share`, but keeps a slice.
    """
    step = slice_of(size)
    lowest = max(step, math.ceil(size * share / 2))
    return size - (size - lowest) // step * step


def require_reachable(net: Masked, share: float) -> None:
    """Raises UnsupportedModelError if the smallest widths do not leave as little as `share`."""
    sizes = net.sizes()
    if not sizes:
        raise UnsupportedModelError(
            "it has no channels that can be removed: all are seen by the inputs, the outputs or "
            "layers that mix them",
            hint="use a recipe that changes the weights only, such as int8",
        )
    lowest = net.macs({n: least(s, share) for n, s in sizes.items()}) / net.macs(sizes)
    if lowest > share:
        raise UnsupportedModelError(
            f"at least {lowest:.2f} of its multiply-accumulates stay, the recipe asks for {share}",
            hint=f"use macs = {math.ceil(100 * lowest) / 100:.2f} or more in [training]",
        )


def judge(net: Masked, job: Job) -> Callable[[], Judged]:
    """A function that judges `net`, as it is masked, by the samples of `job`."""
    import tensorflow as tf

    loss_of = task_loss(net.model, job.task)
    y = job.targets

    @tf.function(reduce_retracing=True)
    def outputs_of(x: Any, y: Any) -> Any:
        outputs = net.model(x, training=False)
        return outputs, loss_of(y, outputs)

    def judged() -> Judged:
        loss, right = 0.0, 0
        for start in range(0, len(job.x), _BATCH):
            rows = slice(start, start + _BATCH)
            outputs, mean = outputs_of(job.x[rows], y[rows])
            loss += float(mean) * len(outputs)
            if job.task == "classify":
                right += int((_classes(net.model, outputs.numpy()) == y[rows].reshape(-1)).sum())
        count = len(job.x)
        return Judged(loss / count, right / count if job.task == "classify" else None)

    return judged


def _classes(model: Any, outputs: np.ndarray) -> np.ndarray:
    outputs = outputs.reshape(len(outputs), -1)
    if outputs.shape[1] > 1:
        return np.asarray(outputs.argmax(1))
    return np.asarray(outputs[:, 0] > (0.5 if gives_probabilities(model) else 0.0))


def narrow(
    job: Job, net: Masked, recalibrate: Callable[[], None], judged: Callable[[], Judged]
) -> Widths:
    """Widths that leave at most the share `job.training.macs` of the multiply-accumulates.

    In each step the slice goes whose loss costs least for each multiply-accumulate that it saves;
    what costs nothing goes by how much it saves. Statistics of batch normalization are found anew
    for each net that is judged. The steps are kept in `widths.json` in the job's folder: a run that
    was killed goes on after the last one.
    """
    sizes = net.sizes()
    share = job.training.macs
    full = net.macs(sizes)
    target = math.floor(full * share)

    def look(widths: Widths) -> Judged:
        net.stays.assign(net.mask(widths))
        recalibrate()
        return judged()

    trace = _kept(job.folder / TRACE)
    if not trace:
        trace.append(_entry("", sizes, full, look(sizes)))
    while trace[-1]["macs"] > target:
        now, widths = trace[-1], trace[-1]["widths"]
        best: tuple[float, int, int] | None = None
        for index, (name, size) in enumerate(sizes.items()):
            if widths[name] - slice_of(size) < least(size, share):
                continue
            fewer = _narrower(net, widths, name, slice_of(size), target)
            macs = net.macs(fewer)
            found = look(fewer)
            saved = now["macs"] - macs
            cost = max(0.0, found.loss - now["loss"]) / saved
            if best is None or (cost, -saved, index) < best:
                best, entry = (cost, -saved, index), _entry(name, fewer, macs, found)
        trace.append(entry)
        write_json(job.folder / TRACE, trace)
        _report(job, trace, full, target)
    net.stays.assign(net.mask(trace[-1]["widths"]))
    return dict(trace[-1]["widths"])


def _narrower(net: Masked, widths: Widths, name: str, channels: int, target: int) -> Widths:
    """Without so many channels of a group, or with as many of them as the target has room for."""
    for left in range(widths[name] - 1, widths[name] - channels, -1):
        fewer = {**widths, name: left}
        if net.macs(fewer) <= target:
            return fewer
    return {**widths, name: widths[name] - channels}


def _entry(group: str, widths: Widths, macs: int, found: Judged) -> dict[str, Any]:
    return {
        "narrowed": group,
        "widths": dict(widths),
        "macs": macs,
        "loss": found.loss,
        "accuracy": found.accuracy,
    }


def _kept(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    trace: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return trace


def _report(job: Job, trace: list[dict[str, Any]], full: int, target: int) -> None:
    """One step in words, and how far it is to the target in percent."""
    last, before = trace[-1], trace[-2]
    name = last["narrowed"]
    done = 100 * (full - last["macs"]) // max(1, full - target)
    accuracy = "" if last["accuracy"] is None else f", accuracy {last['accuracy']:.4f}"
    job.report(
        "narrow",
        min(100, done),
        100,
        f"{name} {before['widths'][name]} -> {last['widths'][name]}, "
        f"{last['macs']:,} MACs, loss {last['loss']:.4f}{accuracy}",
    )
