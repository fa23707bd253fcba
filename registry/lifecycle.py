"""Promote, pin and roll back: the choice for a board by hand, and the record of all choices.

====================  ============================================================================
alias `B`             the champion: the version that board B shall run
alias `B-challenger`  what selection would choose while B is pinned to another version
tag `pinned.B`        on the registered model: the version that selection leaves in place
====================  ============================================================================

A decision is never kept for later when a server is gone: what is right now may be wrong then. Its
error says what was changed, and the command can be repeated: the event of the history comes before
the alias, so that a rollback that was cut off is not taken for one that happened.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinydeploy.errors import RegistryError, UnreachableError, UsageError
from tinydeploy.registry import history
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.choice import CHALLENGER, Changes, moved
from tinydeploy.registry.failures import translated
from tinydeploy.registry.history import Event
from tinydeploy.registry.schema import DEPLOYED, PINNED, VersionRecord
from tinydeploy.registry.view import View
from tinydeploy.registry.writer import Writer

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry

_MEANWHILE = ". A board can be flashed meanwhile: `tinydeploy flash BUNDLE`, or a folder of `build`"


@dataclass(frozen=True)
class Moved:
    """What a board's alias pointed to, and what it points to now."""

    name: str
    board: str
    before: str
    version: str
    variant: str
    run_id: str
    pinned: bool


@dataclass
class _Decision:
    """How to repeat a command: with the version, once it is known."""

    command: str
    version: str = ""

    @property
    def again(self) -> str:
        return f"{self.command} --version {self.version}" if self.version else self.command


