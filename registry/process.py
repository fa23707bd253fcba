"""Which process wrote something, and whether it has ended: for what a killed one left behind."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def identity() -> str:
    """This process: host, start of the machine, process id and start of the process."""
    return _identity(os.getpid())


def has_ended(identity: str) -> bool:
    """True if it was a process of this machine and is no more; False if that cannot be known."""
    machine, _, rest = identity.rpartition("|")[0].rpartition("|")
    return machine == _machine() and rest.isdigit() and _identity(int(rest)) != identity


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}|{boot}"


def _identity(pid: int) -> str:
    try:
        # The name of the program, which may hold spaces, ends with the last bracket.
        started = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        started = ""
    return f"{_machine()}|{pid}|{started}"
