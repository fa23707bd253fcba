"""What an energy meter records: current and voltage over time, and the edges of a pin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinydeploy.errors import DeviceError


@dataclass(frozen=True)
class PowerTrace:
    """N samples of a meter, and the falling edges of the firmware's timestamp pin.

    `time_s` (N,) is when each sample begins, in seconds, rising; the last one is as long as the
    one before. `current_a` and `voltage_v` are (N,), means over the sample. `edges_s` holds the
    times of the edges, on the same clock; it is empty for a meter without a digital input. The
    clock is `time.monotonic()`'s as far as a meter can be aligned with it: good to some
    milliseconds, where the edges are exact to a sample.
    """

    time_s: np.ndarray
    current_a: np.ndarray
    voltage_v: np.ndarray
    edges_s: np.ndarray

    def __post_init__(self) -> None:
        if self.time_s.size < 2:
            raise DeviceError(
                f"the meter gave {self.time_s.size} samples",
                hint="is it recording, and the window longer than its sample period?",
            )

    @property
    def power_w(self) -> np.ndarray:
        """(N,) watts."""
        return np.asarray(self.current_a * self.voltage_v)

    @property
    def bounds_s(self) -> tuple[float, float]:
        """When the first sample begins and the last one ends."""
        return float(self.time_s[0]), float(2 * self.time_s[-1] - self.time_s[-2])

    def energy_j(self, start_s: float, end_s: float) -> float:
        """Energy between two times; a sample that lies on a bound counts in part.

        Raises DeviceError for a window that the trace does not cover, or an empty one.
        """
        first, last = self.bounds_s
        if not first <= start_s < end_s <= last:
            raise DeviceError(
                f"the meter recorded from {first:.3f} to {last:.3f} s, "
                f"the window is {start_s:.3f} to {end_s:.3f} s",
                hint="the meter started late or stopped early: samples were lost",
            )
        times = np.append(self.time_s, last)
        sums = np.concatenate(([0.0], np.cumsum(self.power_w * np.diff(times))))
        at_start, at_end = np.interp((start_s, end_s), times, sums)
        return float(at_end - at_start)
