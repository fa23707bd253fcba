"""Qoitech Otii Arc and Ace, through Otii's TCP server and Qoitech's `otii-tcp-client`.

Otii keeps the recording itself; it is fetched when it has ended: main current `mc`, main voltage
`mv`, and GPI1 or GPI2 (`i1`, `i2`) for the timestamp pin.
"""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from tinydeploy.devices.meter.address import MeterAddress, need
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.trace import PowerTrace

DEFAULT_PORT = 1905
CONNECT_S = 3
MAX_CURRENT_A = 0.5
_CHANNELS = {"mc", "mv"}


class OtiiMeter:
    """One Arc or Ace. `otii` is the library's connection, `device` one of its devices."""

    def __init__(self, otii: Any, device: Any, name: str, voltage_v: float, pin: str) -> None:
        self.name = f"{name} ({device.name})"
        self._otii = otii
        self._project = otii.create_project()  # the device is added to the active one: this
        self._device = device
        self._pin = pin
        self._began_s = 0.0
        self._recording = False
        device.add_to_project()
        device.set_main_voltage(voltage_v)
        device.set_max_current(MAX_CURRENT_A)
        device.enable_exp_port(True)
        device.set_exp_voltage(voltage_v)
        for channel in (*sorted(_CHANNELS), pin):
            device.enable_channel(channel, True)
        device.set_main(True)

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        before = time.monotonic()
        self._translated(self._project.start_recording)
        self._began_s = (before + time.monotonic()) / 2
        self._recording = True

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        if not self._recording:
            raise DeviceError(f"{self.name} does not record", hint="start it first")
        self._recording = False
        return self._translated(self._stop)  # type: ignore[no-any-return]

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._recording:
            self._translated(self._project.stop_recording)
        self._translated(lambda: self._project.close(force=True))
        self._otii.disconnect()

    def _stop(self) -> PowerTrace:
        self._project.stop_recording()
        recording = self._project.get_last_recording()
        if recording is None:
            raise DeviceError(f"{self.name} kept no recording", hint="is it still connected?")
        try:
            times, current = self._analog(recording, "mc")
            voltage_times, voltage = self._analog(recording, "mv")
            pin = self._all(recording, self._pin)
        finally:
            recording.delete()
        levels = pin["values"] if pin else []
        falls = [
            after["timestamp"]
            for before, after in itertools.pairwise(levels)
            if before["value"] and not after["value"]
        ]
        # The voltage is sampled more slowly than the current, and changes slowly.
        volts = np.interp(times, voltage_times, voltage)
        edges = np.array(falls, float)
        return PowerTrace(self._began_s + times, current, volts, self._began_s + edges)

    def _all(self, recording: Any, channel: str) -> dict[str, Any] | None:
        count = recording.get_channel_data_count(self._device.id, channel)
        if not count:
            return None
        found: dict[str, Any] = recording.get_channel_data(self._device.id, channel, 0, count)
        return found

    def _analog(self, recording: Any, channel: str) -> tuple[np.ndarray, np.ndarray]:
        data = self._all(recording, channel)
        if data is None:
            raise DeviceError(f"{self.name} recorded nothing on {channel}", hint="is it connected?")
        values = np.array(data["values"], float)
        return data["timestamp"] + np.arange(values.size) * data["interval"], values

    def _translated(self, call: Any) -> Any:
        return translated(self.name, call)


def translated(name: str, call: Any) -> Any:
    """The result of a call of the library, its errors as DeviceError."""
    from otii_tcp_client.otii_client import OtiiClientException
    from otii_tcp_client.otii_connection import DisconnectedException
    from otii_tcp_client.otii_exception import Otii_Exception

    try:
        return call()
    except Otii_Exception as e:
        raise DeviceError(f"{name}: Otii refuses: {e.message}", hint="see Otii's window") from e
    except OtiiClientException as e:
        raise DeviceError(
            f"{name}: {e}",
            hint="set OTII_USERNAME and OTII_PASSWORD, or free an Automation licence",
        ) from e
    except (DisconnectedException, OSError) as e:
        raise DeviceError(
            f"{name}: Otii's server does not answer: {e!r}",
            hint="start Otii and its TCP server (Settings), or otii_server",
        ) from e


def connect(address: MeterAddress) -> OtiiMeter:
    """The meter at `otii:[HOST[:PORT]][,voltage=V][,device=NAME][,pin=1|2][,licence=manual]`.

    OTII_USERNAME and OTII_PASSWORD of the environment log in where Otii wants a licence;
    `licence=manual` leaves that to whoever started it.
    """
    address.only("voltage", "device", "pin", "licence")
    voltage_v = address.voltage_v
    pin = f"i{address.choice('pin', ('1', '2'))}"
    licence = address.choice("licence", ("auto", "manual"))
    host, _, port = address.place.partition(":")
    if port and not port.isdecimal():
        raise UsageError(f"{address.name}: {port!r} is no port", hint=f"usually {DEFAULT_PORT}")
    library = need("otii_tcp_client.otii_client", "otii")
    otii = translated(
        address.name,
        lambda: library.OtiiClient().connect(
            host=host or "127.0.0.1",
            port=int(port or DEFAULT_PORT),
            try_for_seconds=CONNECT_S,
            licensing=library.LicensingMode(licence),
        ),
    )
    try:
        return translated(  # type: ignore[no-any-return]
            address.name, lambda: _open(otii, address, voltage_v, pin)
        )
    except BaseException:
        otii.disconnect()
        raise


def _open(otii: Any, address: MeterAddress, voltage_v: float, pin: str) -> OtiiMeter:
    wanted = address.options.get("device", "")
    devices = [d for d in otii.get_devices() if wanted in ("", d.name, d.id)]
    if len(devices) != 1:
        names = ", ".join(d.name for d in devices) or "none"
        raise DeviceError(
            f"{address.name}: Otii shows {len(devices)} matching devices: {names}",
            hint="device=NAME chooses one",
        )
    return OtiiMeter(otii, devices[0], address.name, voltage_v, pin)
