"""Nordic Power Profiler Kit II, by the community's `ppk2-api`.

100,000 samples a second of 4 bytes: 14 bits ADC, 3 bits range, 6 bits counter, 8 bits logic port.
The library turns ADC and range into microamperes with the kit's own calibration; the counter tells
whether samples were lost, the logic port carries the timestamp pin.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tinydeploy.devices.meter.address import MeterAddress, need
from tinydeploy.devices.meter.worker import Worker
from tinydeploy.errors import DeviceError
from tinydeploy.trace import PowerTrace

RATE_HZ = 100_000
COUNTER_SHIFT = 18
COUNTER_MASK = 0x3F


class Ppk2:
    """A PPK2. `api` is the library's `PPK2_API`; `pin` the logic channel of the timestamp pin."""

    def __init__(self, api: Any, name: str, voltage_v: float, mode: str, pin: int) -> None:
        self.name = name
        self._api = api
        self._voltage_v = voltage_v
        self._pin = pin
        self._chunks: list[bytes] = []
        self._began_s = 0.0
        self._worker: Worker | None = None
        api.stop_measuring()
        time.sleep(0.05)
        api.get_data()  # what an earlier host left
        if not api.get_modifiers():
            raise DeviceError(
                f"{name} does not tell its calibration",
                hint="a PPK2 shows two serial ports: try the other one",
            )
        if mode == "source":
            api.use_source_meter()
        else:
            api.use_ampere_meter()
        api.set_source_voltage(round(voltage_v * 1000))
        if mode == "source":
            api.toggle_DUT_power("ON")

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        self._chunks = []
        self._api.get_data()
        self._api.remainder = {"sequence": b"", "len": 0}
        self._api.start_measuring()
        self._worker = Worker(self.name, self._step)
        self._worker.start()

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError(f"{self.name} does not record", hint="start it first")
        worker.stop()
        self._api.stop_measuring()
        raw = b"".join(self._chunks)
        raw = raw[: len(raw) - len(raw) % 4]
        words = np.frombuffer(raw, "<u4")
        self._require_all(words)
        microamperes, logic = self._api.get_samples(raw)
        low = (np.array(logic) >> self._pin & 1) == 0
        times = self._began_s + np.arange(len(words)) / RATE_HZ
        return PowerTrace(
            times,
            np.array(microamperes) * 1e-6,
            np.full(len(words), self._voltage_v),
            times[1:][low[1:] & ~low[:-1]],
        )

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._worker is not None:
            self.stop()
        self._api.ser.close()

    def _step(self) -> bool:
        if data := self._api.get_data():
            if not self._chunks:
                self._began_s = time.monotonic() - len(data) // 4 / RATE_HZ
            self._chunks.append(data)
        else:
            time.sleep(0.001)
        return bool(self._chunks)

    def _require_all(self, words: np.ndarray) -> None:
        counters = words >> COUNTER_SHIFT & COUNTER_MASK
        steps = np.diff(counters.astype(int)) % (COUNTER_MASK + 1)
        if lost := int((steps != 1).sum()):
            raise DeviceError(
                f"{self.name} lost samples in {lost} places",
                hint="the computer was too busy: close other programs, use another USB port",
            )


def connect(address: MeterAddress) -> Ppk2:
    """The meter at `ppk2:PORT[,voltage=V][,mode=source|ampere][,pin=0..7]`."""
    address.only("voltage", "mode", "pin")
    voltage_v, mode = address.voltage_v, address.choice("mode", ("source", "ampere"))
    pin = address.whole("pin", 0, 7)
    api = need("ppk2_api.ppk2_api", "ppk2")
    try:
        opened = api.PPK2_API(address.place, timeout=1, write_timeout=1, exclusive=True)
    except OSError as e:
        raise DeviceError(
            f"cannot open {address.name}: {e}", hint="is it plugged in, and are you in `dialout`?"
        ) from e
    try:
        return Ppk2(opened, address.name, voltage_v, mode, pin)
    except BaseException:
        opened.ser.close()
        raise
