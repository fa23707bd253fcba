"""A thread that takes in what a meter sends while a board is measured."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tinydeploy.errors import DeviceError

FIRST_SAMPLE_S = 5.0
END_S = 10.0


class Worker:
    """Calls `step` again and again until `stop`; `step` returns True when a sample has arrived."""

    def __init__(self, name: str, step: Callable[[], bool]) -> None:
        self._name = name
        self._step = step
        self._ending = threading.Event()
        self._running = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin. Returns with the first sample. Raises DeviceError if none comes."""
        self._thread.start()
        if not self._running.wait(FIRST_SAMPLE_S) or self._error:
            self._ending.set()
            self._thread.join(END_S)
            raise DeviceError(
                f"{self._name} sends no samples: {self._error or 'silence'}",
                hint="is it connected and powered, and nobody else using it?",
            ) from self._error

    def stop(self) -> None:
        """End. Raises DeviceError if a step failed meanwhile."""
        self._ending.set()
        self._thread.join(END_S)
        if self._error:
            raise DeviceError(
                f"{self._name} failed while it recorded: {self._error}", hint="check its cable"
            ) from self._error

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                if self._step():
                    self._running.set()
        except Exception as e:
            self._error = e
            self._running.set()
