"""What is deployed on this machine's boards, and by whom: a folder a deployment.

::

    $TINYDEPLOY_STATE/deployments/NAME/deployment.json     what it is, and how it was proven
    $TINYDEPLOY_STATE/deployments/NAME/firmware/           what was flashed

(`~/.local/state/tinydeploy` by default.) A deployment appears and changes as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinydeploy.errors import UsageError
from tinydeploy.names import require_name
from tinydeploy.store import staged_directory, state_dir, write_json
from tinydeploy.types import InputDescription, from_json, to_json

_FILE = "deployment.json"
_LOCK_SECONDS = 120.0


@dataclass(frozen=True)
class Deployment:
    """One model on one board. Times are seconds since 1970; `proof` holds what the board did.

    `profiles` is the folder with the board's file, "" for one that is shipped; `signed` says that a
    signature was required.
    """

    name: str
    target: str
    board: str
    port: str
    model_uri: str
    model: str
    version: str
    engine: str
    optimize: str
    build_id: str
    model_sha256: str
    firmware_sha256: str
    registry: str
    signed: bool
    created: float
    updated: float
    input: InputDescription | None = None
    proof: Mapping[str, Any] = field(default_factory=dict)
    flavor: str = "tinydeploy"
    profiles: str = ""


def state_folder() -> Path:
    """Where deployments are kept: among what must not be lost."""
    return state_dir() / "deployments"


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """The folder of a deployment, which nobody else changes meanwhile; it may not exist.

    The lock ends with its process, however that ends. Raises UsageError after two minutes.
    """
    folder = state_folder() / require_name("deployment", name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f".{name}.lock", "ab") as f:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(f.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise UsageError(
                        f"another process has been working on {name} for a long time",
                        hint="wait for it, or stop it",
                    ) from None
                time.sleep(0.05)
        yield folder


def write(folder: Path, deployment: Deployment, firmware: Path) -> None:
    """Put a deployment and its firmware in place, both or neither."""
    with staged_directory(folder) as scratch:
        shutil.copytree(firmware, scratch / "firmware")
        write_json(scratch / _FILE, to_json(deployment))


def read(name: str) -> Deployment:
    """A deployment. Raises UsageError if there is none, or its file cannot be read."""
    path = state_folder() / require_name("deployment", name) / _FILE
    try:
        return from_json(Deployment, json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        known = ", ".join(d.name for d in every()) or "none"
        raise UsageError(f"no deployment is called {name!r}", hint=f"there are: {known}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise UsageError(f"{path} cannot be read: {e}", hint="delete the deployment") from e


def every() -> list[Deployment]:
    """All deployments by name; one that cannot be read is left out."""
    found = []
    for path in sorted(state_folder().glob(f"*/{_FILE}")):
        with contextlib.suppress(UsageError):
            found.append(read(path.parent.name))
    return found


def firmware_of(name: str) -> Path:
    """The folder with what was flashed."""
    return state_folder() / require_name("deployment", name) / "firmware"
