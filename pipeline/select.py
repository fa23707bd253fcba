"""The smallest sufficient variant for a board, and why not each of the others.

A variant is *sufficient* if it can be built, its outputs on the board are not known to differ
from the host's, and it satisfies every constraint. A figure that was not measured satisfies no
constraint. Of the sufficient ones the smallest by the objective is chosen.

Origins are never mixed silently: a figure whose origin is not in `origins` (by default estimates)
counts as not measured, and its rejection says so; where the figures of two variants that decide
between them have different origins, the reason names both.

With `Constraints.confidence` the loss must be shown, by a paired test on the results of single
samples, to be below `max_loss`: see `evidence`. Without it the observed loss decides, because a
user with few samples needs an answer too; what the samples say about the chosen one is told all
the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.objective import FIGURES, Objective, parse_objective
from tinydeploy.pipeline import evidence, reasons
from tinydeploy.pipeline.columns import Columns
from tinydeploy.types import (
    Candidate,
    Constraints,
    Evaluation,
    Evidence,
    Origin,
    Selection,
)

ACCEPTED_ORIGINS: frozenset[Origin] = frozenset({"measured", "emulated"})
OBJECTIVES = tuple(FIGURES)

Results = Callable[[Candidate], Evaluation | None]
"""The evaluation behind a candidate's metric, or None if there is none."""


def select(
    board: str,
    candidates: Sequence[Candidate],
    constraints: Constraints,
    objective: str = "flash",
    *,
    origins: Collection[Origin] = ACCEPTED_ORIGINS,
    results: Results | None = None,
) -> Selection:
    """Choose the smallest sufficient candidate by `objective`, or none.

    `objective` is one of OBJECTIVES or a weighted sum (see `tinydeploy.objective`). Ties are
    decided by flash, RAM, instructions, metric and the model's sha256, in this order; what was not
    measured comes last. `max_loss` is the distance to the reference: the best metric of all
    candidates, whether they can be built for this board or not, or the variant that
    `constraints.reference` names. A figure without an origin is taken as it is. `results` gives
    the evaluations that a `confidence` needs.

    The Pareto front covers the sufficient candidates over (metric, flash, RAM, instructions), what
    was not measured counting as worst; its names are in the order of preference.

    Raises UsageError for an unknown objective, two candidates of one name, different metrics, or a
    reference that is not there.
    """
    pool = Pool(board, candidates, origins=origins, results=results)
    return pool.selection(constraints, parse_objective(objective))


