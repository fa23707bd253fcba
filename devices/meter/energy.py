"""Energy an inference, net of idle: a window of many inferences, with idle before and after it.

For each window the input is sent, the meter starts, the board idles, runs N inferences on one
command, idles again. The window is cut out of the recording at the edges of the firmware's
timestamp pin, or, for a meter that does not see the pin, by the host's clock around the command;
then it holds the command's way over the line as well. Idle is the firmware waiting for a command,
whatever its port does meanwhile.

    net = (E(window) - P(idle) * length) / N
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from tinydeploy.devices.session import Inference, Session
from tinydeploy.errors import DeviceError
from tinydeploy.ports import Meter
from tinydeploy.trace import PowerTrace

WINDOWS = 5
WINDOW_S = 1.0
IDLE_S = 0.3
GUARD_S = 0.02
"""What idle keeps away from the command: USB and the operating system are that inexact."""
MAX_TIMES = 65_535


@dataclass(frozen=True)
class Window:
    """One window: energy of all its inferences, and the idle power around it."""

    times: int
    length_s: float
    energy_j: float
    idle_w: float

    @property
    def gross_uj(self) -> float:
        """Microjoules an inference, idle included."""
        return 1e6 * self.energy_j / self.times

    @property
    def net_uj(self) -> float:
        """Microjoules an inference above idle. Noise may make it negative."""
        return 1e6 * (self.energy_j - self.idle_w * self.length_s) / self.times


@dataclass(frozen=True)
class EnergyResult:
    """All windows of one measurement; `method` says how, in words."""

    windows: tuple[Window, ...]
    cut: str
    meter: str

    @property
    def net_uj(self) -> tuple[float, ...]:
        """Net energy an inference of each window."""
        return tuple(window.net_uj for window in self.windows)

    @property
    def method(self) -> str:
        """How it was measured, with median and interquartile range."""
        net = self.net_uj
        low, middle, high = statistics.quantiles(net, n=4, method="inclusive")
        gross = statistics.median(w.gross_uj for w in self.windows)
        idle_mw = 1e3 * statistics.median(w.idle_w for w in self.windows)
        lengths = [w.length_s for w in self.windows]
        return (
            f"energy by {self.meter}: {len(net)} windows of {self.windows[0].times} inferences "
            f"({min(lengths):.3f} to {max(lengths):.3f} s), cut {self.cut}; net of idle "
            f"({idle_mw:.4g} mW): median {middle:.4g} uJ, IQR {low:.4g} to {high:.4g} uJ; "
            f"gross {gross:.4g} uJ"
        )


class _Recording:
    """Records around a command, with idle on both sides; may be entered again."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.trace: PowerTrace | None = None
        self.sent_s = self.answered_s = 0.0

    def __enter__(self) -> None:
        self.trace = None
        self._meter.start()
        time.sleep(IDLE_S)
        self.sent_s = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.answered_s = time.monotonic()
        if error is None:
            time.sleep(IDLE_S)
        self.trace = self._meter.stop()


def measure_energy(
    session: Session, rows: Sequence[bytes], runs: Sequence[Inference], meter: Meter
) -> EnergyResult:
    """Net energy an inference. `rows` are inputs, `runs` what the device took for each of them.

    Raises DeviceError where the meter fails or sees something else than one window a command.
    """
    windows, cuts = [], set()
    recording = _Recording(meter)
    times = _times(session, rows[0], runs)
    for number in range(WINDOWS):
        row = rows[number % len(rows)]
        limit_s = 30 * WINDOW_S + 60
        session.infer(row, times=times, around=recording, timeout_s=limit_s)
        window, cut = _cut(recording, times, meter.name)
        windows.append(window)
        cuts.add(cut)
    if len(cuts) > 1:
        raise DeviceError(
            f"{meter.name} saw the timestamp pin in some windows only", hint="a loose wire?"
        )
    return EnergyResult(tuple(windows), cuts.pop(), meter.name)


def _times(session: Session, row: bytes, runs: Sequence[Inference]) -> int:
    """Inferences that take about WINDOW_S: by the device's clock, else by the host's."""
    took_s = statistics.median(run.device_us for run in runs) / 1e6
    before = time.monotonic()
    session.infer(row)
    host_s = time.monotonic() - before
    if not 0 < took_s <= host_s:  # a clock that stands still, or is not real
        took_s = host_s
    return max(1, min(MAX_TIMES, math.ceil(WINDOW_S / took_s)))


def _cut(recording: _Recording, times: int, name: str) -> tuple[Window, str]:
    trace = recording.trace
    if trace is None:
        raise DeviceError(f"{name} recorded nothing", hint="is it still connected?")
    edges = trace.edges_s
    if edges.size == 0:
        start_s, end_s, cut = recording.sent_s, recording.answered_s, "by the host's clock"
    elif edges.size == 2:
        start_s, end_s, cut = float(edges[0]), float(edges[1]), "at the timestamp pin's edges"
    else:
        raise DeviceError(
            f"{name} saw {edges.size} edges of the timestamp pin where 2 were due",
            hint="is the right pin wired, is its ground, and does nobody else drive it?",
        )
    first_s, last_s = trace.bounds_s
    before = (first_s, min(start_s, recording.sent_s) - GUARD_S)
    after = (max(end_s, recording.answered_s) + GUARD_S, last_s)
    idle = [span for span in (before, after) if span[1] - span[0] > GUARD_S]
    if not idle:
        raise DeviceError(
            f"{name} recorded no idle around the window", hint="its clock runs away from the host's"
        )
    idle_j = sum(trace.energy_j(*span) for span in idle)
    idle_w = idle_j / sum(end - start for start, end in idle)
    return Window(times, end_s - start_s, trace.energy_j(start_s, end_s), idle_w), cut
