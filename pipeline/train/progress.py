"""How far a training is, in one line."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

_WIDTH = 20


class Bar:
    """Lines such as ``train kws int8-qat: fit [####------] 4/10, loss 0.21, 12 s left``."""

    def __init__(self, what: str, progress: Callable[[str], None]) -> None:
        self.what, self.progress = what, progress
        self._stage = ""
        self._begin = (0.0, 0)
        self._waits = False

    def waiting(self) -> None:
        """Another process is at the same training: said once."""
        if not self._waits:
            self._waits = True
            self.progress(f"{self.what}: waits for another process that trains the same")

    def show(self, said: Mapping[str, Any]) -> None:
        """One report of a worker: `stage`, `done` of `total`, and what was `found`."""
        done, total, now = int(said["done"]), max(1, int(said["total"])), time.monotonic()
        if said["stage"] != self._stage:
            self._stage, self._begin = said["stage"], (now, done)
        begun, first = self._begin
        filled = _WIDTH * done // total
        parts = [
            f"{self.what}: {self._stage} [{'#' * filled}{'-' * (_WIDTH - filled)}] {done}/{total}"
        ]
        if said["found"]:
            parts.append(str(said["found"]))
        if first < done < total:
            left = (now - begun) / (done - first) * (total - done)
            parts.append(f"{left:.0f} s left")
        self.progress(", ".join(parts))
