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
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.objective import FIGURES, Objective, parse_objective
from tinydeploy.pipeline import evidence, reasons
from tinydeploy.pipeline.columns import Columns
from tinydeploy.pipeline.deferred import Reasons, Sufficient
from tinydeploy.types import (
    Candidate,
    CandidateTable,
    Constraints,
    Evaluation,
    Evidence,
    Origin,
    Selection,
)

ACCEPTED_ORIGINS: frozenset[Origin] = frozenset({"measured", "emulated"})
OBJECTIVES = tuple(FIGURES)

NEAREST = 50
"""Of more candidates than this only so many are shown, and told why they were not chosen; the
reason of any other is found when it is asked for."""

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
        self._compared: dict[tuple[int, Constraints], Evidence | str] = {}
        self._numbers: dict[str, int] = {}

    # ------------------------------------------------------------ choosing
    def choose(self, constraints: Constraints, objective: Objective) -> int | None:
        """The number of the smallest sufficient candidate, or None: no words, no front."""
        good = self._within(constraints)
        while (found := self.columns.first(good, objective, self._tie)) is not None:
            if self.proven(found, constraints):
                return found
            good[found] = False
        return None

    def sufficient(self, constraints: Constraints) -> np.ndarray:
        """Which candidates satisfy every constraint, (N,) bool."""
        good = self._within(constraints)
        if constraints.max_loss is not None and constraints.confidence is not None:
            for index in np.flatnonzero(good):
                good[index] = self.proven(int(index), constraints)
        return good

    def selection(self, constraints: Constraints, objective: Objective) -> Selection:
        """The choice with the Pareto front, and a reason for every candidate not chosen.

        Of more than NEAREST candidates the reasons, and with a confidence the proofs, are found
        when they are asked for: a choice needs the proof of the best until one holds, and of the
        front.
        """
        many = len(self.candidates) > NEAREST
        good = self._provable(constraints, objective) if many else self.sufficient(constraints)
        chosen = self.columns.first(good, objective, self._tie)
        front = self.front(good, objective)
        near = self._nearest(good, objective, chosen) if many else []
        reasons: Mapping[str, str] = Reasons(self, constraints, objective, good, chosen)
        return Selection(
            board=self.board,
            objective=objective.text,
            chosen=None if chosen is None else self.candidates[chosen],
            candidates=(
                self.candidates
                if isinstance(self.candidates, CandidateTable)
                else tuple(self.candidates)
            ),
            pareto=tuple(self.name(i) for i in front),
            reasons=reasons if many else dict(reasons),
            evidence=self._told(constraints, chosen, [*near, *front] if many else None),
            sufficient=Sufficient(self, constraints, good)
            if many
            else tuple(self.name(int(i)) for i in np.flatnonzero(good)),
            nearest=tuple(self.name(i) for i in near),
        )

    def _provable(self, constraints: Constraints, objective: Objective) -> np.ndarray:
        """As `sufficient`, but of the proofs only those that decide the choice and the front."""
        good = self._within(constraints)
        if constraints.max_loss is None or constraints.confidence is None:
            return good
        while (best := self.columns.first(good, objective, self._tie)) is not None:
            if self.proven(best, constraints):
                break
            good[best] = False
        while failed := [
            i for i in self.columns.front(good).tolist() if not self.proven(i, constraints)
        ]:
            good[failed] = False
        return good

    def _nearest(self, good: np.ndarray, objective: Objective, chosen: int | None) -> list[int]:
        """The chosen one, and those that follow it in the order of preference."""
        found = [i for i in self.columns.nearest(good, objective, NEAREST) if i != chosen]
        return [*([] if chosen is None else [chosen]), *found][:NEAREST]

    def name(self, index: int) -> str:
        """The name of a candidate."""
        if isinstance(self.candidates, CandidateTable):
            return self.candidates.name(index)
        return self.candidates[index].name

    def index_of(self, name: str) -> int:
        """The number of a candidate. Raises KeyError if none is called so."""
        if isinstance(self.candidates, CandidateTable):
            return self.candidates.index_of(name)
        if not self._numbers:
            self._numbers = {c.name: i for i, c in enumerate(self.candidates)}
        return self._numbers[name]

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
        if chosen is None or not good[index] or not self.proven(index, constraints):
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
        try:
            return self.index_of(name)
        except KeyError:
            raise UsageError(
                f"no variant for {self.board} is called {name!r}",
                hint="the reference is one of the candidates: see the table",
            ) from None

    def _best(self) -> int | None:
        cost = self.columns.cost_of_metric
        if not cost.size or np.isnan(cost).all():
            return None
        best = np.flatnonzero(cost == np.nanmin(cost))
        if isinstance(self.candidates, CandidateTable):
            return self.candidates.least(best)
        return min((int(i) for i in best), key=self._tie)

    def reference_value(self, constraints: Constraints) -> float | None:
        """The metric of the reference, where a loss is limited."""
        if constraints.max_loss is None:
            return None
        if constraints.reference is None:
            return self.columns.best()
        index = self.reference(constraints)
        return None if index is None else self.candidates[index].value

    def evidence(self, index: int, constraints: Constraints) -> Evidence | str:
        """What the samples say about a candidate's loss, or why they say nothing."""
        key = index, constraints
        if key not in self._compared:
            self._compared[key] = self._compare(index, constraints)
        return self._compared[key]

    def _compare(self, index: int, constraints: Constraints) -> Evidence | str:
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

    def proven(self, index: int, constraints: Constraints) -> bool:
        """True if no proof of its loss is asked for, or it holds."""
        if constraints.max_loss is None or constraints.confidence is None:
            return True
        found = self.evidence(index, constraints)
        return isinstance(found, Evidence) and found.proof == "sufficient"

    def _unproven(self, index: int, constraints: Constraints) -> list[str]:
        """What the evidence lacks, for a candidate whose metric is known and that can be built."""
        candidate = self.candidates[index]
        if candidate.blocked or candidate.value is None or math.isnan(candidate.value):
            return []
        if self.proven(index, constraints):
            return []
        found = self.evidence(index, constraints)
        if isinstance(found, str):
            return [f"no evidence: {found}"]
        return [evidence.words(found, candidate.metric)]

    def _told(
        self, constraints: Constraints, chosen: int | None, near: Sequence[int] | None
    ) -> dict[str, Evidence]:
        """All evidence on those that are near (None: on all); without a confidence on the chosen.

        What cannot be used, or has no metric, is not compared.
        """
        if constraints.max_loss is None or self.results is None:
            return {}
        usable = ~self.columns.unusable & ~np.isnan(self.columns.value)
        asked: list[int] = [] if chosen is None else [chosen]
        if constraints.confidence:
            asked += np.flatnonzero(usable).tolist() if near is None else near
        asked = [i for i in dict.fromkeys(asked) if usable[i]]
        found = {self.name(i): self.evidence(i, constraints) for i in asked}
        return {name: e for name, e in found.items() if isinstance(e, Evidence)}


def _require_sense(candidates: Sequence[Candidate]) -> None:
    if isinstance(candidates, CandidateTable):  # whose names differ
        _require_metric(candidates.metrics())
        return
    names: set[str] = set()
    doubled = {c.name for c in candidates if c.name in names or names.add(c.name)}  # type: ignore[func-returns-value]
    if doubled:
        raise UsageError(
            f"several variants are called {', '.join(sorted(doubled))}",
            hint="give each a name of its own",
        )
    _require_metric({(c.metric, c.higher_is_better) for c in candidates})


def _require_metric(metrics: Collection[tuple[str, bool]]) -> None:
    if len(metrics) > 1:
        raise UsageError(
            f"variants are judged by different metrics: {', '.join(sorted(m for m, _ in metrics))}",
            hint="evaluate all of them on the same task",
        )
