"""Stages are cached by the content that goes into them: no work is done twice."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from tinydeploy.store import sha256_json, staged_directory

T = TypeVar("T")


@dataclass
class StageTimes:
    """Seconds and hits of one stage, summed over its calls (which may run side by side)."""

    seconds: float = 0.0
    calls: int = 0
    cached: int = 0


@dataclass
class StageCache:
    """Folders `root/STAGE/KEY`, each made whole or not at all, keyed by everything that matters."""

    root: Path
    times: dict[str, StageTimes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(
        self,
        stage: str,
        key: Mapping[str, Any],
        make: Callable[[Path], object],
        load: Callable[[Path], T],
    ) -> T:
        """`load` of the stage's folder, which `make` fills first if it is not there yet.

        A folder that cannot be loaded any more (damaged, or written by another version) is made
        again.
        """
        folder = self.root / stage / sha256_json(key)[:32]
        with self.timed(stage) as times:
            if folder.is_dir():
                with contextlib.suppress(ValueError, KeyError, OSError, TypeError):
                    value = load(folder)
                    times.cached += 1
                    return value
            with staged_directory(folder) as scratch:
                make(scratch)
            return load(folder)

    @contextlib.contextmanager
    def timed(self, stage: str) -> Iterator[StageTimes]:
        """Add the time of the block to a stage."""
        with self._lock:
            times = self.times.setdefault(stage, StageTimes())
        start = time.perf_counter()
        try:
            yield times
        finally:
            with self._lock:
                times.calls += 1
                times.seconds += time.perf_counter() - start
