"""What could not be sent to an MLflow server: kept whole on this machine, delivered in order.

::

    STATE/outbox/SERVER/server.json          the server's URL
    STATE/outbox/SERVER/TIME-PID/entry.json  one call of a registry's method
    STATE/outbox/SERVER/TIME-PID/...         the model, or the firmware, that it needs

An entry appears whole, and goes when the server has it; each call can be repeated, so that a
delivery that is cut off is simply begun again. A choice waits as well, but is carried out only if
nobody has decided for its board since. STATE is `$TINYDEPLOY_STATE`, or
`~/.local/state/tinydeploy`.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.registry.server import without_password
from tinydeploy.store import (
    remove_directory,
    remove_staged,
    sha256_bytes,
    staged_directory,
    staged_left,
    state_dir,
    write_json,
)
from tinydeploy.types import to_json

_HOURS = 24.0
"""What is unfinished for so long is left of a process on another machine that was killed."""


@dataclass(frozen=True)
class Entry:
    """One call that waits, for the registered model: register, record, profile, select, or one
    of `facts`.
    """

    folder: Path
    call: str
    model: str
    values: Mapping[str, Any]

    @property
    def made(self) -> str:
        """When it was kept: UTC in ISO 8601."""
        seconds = int(self.folder.name.partition("-")[0]) / 1e9
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(
            timespec="microseconds"
        )


class Outbox:
    """The calls that wait for one server."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.shown = without_password(self.url)
        self.folder = state_dir() / "outbox" / sha256_bytes(self.url.encode())[:16]

    def entries(self) -> list[Entry]:
        """What waits, the oldest first."""
        found = []
        for folder in sorted(self.folder.glob("[0-9]*-*")):
            try:
                found.append(_read(folder))
            except RegistryError:
                if folder.exists():  # another process has not just delivered it
                    raise
        return found

    def remove(self, entry: Entry) -> None:
        """Take out what was delivered, whole or not at all: half an entry would block the rest."""
        remove_directory(entry.folder)

    def keep(
        self, call: str, model: str, values: Mapping[str, Any], files: Mapping[str, Path]
    ) -> None:
        """Add a call with the files that it needs, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(self.folder / "server.json", {"url": self.url})
        with staged_directory(self.folder / f"{time.time_ns():020d}-{os.getpid()}") as folder:
            for name, path in files.items():
                shutil.copyfile(path, folder / name)
            write_json(
                folder / "entry.json", {"call": call, "model": model, "values": to_json(values)}
            )

    @contextlib.contextmanager
    def delivering(self) -> Iterator[bool]:
        """The right to deliver; False if another process is at it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(self.folder / ".lock", "ab") as f:
            try:
                fcntl.flock(f.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            remove_staged(staged_left([self.folder], _HOURS))
            yield True


def outboxes() -> list[Outbox]:
    """Of all servers for which something waits."""
    found = []
    for file in sorted((state_dir() / "outbox").glob("*/server.json")):
        outbox = Outbox(json.loads(file.read_text(encoding="utf-8"))["url"])
        if outbox.entries():
            found.append(outbox)
    return found


def _read(folder: Path) -> Entry:
    try:
        found = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        return Entry(folder, found["call"], found["model"], found["values"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise RegistryError(
            f"{folder} cannot be read: {e!r}", hint="it was damaged: remove it and deploy again"
        ) from e
