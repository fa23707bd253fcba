"""What a selection has to look at: the versions about which something may have to be written.

Of ten thousand variants a new choice changes what is said about a few. The digest tells which
those are; `choice.changes` then looks at these alone, read in full.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from tinydeploy.registry.digest import Digest, text_hash
from tinydeploy.registry.schema import REJECTED, SELECTED
from tinydeploy.registry.table import RegisteredCandidates
from tinydeploy.types import Candidate, Selection

if TYPE_CHECKING:
    from tinydeploy.registry.view import View

FAR = "not among the nearest: `tinydeploy select --explain` tells why"
"""The registered reason of a candidate that is not `nearest`: another choice leaves it as it is."""


def told(selection: Selection) -> dict[str, str]:
    """The reasons that are registered, of the candidates that may be asked about."""
    near = set(selection.nearest)
    found = {}
    for c in selection.candidates:
        if selection.chosen is None or c.name != selection.chosen.name:
            far = near and c.name not in near
            found[c.name] = (c.blocked or FAR) if far else selection.reasons[c.name]
    return found


def narrowed(selection: Selection, view: View) -> Selection:
    """The selection as far as it is about the versions of a view, with the registered reasons."""
    versions = {v.version for v in view.versions}
    table = selection.candidates
    if isinstance(table, RegisteredCandidates):
        wanted = np.array([int(v) for v in versions], np.int64)
        rows = np.flatnonzero(np.isin(table.version, wanted)).tolist()
        candidates: list[Candidate] = [table[i] for i in rows]
    else:
        candidates = list(table)
    few = dataclasses.replace(selection, candidates=tuple(candidates))
    names = {c.name for c in candidates}
    return dataclasses.replace(
        few, reasons=told(few), pareto=tuple(n for n in selection.pareto if n in names)
    )


def versions(digest: Digest, selection: Selection, rejected: Mapping[int, str]) -> set[int]:
    """The versions about which a selection may have something new to say, and no less.

    `rejected` is what the tags of versions without a run say. What aliases and tags of the board
    point to comes on top.
    """
    found = set(digest.versions["version"][digest.versions["stale"]].tolist())
    table = selection.candidates
    if not isinstance(table, RegisteredCandidates):
        return found | set(rejected) | _of_list(digest, selection)
    before = table.digest
    if digest.token != before.token or not digest.token:
        return set(digest.versions["version"].tolist()) | set(rejected)
    changed = digest.versions["version"][digest.versions["seq"] > before.seq]
    return found | set(changed.tolist()) | _differing(table, selection, rejected)


def _of_list(digest: Digest, selection: Selection) -> set[int]:
    """Of candidates one by one: their versions, and the runs that were selected before."""
    listed = {c.version for c in selection.candidates if c.version.isdigit()}
    names = {c.name for c in selection.candidates if not c.version.isdigit()}
    by_name = [
        v
        for name, v in zip(digest.variants, digest.versions["version"].tolist(), strict=True)
        if name in names
    ]
    return {int(v) for v in listed} | set(by_name) | digest.selected_on(selection.board)


def _differing(
    table: RegisteredCandidates, selection: Selection, rejected: Mapping[int, str]
) -> set[int]:
    """Where the registry does not say what the selection says."""
    digest, built = table.digest, table.built
    state = np.full(len(table), digest.code(REJECTED), np.int64)
    reason = np.full(len(table), text_hash(FAR), np.int64)
    pareto = np.zeros(len(table), bool)
    pareto[[table.index_of(name) for name in selection.pareto]] = True
    chosen = None if selection.chosen is None else table.index_of(selection.chosen.name)
    near = map(table.index_of, selection.nearest) if selection.nearest else range(len(table))
    unbuilt = {}
    for index in near:
        if index == chosen:
            state[index] = digest.code(SELECTED)
        elif built[index]:
            reason[index] = text_hash(selection.reasons[table.name(index)])
    different = built & (
        (table.field("state", 0) != state)
        | ((table.field("reason", 0) != reason) & (state != digest.code(SELECTED)))
        | (table.field("pareto", False) != pareto)
    )
    found = set(table.version[different].tolist())
    if chosen is not None:
        found.add(int(table.version[chosen]))
    found |= digest.selected_on(table.board)
    for index in np.flatnonzero(~built).tolist():
        unbuilt[int(table.version[index])] = table[index].blocked
    return found | {v for v in {*unbuilt, *rejected} if unbuilt.get(v) != rejected.get(v)}
