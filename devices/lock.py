"""One program at a time on a serial port.

A lock is a file that its owner holds with flock(2): the kernel lets go of it when the owner ends,
however that happens. The file says who the owner is. It keeps the programs of one user apart;
those of others are kept out by the terminal's own exclusive mode (see `link.SerialPort`).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tinydeploy.errors import LinkError


class PortInUseError(LinkError):
    """Another program holds the port."""


def folder() -> Path:
    """Where the locks of this user lie."""
    return Path(tempfile.gettempdir(), f"tinydeploy-ports-{os.getuid()}")


@contextlib.contextmanager
def held(port: str) -> Iterator[None]:
    """Hold a port (a device's path or a URL) while the block runs.

    Raises PortInUseError, naming process, command and time of the owner, if somebody holds it.
    """
    handle = acquire(port)
    try:
        yield
    finally:
        release(port, handle)


def acquire(port: str) -> int:
    """Take the lock of a port; what `release` needs. Raises as `held` does."""
    path = _path(port)
    _make_folder(path.parent)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(handle, 4096, 0).decode(errors="replace")
            os.close(handle)
            raise PortInUseError(
                f"{port} is in use by {_owner(text)}",
                hint="wait for it, or end it; the lock goes when its owner ends",
            ) from None
        if _is_there(path, handle):
            break
        os.close(handle)  # its owner removed it between our opening and our locking
    about = {
        "pid": os.getpid(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps(about).encode(), 0)
    return handle


def release(port: str, handle: int) -> None:
    """Let go of a port."""
    with contextlib.suppress(OSError):
        _path(port).unlink()
    os.close(handle)


def _path(port: str) -> Path:
    """A port has several names: /dev/serial/by-id/... is a link to /dev/ttyACM0."""
    real = port if "://" in port else os.path.realpath(port)
    return folder() / (re.sub(r"[^A-Za-z0-9.]+", "_", real).strip("_") + ".lock")


def _make_folder(path: Path) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.getuid():
        raise LinkError(f"{path} belongs to somebody else", hint="remove it, or set TMPDIR")


def _is_there(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False


def _owner(text: str) -> str:
    try:
        about = json.loads(text)
        return f"process {about['pid']} ({about['command']}) since {about['since']}"
    except (ValueError, KeyError, TypeError):
        return "another program"
