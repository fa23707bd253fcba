"""The smallest sufficient variant for a board, and why not each of the others.

A variant is *sufficient* if it can be built, its outputs on the board are not known to differ
from the host's, and it satisfies every constraint. A figure that was not measured satisfies no
constraint. Of the sufficient ones the smallest by the objective is chosen.

Origins are never mixed silently: a figure whose origin is not in `origins` (by default estimates)
counts as not measured, and its rejection says so; where the figures of two variants that decide
between them have different origins, the reason names both.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tinydeploy.errors import UsageError
from tinydeploy.types import Candidate, Constraints, Origin, Selection

ACCEPTED_ORIGINS: frozenset[Origin] = frozenset({"measured", "emulated"})

# Differences of metrics below this are rounding: 0.90 - 0.89 is not above a loss of 0.01.
_EPSILON = 1e-9


@dataclass(frozen=True)
class _Figure:
    """One number of a candidate: its field, its name, its unit (alone, and first in a sentence)."""

    key: str
    name: str
    unit: str
    full_unit: str
    larger: str


_FIGURES = {
    "flash": _Figure("flash_bytes", "flash", " B", " B of flash", "larger than"),
    "ram": _Figure("ram_bytes", "RAM", " B", " B of RAM", "needs more RAM than"),
    "instructions": _Figure(
        "instructions", "instructions", "", " instructions", "takes more instructions than"
    ),
    "latency": _Figure("latency_us", "latency", " us", " us an inference", "slower than"),
    "energy": _Figure("energy_uj", "energy", " uJ", " uJ an inference", "needs more energy than"),
}
OBJECTIVES = tuple(_FIGURES)


def select(
    board: str,
    candidates: Sequence[Candidate],
    constraints: Constraints,
    objective: str = "flash",
    *,
    origins: Collection[Origin] = ACCEPTED_ORIGINS,
) -> Selection:
    """Choose the smallest sufficient candidate by `objective`, or none.

    `objective` is one of OBJECTIVES. Ties are decided by flash, RAM, instructions, metric and the
    model's sha256, in this order; what was not measured comes last. `max_loss` is the distance to
    the best metric of all candidates, whether they can be built for this board or not. A figure
    without an origin is taken as it is.

    The Pareto front covers the sufficient candidates over (metric, flash, RAM, instructions), what
    was not measured counting as worst; its names are in the order of preference.

    Raises UsageError for an unknown objective, two candidates of one name, or different metrics.
    """
    _require_sense(candidates, objective)
    best = _best_metric(candidates)
    reasons: dict[str, str] = {}
    feasible = []
    for candidate in candidates:
        problems = _problems(candidate, constraints, best, origins)
        if problems:
            reasons[candidate.name] = "; ".join(problems)
        else:
            feasible.append(candidate)
    feasible.sort(key=lambda c: _rank(c, objective, origins))
    for candidate in feasible[1:]:
        reasons[candidate.name] = _why_later(candidate, feasible[0], objective, origins)
    return Selection(
        board=board,
        objective=objective,
        chosen=feasible[0] if feasible else None,
        candidates=tuple(candidates),
        pareto=tuple(c.name for c in _pareto(feasible, origins)),
        reasons=reasons,
    )


def _require_sense(candidates: Sequence[Candidate], objective: str) -> None:
    if objective not in _FIGURES:
        raise UsageError(
            f"no objective is called {objective!r}", hint=f"known: {', '.join(OBJECTIVES)}"
        )
    names = [c.name for c in candidates]
    if doubled := sorted({n for n in names if names.count(n) > 1}):
        raise UsageError(
            f"several variants are called {', '.join(doubled)}", hint="give each a name of its own"
        )
    metrics = sorted({c.metric for c in candidates})
    if len(metrics) > 1 or len({c.higher_is_better for c in candidates}) > 1:
        raise UsageError(
            f"variants are judged by different metrics: {', '.join(metrics)}",
            hint="evaluate all of them on the same task",
        )


# ---------------------------------------------------------------- one figure
def _known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def _usable(candidate: Candidate, key: str, origins: Collection[Origin]) -> float | None:
    """The figure, or None if it is missing or its origin is not accepted."""
    value: float | None = getattr(candidate, key)
    origin = candidate.origin.get(key)
    return value if _known(value) and (origin is None or origin in origins) else None


def _number(value: float) -> str:
    """Digits in groups of three; two decimals unless whole."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


# ---------------------------------------------------------------- constraints
def _problems(
    candidate: Candidate,
    constraints: Constraints,
    best: float | None,
    origins: Collection[Origin],
) -> list[str]:
    """Why the candidate is not sufficient; empty if it is."""
    if candidate.blocked:
        return [candidate.blocked]
    problems = ["outputs differ from the host's"] if candidate.outputs_verified is False else []
    problems += _metric_problems(candidate, constraints, best)
    for figure, limit, owner in _limits(constraints):
        problems.append(_over(candidate, figure, limit, owner, origins))
    return [p for p in problems if p]


