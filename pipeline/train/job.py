"""What a trainer is given, the files that bring it the samples, and its folder."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.data import Dataset
from tinydeploy.types import Task, Training

_WAIT_S = 0.2


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


@contextlib.contextmanager
def alone_in(folder: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """The right to train in a folder, which is made; it ends with the process, however that ends.

    While another process has it `waiting` is called again and again, and may raise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting()
                time.sleep(_WAIT_S)
        yield
