"""What could not be sent to an MLflow server: kept whole on this machine, delivered in order.

::

    STATE/outbox/SERVER/server.json          the server's URL
    STATE/outbox/SERVER/TIME-PID/entry.json  one call of `register`, `record` or `select`
    STATE/outbox/SERVER/TIME-PID/...         the model, or the firmware, that it needs

An entry appears whole, and goes when the server has it; each call can be repeated, so that a
delivery that is cut off is simply begun again. STATE is `$TINYDEPLOY_STATE`, or
`~/.local/state/tinydeploy`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError, UnreachableError
from tinydeploy.lineage import Lineage
from tinydeploy.registry.files import FIRMWARE_FILES, IMAGE_FILE
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.server import without_password
from tinydeploy.store import sha256_bytes, staged_directory, state_dir, write_json
from tinydeploy.types import (
    Artifact,
    Build,
    Constraints,
    Evaluation,
    Measurement,
    ModelSource,
    Selection,
    from_json,
    to_json,
)

PENDING = "pending"
"""Begins the version, and is the run, of what waits in the outbox."""
_MODEL_FILE = "model.tflite"


@dataclass(frozen=True)
class Entry:
    """One call that waits: `call` is register, record or select, for the registered model."""

    folder: Path
    call: str
    model: str
    values: Mapping[str, Any]


class Outbox:
    """The calls that wait for one server."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.shown = without_password(self.url)
        self.folder = state_dir() / "outbox" / sha256_bytes(self.url.encode())[:16]

    def entries(self) -> list[Entry]:
        """What waits, the oldest first."""
        return [_read(folder) for folder in sorted(self.folder.glob("[0-9]*-*"))]

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
            yield True


def outboxes() -> list[Outbox]:
    """Of all servers for which something waits."""
    found = []
    for file in sorted((state_dir() / "outbox").glob("*/server.json")):
        outbox = Outbox(json.loads(file.read_text(encoding="utf-8"))["url"])
        if outbox.entries():
            found.append(outbox)
    return found


