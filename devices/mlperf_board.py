"""A board that runs MLPerf firmware, on whatever line it has, and what its clock is."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from tinydeploy.devices.discover import find_port, port_of
from tinydeploy.devices.emulator import Emulator
from tinydeploy.devices.link import Link, open_link
from tinydeploy.devices.lock import held
from tinydeploy.devices.loopback import ANSWER_TIMEOUT_S, SCRIPT_KEYS, NativeFirmware
from tinydeploy.devices.session import Session
from tinydeploy.errors import UsageError
from tinydeploy.types import Build, DeviceProfile, Origin

ENERGY_BAUD = 9600
"""What the standard's device lists give for the energy mode."""


@dataclass(frozen=True)
class Clock:
    """What a device's timestamps are worth."""

    origin: Origin
    text: str


def clock_of(device: DeviceProfile) -> Clock:
    """Only a real board's clock tells time; any other is `emulated` and never latency."""
    if device.real:
        return Clock("measured", "the board's own clock")
    if device.platform == "qemu":
        ns = 1 << icount_shift(device)
        return Clock("emulated", f"virtual time, one instruction every {ns} ns; not latency")
    if device.emulator.get("latency_us"):
        return Clock("emulated", "a scripted clock; not latency")
    return Clock("emulated", "the clock of this computer, not of a microcontroller")


def icount_shift(device: DeviceProfile) -> int:
    """QEMU's `-icount shift`: 2^shift ns an instruction, the nearest to one a clock cycle."""
    return round(math.log2(1e9 / device.clock_hz)) if device.clock_hz else 5


def energy_mode(device: DeviceProfile) -> DeviceProfile:
    """The board with firmware of the standard's energy mode. Raises UsageError without the pin."""
    if "TD_PORT_HAS_TIMESTAMP_PIN" not in device.defines:
        raise UsageError(
            f"the firmware of {device.name} has no timestamp pin for a meter to cut at",
            hint="implement td_port_timestamp_pin() in its port and define "
            "TD_PORT_HAS_TIMESTAMP_PIN in the board file (docs/energy.md)",
        )
    defines = {**device.defines, "TD_ENERGY_MODE": "1"}
    return dataclasses.replace(device, defines=defines, baud=ENERGY_BAUD)


@contextlib.contextmanager
def open_board(build: Build, device: DeviceProfile, port: str = "") -> Iterator[Link]:
    """A link to the board that runs `build`: a process, an emulator, or whatever is at `port`.

    Emulated boards run in virtual time (`-icount`), so that two runs give the same figures. A real
    board has to carry `build` already; without `port` it is looked for. Raises DeviceError.
    """
    if port or device.real:
        where = find_port(port) if port else port_of(device, build.build_id)
        with held(where), open_link(where, baudrate=device.baud) as link:
            yield link
        return
    if device.platform == "native":
        words = [f"{k}={device.emulator[k]}" for k in SCRIPT_KEYS if device.emulator.get(k)]
        with NativeFirmware(build.elf, " ".join(words)) as process, open_link(process.url) as link:
            yield link
        return
    if device.platform == "qemu":
        with Emulator(build.elf, _in_virtual_time(device)) as qemu, open_link(qemu.url) as link:
            yield link
        return
    raise UsageError(f"{device.name} runs no firmware", hint="an emulated or a real board")


def require_build(link: Link, build: Build) -> None:
    """Refuse a device that runs another build. Raises WrongFirmwareError, LinkError."""
    Session(link, timeout_s=ANSWER_TIMEOUT_S).require(build)


def _in_virtual_time(device: DeviceProfile) -> DeviceProfile:
    args = device.emulator.get("args", "")
    if "-icount" in args:
        return device
    args = f"{args} -icount shift={icount_shift(device)},sleep=off".strip()
    return dataclasses.replace(device, emulator={**device.emulator, "args": args})
