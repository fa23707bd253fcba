"""What a selection changes in a registered model: computed first (pure), then written."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tinydeploy.errors import RegistryError
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.schema import (
    PINNED,
    REJECTED,
    SELECTED,
    VersionRecord,
    board_tags,
    choice_tags,
    selection_tag,
)
from tinydeploy.registry.view import View
from tinydeploy.types import Candidate, Constraints, Selection

if TYPE_CHECKING:
    from tinydeploy.registry.writer import Writer

CHALLENGER = "-challenger"
"""Ends the alias of what selection would choose while a board is pinned to another version."""
CHALLENGES = "challenger"
"""The tag `selection` of the run behind that alias."""
_CHOSEN = "smallest sufficient"
_PINNED = "pinned"
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
        self.prepare(writer)
        self.point(writer)

    def prepare(self, writer: Writer) -> None:
        """Write all but the aliases."""
        models, name = writer.models, writer.experiment
        if self.run_tags:
            writer.place.tag_runs(writer.client, self.run_tags)
        for (version, key), value in self.version_tags.items():
            if value is None:
                models.delete_model_version_tag(name, version, key)
            else:
                models.set_model_version_tag(name, version, key, value)
        for key, value in self.model_tags.items():
            models.set_registered_model_tag(name, key, value)

    def point(self, writer: Writer) -> None:
        """Write the aliases, the champion's first."""
        models, name = writer.models, writer.experiment
        for alias, target in self.aliases.items():
            if target is None:
                models.delete_registered_model_alias(name, alias)
            else:
                models.set_registered_model_alias(name, alias, target)


def changes(view: View, selection: Selection, constraints: Constraints | None) -> Changes:
    """From what `view` shows to what `selection` says about its board.

    On a board that is pinned to another version the chosen one becomes the challenger. Raises
    RegistryError if the chosen candidate is not registered.
    """
    selection = _resolved(view, selection)
    board, chosen = selection.board, selection.chosen
    if chosen and not chosen.version:
        raise RegistryError(
            f"{chosen.name} is selected for {board} but not registered in {view.name}",
            hint="register it first",
        )
    target = chosen.version if chosen else None
    pinned = _pinned(view, board)
    champion, challenger = (pinned, target) if pinned and pinned != target else (target, None)
    key, made = selection_tag(board, selection.objective, constraints)
    return Changes(
        run_tags=_run_tags(view, selection, champion),
        version_tags=_version_tags(view, selection, champion),
        model_tags={} if view.tags.get(key) == made else {key: made},
        aliases=_aliases(view, board, champion, challenger),
    )


def moved(
    view: View, board: str, version: VersionRecord, record: BoardRecord, what: str, *, pin: bool
) -> Changes:
    """From what `view` shows to `version`, by its run `record`, being the champion of a board."""
    chosen = choice_tags(SELECTED, f"{what} by hand", record.pareto)
    told = choice_tags(record.selection, record.reason, record.pareto)
    run_tags = {} if chosen == told else {record.run_id: chosen}
    version_tags: dict[tuple[str, str], str | None] = {}
    for v in view.versions:
        present = v.selected.get(board)
        wanted = record.run_id if v.version == version.version else None
        if present != wanted:
            version_tags[(v.version, f"{SELECTED}.{board}")] = wanted
    for r in view.records:
        if r.board == board and r.selection == SELECTED and r.run_id != record.run_id:
            reason = f"version {version.version} was {what} by hand"
            run_tags[r.run_id] = choice_tags(REJECTED, reason, r.pareto)
    challenger = view.aliases.get(board + CHALLENGER)
    return Changes(
        run_tags=run_tags,
        version_tags=version_tags,
        model_tags={f"{PINNED}.{board}": version.version}
        if pin and view.pins.get(board) != version.version
        else {},
        aliases=_aliases(
            view, board, version.version, None if challenger == version.version else challenger
        ),
    )


