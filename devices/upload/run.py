"""Runs an upload: the tool of the protocol, or the copy of a UF2 file to a boot loader's drive."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tinydeploy.devices.toolchain import require
from tinydeploy.devices.upload import uf2
from tinydeploy.devices.upload.commands import Plan
from tinydeploy.errors import DeviceError, ToolMissingError
from tinydeploy.types import Build, DeviceProfile

TIMEOUT_S = 300.0
DRIVE_TIMEOUT_S = 10.0
POLL_S = 0.2
TOUCH_BAUD = 1200
_SHOWN_LINES = 6
# What tools say, and what helps.
_HINTS = (
    ("permission denied", "add yourself to the group dialout: sudo usermod -aG dialout $USER, "
     "then log in again; debug probes need their udev rules"),
    ("no connected debug probes", "plug the board's debug port in, and see `pyocd list`"),
    ("no device found", "plug the board's debug port in"),
    ("open failed", "plug the board's debug port in; is another program using the probe?"),
    ("no dfu capable usb device", "bring the board into its boot loader first"),
    ("failed to connect", "hold BOOT while you press RESET, and try again"),
    ("could not open", "is the port right, and not used by another program?"),
)  # fmt: skip


def upload(
    build: Build,
    device: DeviceProfile,
    way: Plan,
    *,
    port: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Do what `commands.plan` says.

    Raises ToolMissingError, and DeviceError with the tool's own words.
    """
    if device.upload.get("touch_1200bps") == "yes" and port and not Path(port).is_dir():
        progress(f"{port}: opened at {TOUCH_BAUD} baud, which starts the boot loader")
        touch(port)
    if way.protocol == "uf2":
        _, file, drive = way.command
        copy_uf2(build, device, Path(file), drive, progress)
    else:
        run_tool(way.command, progress)


def touch(port: str) -> None:
    """Open and close a port at 1200 baud: boards with USB of their own then boot their loader.

    Raises DeviceError if it does not open.
    """
    import serial

    try:
        opened = serial.Serial(port, TOUCH_BAUD)
        with contextlib.suppress(OSError):  # ports without such a line
            opened.dtr = False
        opened.close()
    except (serial.SerialException, OSError) as e:
        raise DeviceError(f"{port} does not open: {e}", hint=_hint(str(e))) from e


def run_tool(command: Sequence[str], progress: Callable[[str], None]) -> None:
    """Run an upload tool; each line that it says goes to `progress`."""
    if command[0] == sys.executable:
        module = command[2]
        if importlib.util.find_spec(module) is None:
            raise ToolMissingError(
                f"{module} is not installed", hint="pip install 'tinydeploy[upload]'"
            )
    else:
        require(command[0])
    said: list[str] = []
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"NO_COLOR": "1", "PLATFORMIO_NO_ANSI": "true"},
        )
    except OSError as e:
        raise DeviceError(f"{command[0]} does not start: {e}", hint="install it again") from e
    watchdog = threading.Timer(TIMEOUT_S, process.kill)
    with process:
        watchdog.start()
        try:
            for line in process.stdout or ():
                if line.strip():
                    said.append(line.rstrip())
                    progress(line.rstrip())
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            expired = not watchdog.is_alive()
            watchdog.cancel()
    if code and expired:
        raise DeviceError(
            f"the upload did not end within {TIMEOUT_S:g} s", hint="reset the board, try again"
        )
    if code:
        words = "\n".join(said[-_SHOWN_LINES:]) or f"exit status {code}"
        raise DeviceError(f"the upload failed:\n{words}", hint=_hint("\n".join(said)))


def copy_uf2(
    build: Build,
    device: DeviceProfile,
    file: Path,
    drive: str,
    progress: Callable[[str], None],
    roots: Iterable[Path] | None = None,
) -> None:
    """Copy the build's UF2 file to the boot loader's drive.

    `drive` is a folder, or the label under which the drive is mounted. A registered build from
    before builds had the file gets it from its ELF. Raises DeviceError if the drive does not show
    up, or is no UF2 boot loader's.
    """
    data = file.read_bytes() if file.is_file() else uf2.of_firmware(build.elf, device)
    deadline = time.monotonic() + DRIVE_TIMEOUT_S
    while (folder := find_drive(drive, roots)) is None:
        if time.monotonic() > deadline:
            raise DeviceError(
                f"no UF2 drive {drive!r} showed up within {DRIVE_TIMEOUT_S:g} s",
                hint="press the board's reset twice (or hold BOOTSEL while you plug it in), mount "
                f"the drive (--port names its folder), or copy the build's {file.name} to it",
            )
        time.sleep(POLL_S)
    progress(f"{file} to {folder}")
    try:
        _write_through(folder / file.name, data)
    except OSError as e:
        # The board resets as soon as it has all blocks: the drive may go while it is being closed.
        if folder.exists():
            raise DeviceError(f"copying to {folder} failed: {e}", hint="reset and try again") from e


def _write_through(path: Path, data: bytes) -> None:
    """Write a file as far as the device, not only into the host's memory."""
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())


def find_drive(drive: str, roots: Iterable[Path] | None = None) -> Path | None:
    """The folder of a UF2 boot loader's drive, by its path or label; it holds INFO_UF2.TXT."""
    user = os.environ.get("USER", "")
    places = roots or [
        Path("/run/media", user),
        Path("/media", user),
        Path("/media"),
        Path("/Volumes"),
    ]
    folders = [Path(drive), *(place / drive for place in places)]
    return next((f for f in folders if (f / "INFO_UF2.TXT").is_file()), None)


def _hint(said: str) -> str:
    lower = said.lower()
    for text, hint in _HINTS:
        if text in lower:
            return hint
    return "the lines above are the tool's own; `--dry-run` shows the command"
