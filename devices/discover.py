"""Which boards are plugged in: USB ids first, then each port is asked who it is.

Only ports whose USB ids a board file names are asked, or those that the user names: opening a
stranger's port may start or stop something.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tinydeploy.devices.link import open_link
from tinydeploy.devices.lock import held
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Session
from tinydeploy.errors import DeviceError, LinkError
from tinydeploy.types import DeviceProfile

AT_ONCE = 16
ASK_TIMEOUT_S = 4.0  # opening the port restarts many boards, and some boot loaders take seconds


@dataclass(frozen=True)
class SerialDevice:
    """A serial port of this machine; `usb` is "vid:pid" in lower-case hex, "" for other ports."""

    port: str
    usb: str = ""
    serial_number: str = ""
    product: str = ""


Lister = Callable[[], Sequence[SerialDevice]]


@dataclass(frozen=True)
class Found:
    """What a scan learned of one port.

    `boards` are the names of the boards with its USB ids, `identity` what the firmware says, None
    if nothing answered or nobody asked; `problem` says why in plain words, `hint` what to do.
    """

    device: SerialDevice
    boards: tuple[str, ...]
    identity: Identity | None = None
    problem: str = ""
    hint: str = ""


def attached() -> list[SerialDevice]:
    """The serial ports of this machine, by name, as pyserial lists them."""
    from serial.tools.list_ports import comports

    return sorted((from_record(record) for record in comports()), key=lambda found: found.port)


def from_record(record: object) -> SerialDevice:
    """One of pyserial's `ListPortInfo` records; what it does not know is None there."""
    vid, pid = getattr(record, "vid", None), getattr(record, "pid", None)
    return SerialDevice(
        port=str(getattr(record, "device", "")),
        usb=f"{vid:04x}:{pid:04x}" if vid is not None and pid is not None else "",
        serial_number=getattr(record, "serial_number", None) or "",
        product=getattr(record, "product", None) or getattr(record, "description", None) or "",
    )


def scan(
    profiles: Iterable[DeviceProfile],
    *,
    ports: Sequence[str] = (),
    ask: bool = True,
    lister: Lister = attached,
) -> list[Found]:
    """What is plugged in, and the firmware on it. Never raises for a single port.

    `ports` are asked as well, and alone: serial ports or URLs.
    """
    profiles = tuple(profiles)
    devices = list(lister())
    if ports:
        known = {device.port: device for device in devices}
        devices = [known.get(port, SerialDevice(port)) for port in ports]

    def look(device: SerialDevice) -> Found:
        fitting = [p for p in profiles if device.usb and device.usb in p.usb]
        names = tuple(profile.name for profile in fitting)
        if ask and (fitting or ports):
            return _ask(device, names, fitting[0].baud if fitting else 115_200)
        return Found(device, names)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(look, devices))


def _ask(device: SerialDevice, names: tuple[str, ...], baud: int) -> Found:
    try:
        with (
            held(device.port),
            open_link(device.port, baudrate=baud, timeout_s=ASK_TIMEOUT_S) as link,
        ):
            identity = Session(link, timeout_s=ASK_TIMEOUT_S).identify()
    except DeviceError as e:
        return Found(device, names, None, e.message, e.hint)
    return Found(device, names, identity)


def find_port(name: str, lister: Lister = attached) -> str:
    """The port that `name` means: a port, a URL, or the serial number of a plugged-in board.

    Raises LinkError for a serial number that is not there.
    """
    if re.search(r"[/\\]|^COM\d+$", name):
        return name
    devices = [device for device in lister() if device.serial_number]
    for device in devices:
        if device.serial_number.lower() == name.lower():
            return device.port
    there = ", ".join(f"{d.serial_number} ({d.port})" for d in devices) or "none"
    raise LinkError(
        f"no board with the serial number {name!r} is plugged in",
        hint=f"plugged in: {there}; or give a port such as /dev/ttyACM0",
    )


def port_of(profile: DeviceProfile, build_id: str, lister: Lister = attached) -> str:
    """The port of the one board of this kind that is plugged in.

    Several may have the same USB ids: then the one that runs `build_id` is meant. Raises LinkError
    if there is none, or if that does not tell which either.
    """
    fitting = [device for device in lister() if device.usb and device.usb in profile.usb]
    if len(fitting) > 1:
        asked = [_ask(device, (profile.name,), profile.baud) for device in fitting]
        running = [f.device for f in asked if f.identity and f.identity.build_id == build_id]
        fitting = running if len(running) == 1 else fitting
    if len(fitting) == 1:
        return fitting[0].port
    if not fitting:
        raise LinkError(
            f"no {profile.name} is plugged in",
            hint="`tinydeploy devices scan` shows what is; --port names a port that is not listed",
        )
    shown = ", ".join(f"{d.serial_number or 'no serial number'} on {d.port}" for d in fitting)
    raise LinkError(
        f"{len(fitting)} ports could be a {profile.name}: {shown}",
        hint="say which with --port: a port, or the board's serial number",
    )