def _pinned(view: View, board: str) -> str | None:
    """The version that a board is pinned to, if it is still there."""
    pinned = view.pins.get(board)
    return pinned if pinned in {v.version for v in view.versions} else None


def _aliases(
    view: View, board: str, champion: str | None, challenger: str | None
) -> dict[str, str | None]:
    wanted = {board: champion, board + CHALLENGER: challenger}
    return {alias: v for alias, v in wanted.items() if view.aliases.get(alias) != v}


def _resolved(view: View, selection: Selection) -> Selection:
    """The selection with the versions and the runs that its candidates have by now.

    A run may have been replaced since by another process, and what waited for a server has none.
    """
    numbers = {v.version for v in view.versions}
    registered = {(v.variant, v.model_sha256): v.version for v in view.versions}
    by_version = {v.version: v for v in view.versions}
    found = {}
    for c in selection.candidates:
        version = c.version
        if version not in numbers:
            version = registered.get((c.name, c.model_sha256), "")
        run_id = c.run_id
        if version and c.flash_bytes is not None:
            runs = view.of(by_version[version], selection.board)
            if run_id not in {r.run_id for r in runs}:
                same = [r for r in runs if r.footprint.flash_bytes == c.flash_bytes] or runs
                run_id = same[0].run_id if same else ""
        found[c.name] = dataclasses.replace(c, version=version, run_id=run_id)
    chosen = selection.chosen and found.get(selection.chosen.name)
    return dataclasses.replace(selection, candidates=tuple(found.values()), chosen=chosen)


def _reason(selection: Selection, candidate: Candidate) -> str | None:
    """None for the chosen one."""
    chosen = selection.chosen
    if chosen and chosen.name == candidate.name:
        return None
    return selection.reasons[candidate.name]


def _run_tags(view: View, selection: Selection, champion: str | None) -> dict[str, dict[str, str]]:
    candidates = {c.run_id: c for c in selection.candidates if c.run_id}
    kept = _kept_run(view, selection, champion)
    found = {}
    for record in view.records:
        if record.board != selection.board:
            continue
        candidate = candidates.get(record.run_id)
        if record.run_id == kept:
            tags = choice_tags(SELECTED, _PINNED, bool(candidate) and record.pareto)
        elif candidate:
            reason = _reason(selection, candidate)
            state, words = (SELECTED, _CHOSEN) if reason is None else (REJECTED, reason)
            if reason is None and kept:
                state, words = CHALLENGES, f"{_CHOSEN}, but the board is pinned"
            tags = choice_tags(state, words, candidate.name in selection.pareto)
        elif record.selection == SELECTED:
            tags = choice_tags(REJECTED, _GONE, False)
        else:
            continue
        if tags != choice_tags(record.selection, record.reason, record.pareto):
            found[record.run_id] = tags
    return found


def _kept_run(view: View, selection: Selection, champion: str | None) -> str | None:
    """The run of a champion that is not what was selected, but pinned."""
    chosen = selection.chosen
    if champion is None or (chosen and chosen.version == champion):
        return None
    return next(
        (v.selected.get(selection.board) for v in view.versions if v.version == champion), None
    )


def _version_tags(
    view: View, selection: Selection, champion: str | None
) -> dict[tuple[str, str], str | None]:
    """The champion names its run; a version without a run has nowhere else to keep the reason."""
    board, chosen = selection.board, selection.chosen
    unbuilt = {c.version: c for c in selection.candidates if not c.run_id}
    found: dict[tuple[str, str], str | None] = {}
    for v in view.versions:
        run_id = reason = None
        if v.version == champion:
            same = chosen is not None and chosen.version == champion
            run_id = chosen.run_id if chosen and same else v.selected.get(board)
        elif v.version in unbuilt:
            reason = _reason(selection, unbuilt[v.version])
        wanted = board_tags(board, run_id, reason)
        present = board_tags(board, v.selected.get(board), v.rejected.get(board))
        found |= {(v.version, key): value for key, value in wanted.items() if present[key] != value}
    return found