class Pool:
    """The candidates of one board, loaded once and asked often."""

    def __init__(
        self,
        board: str,
        candidates: Sequence[Candidate],
        *,
        origins: Collection[Origin] = ACCEPTED_ORIGINS,
        results: Results | None = None,
        columns: Columns | None = None,
    ) -> None:
        """`columns` are those of the candidates, if the caller has them already."""
        self.board, self.candidates, self.origins = board, candidates, origins
        self.results = results
        if columns is None:
            _require_sense(candidates)
            columns = Columns.of(candidates, origins)
        self.columns = columns
        self._evaluations: dict[int, Evaluation | None] = {}
        self._references: dict[str | None, int | None] = {}

    # ------------------------------------------------------------ choosing
    def choose(self, constraints: Constraints, objective: Objective) -> int | None:
        """The number of the smallest sufficient candidate, or None: no words, no front."""
        good = self._within(constraints)
        while (found := self.columns.first(good, objective, self._tie)) is not None:
            if self._proven(found, constraints):
                return found
            good[found] = False
        return None

    def sufficient(self, constraints: Constraints) -> np.ndarray:
        """Which candidates satisfy every constraint, (N,) bool."""
        good = self._within(constraints)
        if constraints.max_loss is not None and constraints.confidence is not None:
            for index in np.flatnonzero(good):
                good[index] = self._proven(int(index), constraints)
        return good

    def selection(self, constraints: Constraints, objective: Objective) -> Selection:
        """The choice with the Pareto front, and a reason for every candidate not chosen."""
        good = self.sufficient(constraints)
        chosen = self.columns.first(good, objective, self._tie)
        return Selection(
            board=self.board,
            objective=objective.text,
            chosen=None if chosen is None else self.candidates[chosen],
            candidates=tuple(self.candidates),
            pareto=tuple(self.candidates[i].name for i in self.front(good, objective)),
            reasons={
                c.name: self.reason(i, constraints, objective, good, chosen)
                for i, c in enumerate(self.candidates)
                if i != chosen
            },
            evidence=self._told(constraints, chosen),
            sufficient=tuple(c.name for c, fine in zip(self.candidates, good, strict=True) if fine),
        )

    def front(self, good: np.ndarray, objective: Objective) -> list[int]:
        """The Pareto front of the sufficient, in the order of preference."""
        keys = self.columns.keys(objective)

        def order(i: int) -> tuple[object, ...]:
            values = [float(key[i]) for key in keys]
            return (*((True, 0.0) if math.isnan(v) else (False, v) for v in values), self._tie(i))

        return sorted((int(i) for i in self.columns.front(good)), key=order)

    def reason(
        self,
        index: int,
        constraints: Constraints,
        objective: Objective,
        good: np.ndarray,
        chosen: int | None,
    ) -> str:
        """Why a candidate was not chosen, in plain words."""
        candidate = self.candidates[index]
        if not good[index] or chosen is None:
            reference = self.reference_value(constraints)
            unproven = self._unproven(index, constraints)
            if unproven:  # says more than the observed loss
                constraints = dataclasses.replace(constraints, max_loss=None)
            found = reasons.problems(candidate, constraints, reference, self.origins)
            return "; ".join([*found, *unproven])
        return reasons.why_later(candidate, self.candidates[chosen], objective, self.origins)

    def _within(self, constraints: Constraints) -> np.ndarray:
        if constraints.confidence is not None:
            evidence.require_confidence(constraints.confidence)
        return self.columns.within(constraints, self.reference_value(constraints))

    def _tie(self, index: int) -> tuple[str, str]:
        candidate = self.candidates[index]
        return candidate.model_sha256, candidate.name

    # ------------------------------------------------------------ evidence
    def reference(self, constraints: Constraints) -> int | None:
        """The candidate that a loss is measured from. Raises UsageError if it is not there."""
        name = constraints.reference
        if name not in self._references:
            self._references[name] = self._best() if name is None else self._named(name)
        return self._references[name]

    def _named(self, name: str) -> int:
        for i, c in enumerate(self.candidates):
            if c.name == name:
                return i
        raise UsageError(
            f"no variant for {self.board} is called {name!r}",
            hint="the reference is one of the candidates: see the table",
        )

    def _best(self) -> int | None:
        cost = self.columns.cost_of_metric
        if not cost.size or np.isnan(cost).all():
            return None
        best = np.flatnonzero(cost == np.nanmin(cost))
        return min((int(i) for i in best), key=self._tie)

    def reference_value(self, constraints: Constraints) -> float | None:
        """The metric of the reference, where a loss is limited."""
        if constraints.max_loss is None:
            return None
        index = self.reference(constraints)
        return None if index is None else self.candidates[index].value

    def evidence(self, index: int, constraints: Constraints) -> Evidence | str:
        """What the samples say about a candidate's loss, or why they say nothing."""
        reference = self.reference(constraints)
        if reference is None or constraints.max_loss is None:
            return "there is nothing to compare with"
        ours, theirs = self._evaluation(index), self._evaluation(reference)
        if ours is None or theirs is None:
            return "the results of single samples were not kept"
        confidence = constraints.confidence or evidence.DEFAULT_CONFIDENCE
        name = self.candidates[reference].name
        return evidence.compare(theirs, ours, constraints.max_loss, confidence, name)

    def _evaluation(self, index: int) -> Evaluation | None:
        if index not in self._evaluations:
            found = self.results(self.candidates[index]) if self.results else None
            self._evaluations[index] = found
        return self._evaluations[index]

    def _proven(self, index: int, constraints: Constraints) -> bool:
        if constraints.max_loss is None or constraints.confidence is None:
            return True
        found = self.evidence(index, constraints)
        return isinstance(found, Evidence) and found.proof == "sufficient"

    def _unproven(self, index: int, constraints: Constraints) -> list[str]:
        """What the evidence lacks, for a candidate whose metric is known and that can be built."""
        candidate = self.candidates[index]
        if candidate.blocked or candidate.value is None or math.isnan(candidate.value):
            return []
        if self._proven(index, constraints):
            return []
        found = self.evidence(index, constraints)
        if isinstance(found, str):
            return [f"no evidence: {found}"]
        return [evidence.words(found, candidate.metric)]

    def _told(self, constraints: Constraints, chosen: int | None) -> dict[str, Evidence]:
        """All evidence that was looked at; without a confidence that on the chosen one."""
        if constraints.max_loss is None or self.results is None:
            return {}
        usable = np.flatnonzero(~self.columns.unusable & ~np.isnan(self.columns.value))
        asked = [int(i) for i in usable] if constraints.confidence else [chosen]
        found = {
            self.candidates[i].name: self.evidence(i, constraints) for i in asked if i is not None
        }
        return {name: e for name, e in found.items() if isinstance(e, Evidence)}


def _require_sense(candidates: Sequence[Candidate]) -> None:
    names: set[str] = set()
    doubled = {c.name for c in candidates if c.name in names or names.add(c.name)}  # type: ignore[func-returns-value]
    if doubled:
        raise UsageError(
            f"several variants are called {', '.join(sorted(doubled))}",
            hint="give each a name of its own",
        )
    metrics = sorted({c.metric for c in candidates})
    if len(metrics) > 1 or len({c.higher_is_better for c in candidates}) > 1:
        raise UsageError(
            f"variants are judged by different metrics: {', '.join(metrics)}",
            hint="evaluate all of them on the same task",
        )
