"""Joulescope JS110 and JS220, by Jetperch's `pyjoulescope_driver`.

The driver publishes blocks of current, voltage and general purpose input as topics below the
device's path; all three share one sample counter, so that they are put together by it. The driver
speaks USB through its own C library: there is no protocol to play a peer for, and the tests put
an object in the place of `Driver`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinydeploy.devices.meter.address import MeterAddress, need
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.trace import PowerTrace

RATES_HZ = {"js110": 2_000_000, "js220": 1_000_000}
RATE_HZ = 100_000
FIRST_SAMPLE_S = 5.0
_DATA = {"i": "s/i/!data", "v": "s/v/!data"}


@dataclass
class _Stream:
    """Blocks of one signal: (first sample's number, values)."""

    blocks: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def joined(self, name: str) -> tuple[int, np.ndarray]:
        """The first number and all values. Raises DeviceError for a gap."""
        expected = None
        for first, values in self.blocks:
            if expected is not None and first != expected:
                raise DeviceError(
                    f"{name} lost {first - expected} samples",
                    hint="the computer was too busy: lower rate=, use another USB port",
                )
            expected = first + len(values)
        return self.blocks[0][0], np.concatenate([values for _, values in self.blocks])


class Joulescope:
    """A Joulescope. `driver` is the library's `Driver`, `path` the device's topic prefix."""

    def __init__(self, driver: Any, path: str, rate_hz: int, pin: int) -> None:
        self.name = f"joulescope:{path}"
        self._driver = driver
        self._path = path
        self._rate_hz = rate_hz
        self._topics = {**_DATA, "pin": f"s/gpi/{pin}/!data"}
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._recording = False
        self._clear()
        driver.open(path)
        # The JS110 calls its ranges "select".
        mode = "s/i/range/mode" if "js220" in path else "s/i/range/select"
        driver.publish(f"{path}/{mode}", "auto")
        driver.publish(f"{path}/h/fs", rate_hz)

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        self._clear()
        self._arrived.clear()
        self._recording = True
        for topic in self._topics.values():
            self._driver.subscribe(f"{self._path}/{topic}", "pub", self._take)
        for topic in self._topics.values():
            self._driver.publish(f"{self._path}/{topic.replace('!data', 'ctrl')}", 1)
        if not self._arrived.wait(FIRST_SAMPLE_S):
            self._end()
            raise DeviceError(f"{self.name} sends no samples", hint="is its cable in?")

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        if not self._recording:
            raise DeviceError(f"{self.name} does not record", hint="start it first")
        self._end()
        with self._lock:
            signals = {key: stream.joined(self.name) for key, stream in self._streams.items()}
        first = max(at for at, _ in signals.values())
        last = min(at + len(values) for at, values in signals.values())
        if last - first < 2:
            raise DeviceError(f"{self.name} gave no common samples", hint="record for longer")
        current, voltage, pin = (
            signals[key][1][first - signals[key][0] : last - signals[key][0]]
            for key in ("i", "v", "pin")
        )
        if np.isnan(current).any() or np.isnan(voltage).any():
            raise DeviceError(
                f"{self.name} marks samples as missing",
                hint="the computer was too busy: lower rate=",
            )
        begins = signals["i"][0]
        times = self._began_s + (first - begins + np.arange(last - first)) / self._rate_hz
        falls = (pin[1:] == 0) & (pin[:-1] != 0)
        return PowerTrace(
            times, current.astype(np.float64), voltage.astype(np.float64), times[1:][falls]
        )

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._recording:
            self._end()
        self._driver.close(self._path)
        self._driver.finalize()

    def _clear(self) -> None:
        self._streams = {key: _Stream() for key in self._topics}
        self._began_s = 0.0

    def _end(self) -> None:
        self._recording = False
        for topic in self._topics.values():
            self._driver.publish(f"{self._path}/{topic.replace('!data', 'ctrl')}", 0)
        for topic in self._topics.values():
            self._driver.unsubscribe(f"{self._path}/{topic}", self._take)

    def _take(self, topic: str, value: Mapping[str, Any]) -> None:
        """A block, in the driver's thread. Sample numbers count at the device's own rate."""
        key = next(k for k, t in self._topics.items() if topic.endswith(t))
        values = np.array(value["data"])
        with self._lock:
            if key == "i" and not self._streams["i"].blocks:
                self._began_s = time.monotonic() - len(values) / self._rate_hz
            number = int(value["sample_id"]) // int(value["decimate_factor"])
            self._streams[key].blocks.append((number, values))
            if all(stream.blocks for stream in self._streams.values()):
                self._arrived.set()


def connect(address: MeterAddress) -> Joulescope:
    """The meter at `joulescope:[PATH][,rate=HZ][,pin=0..3]`; PATH such as u/js220/000123."""
    address.only("rate", "pin")
    rate_hz, pin = round(address.number("rate", RATE_HZ)), address.whole("pin", 0, 3)
    library = need("pyjoulescope_driver", "joulescope")
    driver = library.Driver()
    try:
        return attach(driver, address, rate_hz, pin)
    except BaseException:
        driver.finalize()
        raise


def attach(driver: Any, address: MeterAddress, rate_hz: int, pin: int) -> Joulescope:
    """The only Joulescope, or the one that the address names. Raises UsageError, DeviceError."""
    paths = [p for p in driver.device_paths() if address.place in ("", p) and _model(p)]
    if len(paths) != 1:
        raise DeviceError(
            f"{address.name}: {len(paths)} Joulescopes match: {', '.join(paths) or 'none'}",
            hint="plug it in, and give its path where there are several: joulescope:u/js220/000123",
        )
    model = _model(paths[0])
    if RATES_HZ[model] % rate_hz or (model == "js110" and pin > 1):
        raise UsageError(
            f"{address.name}: rate {rate_hz} Hz or input {pin} is not of a {model.upper()}",
            hint=f"a divisor of {RATES_HZ[model]:,} Hz; inputs 0 and 1, on the JS220 to 3",
        )
    try:
        return Joulescope(driver, paths[0], rate_hz, pin)
    except (RuntimeError, TimeoutError) as e:
        raise DeviceError(
            f"{address.name} cannot be opened: {e}", hint="close the Joulescope UI; udev rules?"
        ) from e


def _model(path: str) -> str:
    return next((model for model in RATES_HZ if model in path.lower()), "")
