"""The command line of each upload tool, from a build and what its board file says of the tool.

Nothing is run here, so that a command can be shown before it touches a board.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.export import measure_environment
from tinydeploy.errors import UsageError
from tinydeploy.types import Build, DeviceProfile

# Where ESP-IDF's boot loader looks, by its default partition tables.
ESP32_PARTITIONS = 0x8000
ESP32_APP = 0x10000


@dataclass(frozen=True)
class Target:
    """Where an upload goes: a serial port (or a drive for uf2), and the debug probe's number."""

    port: str = ""
    probe: str = ""


@dataclass(frozen=True)
class Plan:
    """What an upload does: the protocol, and the command line of its tool."""

    protocol: str
    command: tuple[str, ...]


def plan(build: Build, device: DeviceProfile, target: Target, protocol: str | None = None) -> Plan:
    """How a build gets onto its board. Raises as `command` does, UsageError if no way is known."""
    chosen = protocol or device.upload.get("protocol")
    if not chosen:
        raise UsageError(
            f"{device.name}: its board file knows no upload",
            hint="add a table [upload]",
        )
    return Plan(chosen, tuple(command(build, device, chosen, target)))


def protocols(device: DeviceProfile) -> list[str]:
    """The upload protocols for which the board file has all that is needed, its own first."""
    upload = device.upload
    fitting = [name for name, keys in NEEDS.items() if all(upload.get(k) for k in keys)]
    if not device.platformio:
        fitting.remove("platformio")
    own = upload.get("protocol", "")
    return sorted(fitting, key=lambda name: name != own)


def command(build: Build, device: DeviceProfile, protocol: str, target: Target) -> list[str]:
    """The command that uploads a build; for uf2 the file that is written and the drive it goes to.

    Raises UsageError for a board that lacks what the protocol needs, or a build without the file.
    """
    possible = protocols(device)
    if protocol not in possible:
        raise UsageError(
            f"{device.name} cannot be uploaded to by {protocol}",
            hint=f"its board file is enough for: {', '.join(possible) or 'none'}",
        )
    return _BUILDERS[protocol](build, device, target)


def image(build: Build, name: str) -> Path:
    """A product of the build. Raises UsageError if it is not there."""
    path = build.directory / name
    if not path.exists():
        raise UsageError(f"{path} is missing", hint="build again")
    return path.resolve()


def _pyocd(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    probe = ["--uid", target.probe] if target.probe else []
    elf = str(image(build, "firmware.elf"))
    load = ["load", "--target", device.upload["pyocd_target"], "--format", "elf"]
    return [sys.executable, "-m", "pyocd", *load, *probe, elf]


def _openocd(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    elf = str(image(build, "firmware.elf"))
    for what, text in (("the path of the build", elf), ("the probe's number", target.probe)):
        if set(text) & set('{}\\"[]$;\n'):
            raise UsageError(
                f"OpenOCD cannot take {what}: {text}", hint="use a path without Tcl's characters"
            )
    # Files of OpenOCD, in order; "swd" chooses the transport where a probe has several.
    files = [
        word
        for name in device.upload["openocd_config"].split()
        for word in (("-c", "transport select swd") if name == "swd" else ("-f", name))
    ]
    probe = ["-c", f"adapter serial {{{target.probe}}}"] if target.probe else []
    return ["openocd", *files, *probe, "-c", f"program {{{elf}}} verify reset exit"]


def _esptool(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    upload = device.upload
    if not target.port:
        raise UsageError("esptool needs a port", hint="--port, see `tinydeploy devices scan`")
    parts: list[str] = []
    for address, name in (
        (int(upload["address"], 16), "bootloader.bin"),
        (ESP32_PARTITIONS, "partitions.bin"),
    ):
        if (build.directory / name).exists():
            parts += [f"{address:#x}", str(image(build, name))]
    parts += [f"{ESP32_APP:#x}", str(image(build, "firmware.bin"))]
    baud = upload.get("esptool_baud", "115200")
    base = ["--chip", upload["esptool_chip"], "--port", target.port, "--baud", baud]
    return [sys.executable, "-m", "esptool", *base, "write-flash", *parts]


def _dfu_util(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    upload = device.upload
    serial = ["--serial", target.probe] if target.probe else []
    # A board whose application is told to enter the boot loader takes a moment to come back.
    wait = ["--wait"] if upload.get("touch_1200bps") == "yes" and target.port else []
    return [
        "dfu-util", *wait, "--device", upload["dfu_id"], *serial,
        "--alt", upload.get("dfu_alt", "0"),
        "--dfuse-address", f"{upload['address']}:leave",
        "--download", str(image(build, "firmware.bin")),
    ]  # fmt: skip


def _uf2(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    image(build, "firmware.elf")
    drive = (
        target.port
        if target.port and Path(target.port).is_dir()
        else device.upload.get("uf2_label", "")
    )
    return ["copy", str((build.directory / "firmware.uf2").resolve()), drive]


def _platformio(build: Build, device: DeviceProfile, target: Target) -> list[str]:
    folder = str(image(build, "project"))
    port = ["--upload-port", target.port] if target.port else []
    what = ["--project-dir", folder, "--environment", measure_environment(device)]
    return [sys.executable, "-m", "platformio", "run", *what, "--target", "upload", *port]


# What the table [upload] of a board file needs for each protocol.
NEEDS: Mapping[str, tuple[str, ...]] = {
    "openocd": ("openocd_config",),
    "pyocd": ("pyocd_target",),
    "esptool": ("esptool_chip", "address"),
    "dfu-util": ("dfu_id", "address"),
    "uf2": ("uf2_family", "address"),
    "platformio": (),
}
_BUILDERS: Mapping[str, Callable[[Build, DeviceProfile, Target], list[str]]] = {
    "openocd": _openocd,
    "pyocd": _pyocd,
    "esptool": _esptool,
    "dfu-util": _dfu_util,
    "uf2": _uf2,
    "platformio": _platformio,
}
