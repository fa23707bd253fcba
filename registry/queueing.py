"""The registry on a server that may go: what it cannot take now waits in the outbox."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError, UnreachableError
from tinydeploy.lineage import Lineage
from tinydeploy.registry import history, selecting
from tinydeploy.registry.files import FIRMWARE_FILES, IMAGE_FILE
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.outbox import Entry, Outbox
from tinydeploy.types import (
    Artifact,
    Build,
    Constraints,
    Evaluation,
    Measurement,
    ModelSource,
    Selection,
    from_json,
)

PENDING = "pending"
"""Begins the version, and is the run, of what waits in the outbox."""
_MODEL_FILE = "model.tflite"
_LIFECYCLE = ("flashed", "deployed", "undeployed")


class QueueingRegistry(MlflowRegistry):
    """The registry on a server; what it cannot take now waits in the outbox.

    After the first call without an answer the server is left alone. What waits goes first, so
    that a newer choice is never replaced by an older one.
    """

    def __init__(self, url: str, progress: Callable[[str], None] = lambda _: None) -> None:
        """`progress` is told which choices that waited are not carried out any more, and why."""
        super().__init__(url)
        self.outbox = Outbox(url)
        self.progress = progress
        self.unreachable: UnreachableError | None = None
        self.overtaken: list[str] = []

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
        return self.now_or_later(
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
        return self.now_or_later(
            lambda: super(QueueingRegistry, self).record(
                name, self._version(name, version, build.model_sha256), build, measurement, lineage
            ),
            PENDING,
            "record",
            name,
            {"version": version, "build": build, "measurement": measurement, "lineage": lineage},
            {f: build.directory / f for f in needed if (build.directory / f).is_file()},
        )

    def record_profile(
        self,
        name: str,
        version: str,
        build: Build,
        found: Mapping[str, Any],
        lineage: Lineage | None = None,
    ) -> None:
        """As `MlflowRegistry.record_profile`, or later."""
        self.now_or_later(
            lambda: super(QueueingRegistry, self).record_profile(
                name, self._version(name, version, build.model_sha256), build, found, lineage
            ),
            None,
            "profile",
            name,
            {"version": version, "build": build, "profile": found, "lineage": lineage},
            {},
        )

    def select(
        self, name: str, selection: Selection, constraints: Constraints | None = None
    ) -> None:
        """As `MlflowRegistry.select`, or later."""
        selection = _without_pending(selection)
        self.now_or_later(
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

    def send_first(self) -> None:
        """Deliver what waits; what the server refuses stays, with all behind it.

        Raises UnreachableError.
        """
        with contextlib.suppress(_Blocked):
            self.deliver()

    def now_or_later(
        self,
        call: Callable[[], Any],
        later: Any,
        what: str,
        model: str,
        values: Mapping[str, Any],
        files: Mapping[str, Path],
    ) -> Any:
        """What `call` returns; or `later`, and `what` waits in the outbox with all it needs."""
        if self.unreachable is None:
            try:
                self.send_first()
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
                self.outbox.remove(entry)
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
        elif entry.call == "profile":
            build = from_json(Build, values["build"])
            version = self._version(entry.model, values["version"], build.model_sha256)
            super().record_profile(entry.model, version, build, values["profile"], lineage)
        elif entry.call == "select":
            limits = values["constraints"]
            self._select_late(
                entry,
                from_json(Selection, values["selection"]),
                from_json(Constraints, limits) if limits else None,
            )
        elif entry.call in _LIFECYCLE:
            if entry.call != "undeployed" or entry.model in self.models():
                getattr(Lifecycle(self), entry.call)(entry.model, **values)
        else:
            raise RegistryError(
                f"a call {entry.call!r} is not known", hint="use a newer tinydeploy"
            )

    def _select_late(
        self, entry: Entry, selection: Selection, constraints: Constraints | None
    ) -> None:
        """Carry out a choice that waited, unless somebody has decided for the board since."""
        board, made = selection.board, datetime.datetime.fromisoformat(entry.made)
        since = [
            e
            for e in history.events(self.database, entry.model, board)
            if e.what in (*history.CHOICES, "unpinned", "none")
            and datetime.datetime.fromisoformat(e.at) > made
        ]
        if not since:
            selecting.select(self, entry.model, selection, constraints, at=entry.made)
            return
        last = since[-1]
        self.overtaken.append(
            f"the choice for {board} in {entry.model} of {entry.made[:19]}Z is not carried out: "
            f"since then version {last.version or '-'} was {last.what} there ({last.by}, "
            f"{last.at[:19]}Z); select again if it is still right"
        )
        self.progress(self.overtaken[-1])


class _Blocked(RegistryError):
    """The server refuses what waits first."""


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
