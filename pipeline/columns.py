"""The candidates of one board as columns of numbers, so that a hundred thousand are as easy as ten.

Not a number stands for what was not measured, or has an origin that is not accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydeploy.objective import FIGURES, Objective
from tinydeploy.types import Candidate, CandidateTable, Constraints, Origin

# Differences of metrics below this are rounding: 0.90 - 0.89 is not above a loss of 0.01.
EPSILON = 1e-9

TIES = ("flash_bytes", "ram_bytes", "instructions")
"""What decides, in this order, between candidates that are equal by the objective."""

_PRUNING = 64


@dataclass(frozen=True)
class Columns:
    """N candidates: `value` and each of `figures` (N,) float64, `unusable` (N,) bool.

    `unusable` are those that cannot be built for the board or compute something else there.
    """

    value: np.ndarray
    figures: dict[str, np.ndarray]
    unusable: np.ndarray
    higher_is_better: bool = True

    @classmethod
    def of(cls, candidates: Sequence[Candidate], origins: Collection[Origin]) -> Columns:
        """Columns of candidates of one metric; a table has them already."""
        if isinstance(candidates, CandidateTable):
            return cls(
                value=candidates.values(),
                figures={f: candidates.figure(f, origins) for f in FIGURES.values()},
                unusable=candidates.unusable(),
                higher_is_better=all(higher for _, higher in candidates.metrics()),
            )

        def figure(c: Candidate, field: str) -> float | None:
            origin = c.origin.get(field)
            known = origin is None or origin in origins
            return getattr(c, field) if known else None

        return cls(
            value=np.array([c.value for c in candidates], np.float64),
            figures={
                field: np.array([figure(c, field) for c in candidates], np.float64)
                for field in FIGURES.values()
            },
            unusable=np.array(
                [bool(c.blocked) or c.outputs_verified is False for c in candidates], bool
            ),
            higher_is_better=candidates[0].higher_is_better if candidates else True,
        )

    @property
    def cost_of_metric(self) -> np.ndarray:
        """The metric turned so that less is better."""
        return -self.value if self.higher_is_better else self.value

    def best(self) -> float | None:
        """The best value of the metric, whether or not it can be built here."""
        cost = self.cost_of_metric
        if np.isnan(cost).all():
            return None
        return float(self.value[np.nanargmin(cost)])

    def within(self, limits: Constraints, reference: float | None) -> np.ndarray:
        """Which candidates are usable and satisfy every limit, (N,) bool.

        `reference` is the value that `max_loss` is the distance to.
        """
        good = ~self.unusable
        for field, limit in (
            ("flash_bytes", limits.max_flash_bytes),
            ("flash_bytes", limits.board_flash_bytes),
            ("ram_bytes", limits.max_ram_bytes),
            ("ram_bytes", limits.board_ram_bytes),
            ("instructions", limits.max_instructions),
            ("latency_us", limits.max_latency_us),
            ("energy_uj", limits.max_energy_uj),
        ):
            if limit is not None:
                good &= self.figures[field] <= limit  # False for what is not a number
        sign = 1 if self.higher_is_better else -1
        if limits.min_metric is not None:
            good &= sign * (limits.min_metric - self.value) <= EPSILON
        if limits.max_loss is not None and reference is not None:
            good &= sign * (reference - self.value) - limits.max_loss <= EPSILON
        elif limits.max_loss is not None:
            good &= False
        return good

    def cost(self, objective: Objective) -> np.ndarray:
        """What each candidate costs, (N,); not a number if a figure it needs is not known."""
        terms = [self.figures[f] * w for f, w in objective.weights.items()]
        return np.sum(terms, axis=0)

    def keys(self, objective: Objective) -> list[np.ndarray]:
        """What decides, first things first; less is better, not a number is worst."""
        ties = [self.figures[f] for f in TIES]
        return [self.cost(objective), *ties, self.cost_of_metric]

    def first(
        self, good: np.ndarray, objective: Objective, tie: Callable[[int], Any]
    ) -> int | None:
        """The best of the `good`; `tie` gives the last key of one. None if none is good."""
        left = np.flatnonzero(good)
        for key in self.keys(objective):
            if left.size < 2:
                break
            values = key[left]
            if not np.isnan(values).all():
                left = left[values == np.nanmin(values)]
        return min((int(i) for i in left), key=tie, default=None)

    def nearest(self, good: np.ndarray, objective: Objective, count: int) -> list[int]:
        """The first `count` in the order of preference: the `good`, and if they are few the rest.

        Ties that only a hash would decide are in the order of the candidates.
        """
        keys = self.keys(objective)
        found: list[int] = []
        for mask in (good, ~good & ~self.unusable, ~good & self.unusable):
            left, wanted = np.flatnonzero(mask), count - len(found)
            cost = np.where(np.isnan(keys[0][left]), np.inf, keys[0][left])
            if 0 < wanted < left.size:  # only these need all keys
                left = left[cost <= np.partition(cost, wanted - 1)[wanted - 1]]
            order = np.lexsort([key[left] for key in reversed(keys)])  # not a number is last
            found += left[order][: max(wanted, 0)].tolist()
        return found

    def front(self, good: np.ndarray) -> np.ndarray:
        """Which of the `good` no other good one beats, (indices,).

        Beats: is better in one of (metric, flash, RAM, instructions) without losing any.
        """
        indices = np.flatnonzero(good)
        columns = [self.cost_of_metric, *(self.figures[f] for f in TIES)]
        costs = np.stack([c[indices] for c in columns], axis=1)
        costs = np.where(np.isnan(costs), np.inf, costs)
        return indices[pareto(costs)]


def pareto(costs: np.ndarray) -> np.ndarray:
    """Which rows of (N, K) costs no other row dominates, (N,) bool; equal rows stay together.

    A row can be dominated only by one before it in lexicographic order, and whoever is first of
    those left is on the front. A few rows that are good in every column go ahead and clear most of
    the others away.
    """
    left = np.arange(len(costs))
    spread = np.where(np.isfinite(costs), costs, np.nan)
    if len(costs) > _PRUNING:
        scale = np.nanmax(spread, axis=0) - np.nanmin(spread, axis=0)
        total = (costs / np.where(scale > 0, scale, 1)).sum(axis=1)
        for row in costs[np.argpartition(total, _PRUNING)[:_PRUNING]]:
            if len(left) <= _PRUNING:
                break
            rest = costs[left]
            left = left[(rest < row).any(axis=1) | (rest == row).all(axis=1)]
    left = left[np.lexsort(costs[left].T[::-1])]
    on_front = np.zeros(len(costs), bool)
    while left.size:
        row = costs[left[0]]
        rest = costs[left]
        same = (rest == row).all(axis=1)
        on_front[left[same]] = True
        left = left[(rest < row).any(axis=1)]
    return on_front