class QueueingRegistry(MlflowRegistry):
    """The registry on a server; what it cannot take now waits in the outbox.

    After the first call without an answer the server is left alone. What waits goes first, so
    that a newer choice is never replaced by an older one.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.outbox = Outbox(url)
        self.unreachable: UnreachableError | None = None

    def register(
        self,
        name: str,
        source: ModelSource,
        artifact: Artifact,
        evaluation: Evaluation,
        data: Mapping[str, Any],
        lineage: Lineage | None = None,
        files: Path | None = None,
    ) -> str:
        """As `MlflowRegistry.register`; "pending-RECIPE" if it waits in the outbox.

        `files` cannot wait.
        """
        if files:
            return super().register(name, source, artifact, evaluation, data, lineage, files)
        return self._now_or_later(
            lambda: super(QueueingRegistry, self).register(
                name, source, artifact, evaluation, data, lineage
            ),
            f"{PENDING}-{artifact.recipe}",
            "register",
            name,
            {
                "source": source,
                "artifact": artifact,
                "evaluation": evaluation,
                "data": data,
                "lineage": lineage,
            },
            {_MODEL_FILE: artifact.path},
        )

    def record(
        self,
        name: str,
        version: str,
        build: Build,
        measurement: Measurement | None,
        lineage: Lineage | None = None,
        files: Path | None = None,
    ) -> str:
        """As `MlflowRegistry.record`; "pending" if it waits in the outbox. `files` cannot wait."""
        if files:
            return super().record(name, version, build, measurement, lineage, files)
        needed = (*FIRMWARE_FILES, IMAGE_FILE)
        return self._now_or_later(
            lambda: super(QueueingRegistry, self).record(
                name, self._version(name, version, build.model_sha256), build, measurement, lineage
            ),
            PENDING,
            "record",
            name,
            {"version": version, "build": build, "measurement": measurement, "lineage": lineage},
            {f: build.directory / f for f in needed if (build.directory / f).is_file()},
        )

    def select(
        self, name: str, selection: Selection, constraints: Constraints | None = None
    ) -> None:
        """As `MlflowRegistry.select`, or later."""
        selection = _without_pending(selection)
        self._now_or_later(
            lambda: super(QueueingRegistry, self).select(name, selection, constraints),
            None,
            "select",
            name,
            {"selection": selection, "constraints": constraints},
            {},
        )

    def require_delivered(self) -> None:
        """Raise UnreachableError if something of this process waits in the outbox."""
        if self.unreachable:
            raise UnreachableError(
                self.unreachable.message,
                hint=f"{len(self.outbox.entries())} results wait in {self.outbox.folder}: "
                "`tinydeploy sync` delivers them",
            )

    def _now_or_later(
        self,
        call: Callable[[], Any],
        later: Any,
        what: str,
        model: str,
        values: Mapping[str, Any],
        files: Mapping[str, Path],
    ) -> Any:
        if self.unreachable is None:
            try:
                with contextlib.suppress(_Blocked):
                    self.deliver()
                return call()
            except UnreachableError as e:
                self.unreachable = e
        self.outbox.keep(what, model, values, files)
        return later

    def _version(self, name: str, version: str, model_sha256: str) -> str:
        """The number of a version that was pending when its name was given."""
        if not version.startswith(f"{PENDING}-"):
            return version
        recipe = version.removeprefix(f"{PENDING}-")
        found = self.database.version_of(name, model_sha256, recipe)
        if found is None:
            raise RegistryError(
                f"the variant by recipe {recipe} with sha256 {model_sha256[:12]}... is not "
                f"registered in {name}",
                hint="register it first",
            )
        return found.version

    def deliver(self, progress: Callable[[str], None] = lambda _: None) -> int:
        """Send what waits, the oldest first; how many there were.

        Raises UnreachableError if the server does not answer, RegistryError if it refuses one.
        """
        sent = 0
        if not self.outbox.folder.is_dir():
            return sent
        with self.outbox.delivering() as mine:
            if not mine:
                return sent
            for entry in self.outbox.entries():
                progress(f"{entry.call} {entry.model}")
                try:
                    self._send(entry)
                except UnreachableError:
                    raise
                except RegistryError as e:
                    raise _Blocked(
                        f"{entry.folder.name} ({entry.call} {entry.model}) is refused: {e.message}",
                        hint=f"{e.hint}; or give it up: remove {entry.folder}",
                    ) from e
                shutil.rmtree(entry.folder)
                sent += 1
        return sent

    def _send(self, entry: Entry) -> None:
        values = entry.values
        made = values.get("lineage")
        lineage = from_json(Lineage, made) if made else None
        if entry.call == "register":
            artifact = from_json(Artifact, values["artifact"])
            super().register(
                entry.model,
                from_json(ModelSource, values["source"]),
                dataclasses.replace(artifact, path=entry.folder / _MODEL_FILE),
                from_json(Evaluation, values["evaluation"]),
                values["data"],
                lineage,
            )
        elif entry.call == "record":
            build = dataclasses.replace(
                from_json(Build, values["build"]),
                directory=entry.folder,
                elf=entry.folder / "firmware.elf",
            )
            measured = values["measurement"]
            super().record(
                entry.model,
                self._version(entry.model, values["version"], build.model_sha256),
                build,
                from_json(Measurement, measured) if measured else None,
                lineage,
            )
        else:
            limits = values["constraints"]
            super().select(
                entry.model,
                from_json(Selection, values["selection"]),
                from_json(Constraints, limits) if limits else None,
            )


class _Blocked(RegistryError):
    """The server refuses what waits first."""


def _read(folder: Path) -> Entry:
    try:
        found = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
        return Entry(folder, found["call"], found["model"], found["values"])
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise RegistryError(
            f"{folder} cannot be read: {e!r}", hint="it was damaged: remove it and deploy again"
        ) from e


def _without_pending(selection: Selection) -> Selection:
    """Candidates that wait are found again by their name and model."""
    found = {
        c.name: dataclasses.replace(c, version="", run_id="")
        if c.version.startswith(PENDING) or c.run_id == PENDING
        else c
        for c in selection.candidates
    }
    chosen = selection.chosen and found[selection.chosen.name]
    return dataclasses.replace(selection, candidates=tuple(found.values()), chosen=chosen)
