"""One model for a whole fleet of boards: sufficient on every one, and the smallest in total."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.objective import Objective
from tinydeploy.pipeline.columns import TIES
from tinydeploy.pipeline.select import Pool
from tinydeploy.types import Candidate, Constraints, Selection


@dataclass(frozen=True)
class Fleet:
    """The model that all boards get, or None, and a selection a board that says so.

    `total` is the objective summed over the boards, None if it is not known on every one.
    """

    objective: str
    model_sha256: str | None
    total: float | None
    selections: tuple[Selection, ...]

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """The chosen model on each board; empty if there is none."""
        return tuple(s.chosen for s in self.selections if s.chosen)


@dataclass(frozen=True)
class _Model:
    """The best sufficient candidate of one model on each board, and the key of its order."""

    sha256: str
    places: tuple[int, ...]
    total: float | None


def choose_fleet(
    pools: Mapping[str, Pool], constraints: Mapping[str, Constraints], objective: Objective
) -> _Model | None:
    """The model that is sufficient on every board with the least sum of the objective.

    Where a model has several builds on a board, the best of them counts. Ties are decided by the
    sums of flash, RAM and instructions, the metric, and the model's sha256.
    Raises UsageError without boards.
    """
    if not pools:
        raise UsageError("a fleet needs at least one board", hint="name boards with --device")
    best = [
        _best_of_each(pool, pool.sufficient(constraints[board]), objective)
        for board, pool in pools.items()
    ]
    shared = set(best[0]).intersection(*best[1:])
    if not shared:
        return None
    names = sorted(shared)
    places = np.array([[b[name] for name in names] for b in best])
    rows = []
    for number in range(1 + len(TIES)):
        columns = (
            (p.columns.cost(objective) if number == 0 else p.columns.figures[TIES[number - 1]])[at]
            for p, at in zip(pools.values(), places, strict=True)
        )
        rows.append(np.sum(list(columns), axis=0))
    rows.append(next(iter(pools.values())).columns.cost_of_metric[places[0]])
    left = np.arange(len(names))
    for row in rows:
        values = row[left]
        if not np.isnan(values).all():
            left = left[values == np.nanmin(values)]
    winner = int(left[0])  # names are in order: the least sha256 of those left
    total = float(rows[0][winner])
    return _Model(
        names[winner],
        tuple(int(p) for p in places[:, winner]),
        None if math.isnan(total) else total,
    )


def _best_of_each(pool: Pool, good: np.ndarray, objective: Objective) -> dict[str, int]:
    """model sha256 -> its best sufficient candidate on one board."""
    found: dict[str, int] = {}
    doubled: dict[str, list[int]] = {}
    for i in np.flatnonzero(good).tolist():
        sha = pool.candidates[i].model_sha256
        if sha in found:
            doubled.setdefault(sha, [found[sha]]).append(i)
        else:
            found[sha] = i
    for sha, places in doubled.items():
        mask = np.zeros(len(good), bool)
        mask[places] = True
        found[sha] = pool.columns.first(mask, objective, lambda i: pool.candidates[i].name) or 0
    return found


def select_fleet(
    pools: Mapping[str, Pool], constraints: Mapping[str, Constraints], objective: Objective
) -> Fleet:
    """`choose_fleet`, with a selection a board that gives the reason for every other candidate."""
    model = choose_fleet(pools, constraints, objective)
    alone = {b: p.selection(constraints[b], objective) for b, p in pools.items()}
    models = {c.model_sha256 for p in pools.values() for c in p.candidates}
    lacking = {b: _rejected(s, models) for b, s in alone.items()}
    if model is None:
        selections = tuple(_none(b, s, lacking) for b, s in alone.items())
        return Fleet(objective.text, None, None, selections)
    chosen = {b: p.candidates[i] for (b, p), i in zip(pools.items(), model.places, strict=True)}
    selections = tuple(_same(b, s, chosen[b], lacking) for b, s in alone.items())
    return Fleet(objective.text, model.sha256, model.total, selections)


def _rejected(selection: Selection, models: Iterable[str]) -> dict[str, str]:
    """model sha256 -> why no candidate of it is sufficient on this board."""
    good = set(selection.sufficient)
    fine = {c.model_sha256 for c in selection.candidates if c.name in good}
    reasons = dict.fromkeys(models, "not among its candidates")
    reasons |= {c.model_sha256: selection.reasons.get(c.name, "") for c in selection.candidates}
    return {sha: why for sha, why in reasons.items() if sha not in fine}


def _elsewhere(board: str, sha256: str, lacking: Mapping[str, Mapping[str, str]]) -> str:
    """Where else the model is not sufficient and why, "" if it is everywhere."""
    return "; ".join(
        f"not sufficient on {other}: {found[sha256]}"
        for other, found in lacking.items()
        if other != board and sha256 in found
    )


def _none(board: str, s: Selection, lacking: Mapping[str, Mapping[str, str]]) -> Selection:
    reasons = dict(s.reasons)
    for c in s.candidates:
        if c.name in s.sufficient:
            reasons[c.name] = _elsewhere(board, c.model_sha256, lacking)
    return dataclasses.replace(s, chosen=None, reasons=reasons)


def _same(
    board: str, s: Selection, chosen: Candidate, lacking: Mapping[str, Mapping[str, str]]
) -> Selection:
    reasons = {}
    for c in s.candidates:
        if c.name == chosen.name:
            continue
        if c.name not in s.sufficient:
            reasons[c.name] = s.reasons[c.name]
        elif c.model_sha256 == chosen.model_sha256:
            reasons[c.name] = f"the same model as {chosen.name}, which is preferred here"
        else:
            reasons[c.name] = _elsewhere(board, c.model_sha256, lacking) or (
                f"sufficient on every board, but larger in total than {chosen.name}"
            )
    near = dict.fromkeys([chosen.name, *s.nearest]) if s.nearest else ()
    return dataclasses.replace(s, chosen=chosen, reasons=reasons, nearest=tuple(near))
