"""A meter without hardware: constant power, and more of it between edges of the firmware's pin.

With it the whole path is run on the native firmware, whose timestamp pin is a file (`pin=` of
firmware/ports/native.c): what it measures is its own script, not any silicon.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from tinydeploy.devices.meter.address import MeterAddress
from tinydeploy.devices.meter.worker import Worker
from tinydeploy.errors import DeviceError
from tinydeploy.trace import PowerTrace

PERIOD_S = 0.001


class ScriptedMeter:
    """`idle_w` while nothing runs, `active_w` after an odd edge; edges are bytes in `pin`.

    A file does not say when its bytes came. Those that are found together, since the machine is
    busy or the window is shorter than a sample, get times of their own since the sample before,
    so that no window is empty.
    """

    def __init__(self, idle_w: float, active_w: float, pin: Path | None = None) -> None:
        self.name = "scripted"
        self._idle_w = idle_w
        self._active_w = active_w
        self._pin = pin
        self._worker: Worker | None = None

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        self._times: list[float] = []
        self._power: list[float] = []
        self._edges: list[float] = []
        self._seen = self._pin_bytes()
        self._worker = Worker(self.name, self._step)
        self._worker.start()

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError("the scripted meter does not record", hint="start it first")
        worker.stop()
        self._step()  # what the last step could not see yet
        return PowerTrace(
            np.array(self._times),
            np.array(self._power),
            np.ones(len(self._power)),
            np.array(self._edges),
        )

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._worker is not None:
            self.stop()

    def _pin_bytes(self) -> int:
        return self._pin.stat().st_size if self._pin and self._pin.exists() else 0

    def _step(self) -> bool:
        now = time.monotonic()
        if self._times and now <= self._times[-1]:
            return True
        if found := self._pin_bytes() - self._seen:
            before = self._times[-1] if self._times else now - PERIOD_S
            for edge in np.linspace(before, now, found + 2)[1:-1]:
                self._edges.append(float(edge))
                self._sample(float(edge))
            self._seen += found
        self._sample(now)
        time.sleep(PERIOD_S)
        return len(self._times) > 1

    def _sample(self, time_s: float) -> None:
        self._times.append(time_s)
        self._power.append(self._active_w if len(self._edges) % 2 else self._idle_w)


def connect(address: MeterAddress) -> ScriptedMeter:
    """The meter at `scripted:[,idle_mw=N][,active_mw=N][,pin=FILE]`."""
    address.only("idle_mw", "active_mw", "pin")
    pin = address.options.get("pin")
    idle_w, active_w = (address.number(k, d) / 1000 for k, d in (("idle_mw", 5), ("active_mw", 30)))
    return ScriptedMeter(idle_w, active_w, Path(pin) if pin else None)
