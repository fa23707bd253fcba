"""What a selection changes in a registered model: computed first (pure), then written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinydeploy.errors import RegistryError
from tinydeploy.registry.schema import (
    REJECTED,
    SELECTED,
    Row,
    board_tags,
    choice_tags,
    selection_tag,
)
from tinydeploy.registry.view import View
from tinydeploy.types import Candidate, Constraints, Selection

if TYPE_CHECKING:
    from tinydeploy.registry.writer import Writer

_CHOSEN = "smallest sufficient"
_GONE = "not among the candidates of the last selection"


@dataclass(frozen=True)
class Changes:
    """Only what differs. None stands for a tag or an alias to be removed."""

    run_tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    version_tags: Mapping[tuple[str, str], str | None] = field(default_factory=dict)
    model_tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def nothing(self) -> bool:
        """True if the registry says all of it already."""
        return not (self.run_tags or self.version_tags or self.model_tags or self.aliases)

    def apply(self, writer: Writer) -> None:
        """Write it, the aliases last: who follows an alias finds everything else in place."""
        client, name = writer.client, writer.experiment
        for run_id, tags in self.run_tags.items():
            writer.log(run_id, Row(tags=tags))
        for (version, key), value in self.version_tags.items():
            if value is None:
                client.delete_model_version_tag(name, version, key)
            else:
                client.set_model_version_tag(name, version, key, value)
        for key, value in self.model_tags.items():
            client.set_registered_model_tag(name, key, value)
        for alias, target in self.aliases.items():
            if target is None:
                client.delete_registered_model_alias(name, alias)
            else:
                client.set_registered_model_alias(name, alias, target)


def changes(view: View, selection: Selection, constraints: Constraints | None) -> Changes:
    """From what `view` shows to what `selection` says about its board.

    Raises RegistryError if the chosen candidate is not registered.
    """
    board, chosen = selection.board, selection.chosen
    version_of = {c.name: _version(view, c) for c in selection.candidates}
    if chosen and not version_of.get(chosen.name):
        raise RegistryError(
            f"{chosen.name} is selected for {board} but not registered in {view.name}",
            hint="register it first",
        )
    target = version_of[chosen.name] if chosen else None
    key, made = selection_tag(board, selection.objective, constraints)
    return Changes(
        run_tags=_run_tags(view, selection),
        version_tags=_version_tags(view, selection, version_of),
        model_tags={} if view.tags.get(key) == made else {key: made},
        aliases={} if view.aliases.get(board) == target else {board: target},
    )


def _version(view: View, candidate: Candidate) -> str:
    """The candidate's version, "" if it is not registered."""
    for v in reversed(view.versions):
        if candidate.version == v.version or (
            not candidate.version
            and (candidate.name, candidate.model_sha256) == (v.variant, v.model_sha256)
        ):
            return v.version
    return ""


def _reason(selection: Selection, candidate: Candidate) -> str | None:
    """None for the chosen one."""
    chosen = selection.chosen
    if chosen and chosen.name == candidate.name:
        return None
    return selection.reasons[candidate.name]


def _run_tags(view: View, selection: Selection) -> dict[str, dict[str, str]]:
    candidates = {c.run_id: c for c in selection.candidates if c.run_id}
    found = {}
    for record in view.records:
        if record.board != selection.board:
            continue
        if candidate := candidates.get(record.run_id):
            reason = _reason(selection, candidate)
            tags = choice_tags(
                SELECTED if reason is None else REJECTED,
                _CHOSEN if reason is None else reason,
                candidate.name in selection.pareto,
            )
        elif record.selection == SELECTED:
            tags = choice_tags(REJECTED, _GONE, False)
        else:
            continue
        if tags != choice_tags(record.selection, record.reason, record.pareto):
            found[record.run_id] = tags
    return found


def _version_tags(
    view: View, selection: Selection, version_of: Mapping[str, str]
) -> dict[tuple[str, str], str | None]:
    """The chosen version names its run; one without a run has nowhere else to keep the reason."""
    board, chosen = selection.board, selection.chosen
    unbuilt = {version_of[c.name]: c for c in selection.candidates if not c.run_id}
    found: dict[tuple[str, str], str | None] = {}
    for v in view.versions:
        run_id = reason = None
        if chosen and v.version == version_of[chosen.name]:
            run_id = chosen.run_id
        elif v.version in unbuilt:
            reason = _reason(selection, unbuilt[v.version])
        wanted = board_tags(board, run_id, reason)
        present = board_tags(board, v.selected.get(board), v.rejected.get(board))
        found |= {(v.version, key): value for key, value in wanted.items() if present[key] != value}
    return found
