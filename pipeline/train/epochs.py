"""Epochs that can be interrupted: the state is kept after each."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train.job import Job
from tinydeploy.store import write_atomic


def run_epochs(
    job: Job,
    stage: str,
    variables: Sequence[Any],
    step: Callable[[Any, Any], Any],
    epochs: int,
) -> list[float]:
    """Call ``step(x_batch, y_batch) -> loss`` for each batch of each epoch; mean losses.

    `variables` are all that a step changes (of model and optimizer). They are kept after each epoch
    in the job's folder under the name of the stage: a run that was killed goes on from there and
    ends with the same values. The order of the samples follows from the seed and the epoch. Samples
    that do not fill a batch are left out of an epoch. Raises UnsupportedModelError if the loss is
    no finite number any more.
    """
    x, targets = job.x, job.targets
    kept = job.folder / f"{stage}.npz"
    losses = _restored(kept, variables)
    batch = min(job.training.batch, len(x))
    for epoch in range(len(losses), epochs):
        order = np.random.default_rng([job.training.seed, epoch]).permutation(len(x))
        batches = [order[i : i + batch] for i in range(0, len(x) - batch + 1, batch)]
        found = [float(step(x[rows], targets[rows])) for rows in batches]
        losses.append(float(np.mean(found)))
        if not math.isfinite(losses[-1]):  # not kept: it would never recover
            raise UnsupportedModelError(
                f"the loss is {losses[-1]} after {epoch + 1} epochs ({stage})",
                hint="use a lower learning_rate, and check the model's weights and the samples",
            )
        _keep(kept, variables, losses)
        job.report(stage, epoch + 1, epochs, f"loss {losses[-1]:.4f}")
    return losses


def _keep(path: Path, variables: Sequence[Any], losses: list[float]) -> None:
    buffer = io.BytesIO()
    np.savez(
        buffer, losses=np.array(losses), **{f"v{i}": v.numpy() for i, v in enumerate(variables)}
    )
    write_atomic(path, buffer.getvalue())


def _restored(path: Path, variables: Sequence[Any]) -> list[float]:
    """The losses of the epochs that are done; the variables get the values of the last of them."""
    if not path.exists():
        return []
    try:
        with np.load(path, allow_pickle=False) as state:
            values = [state[f"v{i}"] for i in range(len(variables))]
            losses = [float(v) for v in state["losses"]]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return []  # what cannot be read is trained again
    if len(state.files) != len(variables) + 1 or any(
        value.shape != tuple(variable.shape)
        for value, variable in zip(values, variables, strict=True)
    ):
        return []
    for value, variable in zip(values, variables, strict=True):
        variable.assign(value)
    return losses