def _limits(constraints: Constraints) -> list[tuple[_Figure, float, str]]:
    """(figure, limit, whose limit it is) of every figure that has one; the tighter of two."""
    limits: list[tuple[_Figure, float, str]] = []
    for key, board, user in (
        ("flash", constraints.board_flash_bytes, constraints.max_flash_bytes),
        ("ram", constraints.board_ram_bytes, constraints.max_ram_bytes),
        ("instructions", None, constraints.max_instructions),
        ("latency", None, constraints.max_latency_us),
        ("energy", None, constraints.max_energy_uj),
    ):
        if board is not None and (user is None or board <= user):
            limits.append((_FIGURES[key], board, "the board has"))
        elif user is not None:
            limits.append((_FIGURES[key], user, "limit"))
    return limits


def _over(
    candidate: Candidate, figure: _Figure, limit: float, owner: str, origins: Collection[Origin]
) -> str:
    """Empty if the figure is known and within the limit."""
    value = _usable(candidate, figure.key, origins)
    if value is None:
        known = _known(getattr(candidate, figure.key))
        return f"{figure.name} not measured" + (
            f", only {candidate.origin[figure.key]}" if known else ""
        )
    if value <= limit:
        return ""
    need = f"{_number(value)}{figure.full_unit}"
    return f"needs {need}, {owner} {_number(limit)}{figure.unit}"


def _best_metric(candidates: Sequence[Candidate]) -> float | None:
    values = [c.value for c in candidates if c.value is not None and not math.isnan(c.value)]
    if not values:
        return None
    return max(values) if candidates[0].higher_is_better else min(values)


def _metric_problems(
    candidate: Candidate, constraints: Constraints, best: float | None
) -> list[str]:
    least, loss = constraints.min_metric, constraints.max_loss
    if least is None and loss is None:
        return []
    value = candidate.value
    if value is None or math.isnan(value):
        return [f"{candidate.metric} not measured"]
    sign = 1 if candidate.higher_is_better else -1
    problems = []
    if least is not None and sign * (least - value) > _EPSILON:
        a, b = _apart(value, least)
        problems.append(f"{candidate.metric} {a} {'<' if sign > 0 else '>'} {b}")
    if loss is not None and best is not None and sign * (best - value) - loss > _EPSILON:
        a, b = _apart(value, best)
        lost, allowed = _apart(sign * (best - value), loss)
        problems.append(f"{candidate.metric} {a} against the best, {b}: loses {lost} > {allowed}")
    return problems


def _apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many decimals as tell them apart, three at least."""
    for decimals in range(3, 10):
        pair = f"{a:.{decimals}f}", f"{b:.{decimals}f}"
        if pair[0] != pair[1]:
            return pair
    return repr(a), repr(b)


# ---------------------------------------------------------------- order
def _last_if_none(value: float | None) -> tuple[bool, float]:
    return (True, 0.0) if value is None else (False, value)


def _cost_of_metric(candidate: Candidate) -> float | None:
    """Less is better."""
    if candidate.value is None or math.isnan(candidate.value):
        return None
    return -candidate.value if candidate.higher_is_better else candidate.value


def _rank(candidate: Candidate, objective: str, origins: Collection[Origin]) -> tuple[Any, ...]:
    """The sort key of the total order of preference."""
    figures = [
        _last_if_none(_usable(candidate, _FIGURES[o].key, origins)) for o in _tie_order(objective)
    ]
    metric = _last_if_none(_cost_of_metric(candidate))
    return (*figures, metric, candidate.model_sha256, candidate.name)


def _tie_order(objective: str) -> list[str]:
    return list(dict.fromkeys([objective, "flash", "ram", "instructions"]))


def _why_later(
    candidate: Candidate, chosen: Candidate, objective: str, origins: Collection[Origin]
) -> str:
    """The first figure of the order that tells the two apart, in plain words."""
    for key in _tie_order(objective):
        figure = _FIGURES[key]
        ours, theirs = (_usable(c, figure.key, origins) for c in (candidate, chosen))
        if ours == theirs or theirs is None:
            continue
        if ours is None:
            amount = f"{_number(theirs)}{figure.full_unit}"
            return f"{figure.name} not measured, {chosen.name}: {amount}"
        amounts = [f"{_number(ours)}{figure.full_unit}", f"{_number(theirs)}{figure.unit}"]
        sources = [c.origin.get(figure.key, "origin unknown") for c in (candidate, chosen)]
        if sources[0] != sources[1]:
            amounts = [f"{a} ({s})" for a, s in zip(amounts, sources, strict=True)]
        return f"{figure.larger} {chosen.name}: {amounts[0]} against {amounts[1]}"
    if candidate.value != chosen.value and candidate.value is not None and chosen.value is not None:
        a, b = _apart(candidate.value, chosen.value)
        return f"as small as {chosen.name}, but {candidate.metric} {a} against {b}"
    return f"equal to {chosen.name} in every figure; the order of the hashes decides"


# ---------------------------------------------------------------- Pareto front
def _pareto(feasible: Sequence[Candidate], origins: Collection[Origin]) -> list[Candidate]:
    """Those that no other beats in one of (metric, flash, RAM, instructions) without losing any."""
    costs = []
    for c in feasible:
        figures = [_usable(c, k, origins) for k in ("flash_bytes", "ram_bytes", "instructions")]
        costs.append([math.inf if v is None else v for v in (_cost_of_metric(c), *figures)])
    return [
        candidate
        for candidate, own in zip(feasible, costs, strict=True)
        if not any(
            other != own and all(o <= c for o, c in zip(other, own, strict=True)) for other in costs
        )
    ]
