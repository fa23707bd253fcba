"""What a trainer is given, and the files that bring it the samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.data import Dataset
from tinydeploy.types import Task, Training


@dataclass(frozen=True, eq=False)
class Job:
    """A source to train, and what to train it on.

    `x` (N, *sample shape) float32 are the samples as the model takes them, in random order; `y` are
    their labels (N,) or targets (N, ...), None for `anomaly`. `folder` outlives a killed run: what
    is kept there need not be computed again. `report(stage, done, total, found)` shows how far it
    is.
    """

    name: str
    model: Any
    training: Training
    task: Task
    x: np.ndarray
    y: np.ndarray | None
    folder: Path
    report: Callable[[str, int, int, str], None]

    @property
    def targets(self) -> np.ndarray:
        """What the outputs are compared with; the samples themselves where there are no labels."""
        return self.x if self.y is None or self.task == "anomaly" else self.y

    def held_out(self) -> tuple[Job, Job]:
        """This job on the first nine tenths of the samples, and on the last tenth.

        What a method decides it judges by the last tenth; the user's validation set is not for
        that.
        """
        from dataclasses import replace

        cut = len(self.x) - max(1, len(self.x) // 10)
        y = self.y
        return (
            replace(self, x=self.x[:cut], y=None if y is None else y[:cut]),
            replace(self, x=self.x[cut:], y=None if y is None else y[cut:]),
        )


def write_samples(folder: Path, data: Dataset, seed: int) -> None:
    """Write `x.npy` and, where there are labels, `y.npy`: the samples in an order of the seed's.

    Data sets are often sorted by class: their last tenth, or first thousand, would be one class.
    """
    order = np.random.default_rng(seed).permutation(len(data))
    np.save(folder / "x.npy", data.x[order], allow_pickle=False)
    if data.y is not None:
        np.save(folder / "y.npy", data.y[order], allow_pickle=False)
