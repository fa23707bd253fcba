"""Writes a selection: looks at what is registered, writes what differs, until nothing does."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tinydeploy.names import require_name
from tinydeploy.registry import history
from tinydeploy.registry.choice import Changes, changes
from tinydeploy.registry.descriptions import MOST_ROWS, describe_model, describe_version
from tinydeploy.registry.failures import RunGoneError
from tinydeploy.registry.history import Event
from tinydeploy.registry.view import View
from tinydeploy.registry.writer import Writer
from tinydeploy.types import Constraints, Selection

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry

_AGREEMENTS = 5
"""How often a choice is looked at again on a server, where others may choose at the same time."""


@dataclass(frozen=True)
class _Seen:
    """What a selection has to write: changes, then an event, then descriptions by version.

    `state` is where the journal of the database was, ("", 0) if there is none; `versions` are those
    that were looked at.
    """

    wanted: Changes
    descriptions: Mapping[str, str]
    event: Event | None
    state: tuple[str, int]
    versions: frozenset[int]

    @property
    def settled(self) -> bool:
        """True if the registry says all of it already."""
        return self.wanted.nothing and not self.descriptions and self.event is None


def select(
    registry: MlflowRegistry,
    name: str,
    selection: Selection,
    constraints: Constraints | None,
    at: str = "",
) -> None:
    """See `MlflowRegistry.select`. `at` is when it was chosen (UTC, ISO 8601), if not now."""
    require_name("board", selection.board)
    if name not in registry.models():
        if selection.chosen is None:
            return  # nothing registered, nothing chosen
        changes(View(name), selection, constraints)  # which says so
    seen = _look(registry, name, selection, constraints)
    if seen.settled:
        return
    with registry.place.locked() as client:
        writer = Writer(client, registry.place, name)
        if _is_outdated(registry, name, seen):
            seen = _look(registry, name, selection, constraints)
        for _ in range(_AGREEMENTS):
            if seen.wanted.nothing:
                break
            with contextlib.suppress(RunGoneError):  # it is not seen any more when looked again
                seen.wanted.apply(writer)
            seen = _look(registry, name, selection, constraints, seen.versions)
        if seen.event:
            history.append(writer, dataclasses.replace(seen.event, at=at))
        if seen.descriptions:
            registry.place.describe(client, name, seen.descriptions)


def _is_outdated(registry: MlflowRegistry, name: str, seen: _Seen) -> bool:
    """True if somebody wrote since; on a server nobody is kept from that anyway."""
    if not registry.place.exclusive:
        return False
    digest = registry.database.digest(name)
    return digest is None or not digest.token or (digest.token, digest.seq) != seen.state


def _look(
    registry: MlflowRegistry,
    name: str,
    selection: Selection,
    constraints: Constraints | None,
    also: frozenset[int] = frozenset(),
) -> _Seen:
    """What is to be written; `also` are versions that were changed by what has been written."""
    from tinydeploy.registry import scope  # with numpy

    digest, board = registry.database.digest(name), selection.board
    if digest is None:
        view = registry.view(name)
        text = describe_model(view)
    else:
        rejected = registry.database.rejections(name, board)
        versions = scope.versions(digest, selection, rejected)
        view = registry.glance(name, board, versions | also)
        text = describe_model(digest.first(MOST_ROWS), digest.boards, len(digest.variants))
    return _Seen(
        changes(view, scope.narrowed(selection, view), constraints),
        stale_descriptions(view, text),
        _new_event(view, board, history.events(registry.database, name, board)),
        (digest.token, digest.seq) if digest else ("", 0),
        frozenset(int(v.version) for v in view.versions),
    )


def stale_descriptions(view: View, whole: str) -> dict[str, str]:
    """Version -> the text that should be there; "" for the registered model and its `whole`."""
    wanted = {v.version: (v.description, describe_version(view, v)) for v in view.versions}
    wanted[""] = (view.description, whole)
    return {version: new for version, (old, new) in wanted.items() if old != new}


def _new_event(view: View, board: str, events: list[Event]) -> Event | None:
    """What the history does not tell yet about where the alias of a board points."""
    version = view.aliases.get(board, "")
    choices = [e for e in events if e.what in (*history.CHOICES, "none")]
    if (choices[-1].version if choices else "") == version:
        return None
    for v in view.versions:
        if v.version == version:
            run_id = v.selected.get(board, "")
            build_id = next((r.build_id for r in view.of(v, board) if r.run_id == run_id), "")
            return Event(board, "selected", version, v.variant, run_id, build_id)
    return Event(board, "none")