class Lifecycle:
    """The life of a registered model's versions on boards."""

    def __init__(self, registry: MlflowRegistry) -> None:
        self.registry = registry

    def promote(self, name: str, board: str, version: str | None = None, note: str = "") -> Moved:
        """Make the challenger, or `version`, the champion of a board. A pin goes with it.

        Raises RegistryError if there is no challenger, or if the version was not built for the
        board or computes something else there than on the host.
        """
        with self._decision("promote", name, board) as decision:
            view = self.registry.view(name)
            target = version or view.aliases.get(board + CHALLENGER)
            if target is None:
                raise RegistryError(
                    f"{board} has no challenger in {name}",
                    hint="pin the board and select, or name a version with --version",
                )
            decision.version = target
            return self._move(view, board, target, "promoted", note)

    def pin(self, name: str, board: str, version: str | None = None, note: str = "") -> Moved:
        """Keep the champion, or make `version` the champion and keep it, whatever is selected."""
        with self._decision("pin", name, board) as decision:
            view = self.registry.view(name)
            target = version or view.aliases.get(board)
            if target is None:
                raise RegistryError(
                    f"no version of {name} is selected for {board}",
                    hint="select one first, or name it with --version",
                )
            decision.version = target
            return self._move(view, board, target, "pinned", note, pin=True)

    def unpin(self, name: str, board: str, note: str = "") -> None:
        """Let selection choose again for a board. Raises RegistryError if it was not pinned."""
        with self._decision("unpin", name, board):
            view = self.registry.view(name)
            if board not in view.pins:
                raise RegistryError(
                    f"{board} is not pinned in {name}",
                    hint=f"pinned: {', '.join(sorted(view.pins)) or 'none'}",
                )
            with self.registry.place.locked() as client:
                writer = Writer(client, self.registry.place, name)
                history.append_once(writer, Event(board, "unpinned", view.pins[board], note=note))
                writer.models.delete_registered_model_tag(name, f"{PINNED}.{board}")

    def rollback(self, name: str, board: str, version: str | None = None, note: str = "") -> Moved:
        """Back to the version that was the champion before, or to `version`, and pin it.

        Pinned, because the next selection would choose what did not work once more. Raises
        RegistryError if nothing was before, or if all of it has been removed.
        """
        with self._decision("rollback", name, board) as decision:
            view = self.registry.view(name)
            current = view.aliases.get(board, "")
            known = {v.version for v in view.versions}
            before = history.previous(self.history(name, board), current)
            targets = [e.version for e in before if e.version in known]
            if version is None and not targets:
                raise RegistryError(
                    f"{board} has had no other version of {name} before {current or 'now'}",
                    hint=f"see `tinydeploy history {name} --device {board}`",
                )
            decision.version = version or targets[0]
            return self._move(view, board, decision.version, "rolled back", note, pin=True)

    @contextlib.contextmanager
    def _decision(self, verb: str, name: str, board: str) -> Iterator[_Decision]:
        """A command whose error, should the server go, says how to repeat it."""
        decision = _Decision(f"tinydeploy {verb} {name} --device {board}")
        try:
            with self.registry.place.changing():
                self.registry.send_first()
                yield decision
        except UnreachableError as e:
            meanwhile = "" if verb == "unpin" else _MEANWHILE
            raise UnreachableError(
                e.message,
                hint=f"when it answers again: `{decision.again}`. It is not kept in an outbox; "
                f"what is done stays, the rest is done then{meanwhile}",
            ) from e

    def flashed(
        self,
        name: str,
        board: str,
        model_sha256: str,
        build_id: str,
        note: str,
        at: str = "",
        by: str = "",
    ) -> str:
        """Record that a board was given firmware with a registered model; the version.

        `at` and `by` say when and who, if it was not now. Raises RegistryError if the model has
        no such version.
        """
        view = self.registry.view(name)
        found = [v for v in view.versions if v.model_sha256 == model_sha256]
        if not found:
            raise RegistryError(
                f"{name} has no version with the model {model_sha256[:12]}...",
                hint="register it first, or name another registered model",
            )
        # The same bytes by two recipes: the one that is the board's.
        version = next((v for v in found if v.version == view.aliases.get(board)), found[-1])
        run_id = next((r.run_id for r in view.of(version, board) if r.build_id == build_id), "")
        event = Event(
            board, "flashed", version.version, version.variant, run_id, build_id, note, at, by
        )
        with self.registry.place.locked() as client:
            history.append(Writer(client, self.registry.place, name), event)
        return version.version

    def deployed(self, name: str, version: str, deployment: str, board: str) -> None:
        """Note that a deployment runs a version, which is kept as long as it does."""
        tag = f"{DEPLOYED}.{deployment}"
        with self.registry.place.locked() as client:
            for v in self.registry.view(name).versions:
                if v.version == version:
                    client.set_model_version_tag(name, version, tag, board)
                elif deployment in v.deployments:
                    client.delete_model_version_tag(name, v.version, tag)

    def undeployed(self, name: str, deployment: str) -> None:
        """Note that a deployment is gone."""
        with self.registry.place.locked() as client:
            for v in self.registry.view(name).versions:
                if deployment in v.deployments:
                    client.delete_model_version_tag(name, v.version, f"{DEPLOYED}.{deployment}")

    def history(self, name: str, board: str | None = None) -> list[Event]:
        """What was chosen for boards and put on them, the oldest first."""
        self.registry.view(name)
        return history.events(self.registry.database, name, board)

    def _move(
        self, view: View, board: str, target: str, what: str, note: str, *, pin: bool = False
    ) -> Moved:
        """Make a version the champion; pinned if asked for, or if the board is.

        `view` is what the decision was made on. Others may have moved the board since.
        """
        version = self.registry.get(view.name, target)
        _record(view, version, board)  # before anything is opened or waited for
        with self.registry.place.locked() as client:
            writer = Writer(client, self.registry.place, view.name)
            view = self.registry.view(view.name)
            record = _record(view, version, board)
            pin = pin or board in view.pins
            wanted: Changes = moved(view, board, version, record, what, pin=pin)
            wanted.prepare(writer)
            event = Event(
                board, what, version.version, version.variant, record.run_id, record.build_id, note
            )
            history.append_once(writer, event)
            wanted.point(writer)
            # What others wrote at the same moment, then texts for the UI: whoever writes next
            # brings both up to date as well.
            with (
                contextlib.suppress(UnreachableError),
                translated(self.registry.database.path),
            ):
                self._settle(writer, version, board, what, pin=pin)
                self.registry.describe(writer, self.registry.view(view.name))
        return Moved(
            view.name,
            board,
            view.aliases.get(board, ""),
            version.version,
            version.variant,
            record.run_id,
            pin,
        )

    def _settle(
        self, writer: Writer, version: VersionRecord, board: str, what: str, *, pin: bool
    ) -> None:
        """Of several who move a board at once on a server the last one to write the alias is left
        with what the others wrote: two versions that say that they are chosen, another pin.
        """
        if self.registry.place.exclusive:
            return
        now = self.registry.view(version.name)
        if now.aliases.get(board) == version.version:
            record, pin = _record(now, version, board), pin or board in now.pins
            moved(now, board, version, record, what, pin=pin).apply(writer)


def _record(view: View, version: VersionRecord, board: str) -> BoardRecord:
    """The run of a version on a board that is to be trusted there."""
    if board.endswith(CHALLENGER):
        raise UsageError(f"{board} names a challenger, not a board")
    records = view.of(version, board)
    if not records:
        raise RegistryError(
            f"version {version.version} of {view.name} was not built for {board}",
            hint="deploy it to that board, or choose another version",
        )
    sound = [r for r in records if r.outputs_verified is not False]
    if not sound:
        raise RegistryError(
            f"version {version.version} of {view.name} computes something else on {board} than "
            "on the host",
            hint="see its run in the MLflow UI; choose another version",
        )
    chosen = version.selected.get(board)
    return next((r for r in sound if r.run_id == chosen), sound[0])
