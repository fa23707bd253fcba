"""The words of selection: why a candidate is not sufficient, or sufficient and yet not chosen."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from tinydeploy.objective import FIGURES, Objective
from tinydeploy.pipeline.columns import EPSILON, TIES
from tinydeploy.types import Candidate, Constraints, Origin


@dataclass(frozen=True)
class _Figure:
    """One number of a candidate: its field, its name, its unit (alone, and first in a sentence)."""

    key: str
    name: str
    unit: str
    full_unit: str
    larger: str


_FIGURES = {
    f.key: f
    for f in (
        _Figure("flash_bytes", "flash", " B", " B of flash", "larger than"),
        _Figure("ram_bytes", "RAM", " B", " B of RAM", "needs more RAM than"),
        _Figure(
            "instructions", "instructions", "", " instructions", "takes more instructions than"
        ),
        _Figure("latency_us", "latency", " us", " us an inference", "slower than"),
        _Figure("energy_uj", "energy", " uJ", " uJ an inference", "needs more energy than"),
    )
}


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
def problems(
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


@dataclass(frozen=True)
class Check:
    """One limit and a candidate's figure, as people read them; `reason` is empty if it holds."""

    name: str
    value: str
    limit: str
    reason: str


def checks(
    candidate: Candidate,
    constraints: Constraints,
    reference: float | None,
    origins: Collection[Origin],
) -> list[Check]:
    """Every limit with the candidate's figure, the metric first."""
    found = []
    if constraints.min_metric is not None or constraints.max_loss is not None:
        whose = constraints.reference or "the best"
        allowed = {
            constraints.min_metric: f"at least {constraints.min_metric}",
            constraints.max_loss: f"within {constraints.max_loss} of {whose}",
        }
        found.append(
            Check(
                candidate.metric,
                "-" if candidate.value is None else f"{candidate.value:.4f}",
                ", ".join(text for limit, text in allowed.items() if limit is not None),
                "; ".join(_metric_problems(candidate, constraints, reference)),
            )
        )
    for figure, limit, owner in _limits(constraints):
        value = getattr(candidate, figure.key)
        origin = candidate.origin.get(figure.key, "")
        found.append(
            Check(
                figure.name,
                f"{_number(value)}{figure.unit}" + (f" ({origin})" if origin else "")
                if _known(value)
                else "-",
                f"at most {_number(limit)}{figure.unit}" + " of the board" * (owner != "limit"),
                _over(candidate, figure, limit, owner, origins),
            )
        )
    return found


def _limits(constraints: Constraints) -> list[tuple[_Figure, float, str]]:
    """(figure, limit, whose limit it is) of every figure that has one; the tighter of two."""
    limits: list[tuple[_Figure, float, str]] = []
    for key, board, user in (
        ("flash_bytes", constraints.board_flash_bytes, constraints.max_flash_bytes),
        ("ram_bytes", constraints.board_ram_bytes, constraints.max_ram_bytes),
        ("instructions", None, constraints.max_instructions),
        ("latency_us", None, constraints.max_latency_us),
        ("energy_uj", None, constraints.max_energy_uj),
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
    if least is not None and sign * (least - value) > EPSILON:
        a, b = _apart(value, least)
        problems.append(f"{candidate.metric} {a} {'<' if sign > 0 else '>'} {b}")
    whose = constraints.reference or "the best"
    if loss is not None and (best is None or math.isnan(best)):
        problems.append(f"{candidate.metric} of {whose} not measured")
    elif loss is not None and best is not None and sign * (best - value) - loss > EPSILON:
        a, b = _apart(value, best)
        lost, allowed = _apart(sign * (best - value), loss)
        problems.append(f"{candidate.metric} {a} against {whose}, {b}: loses {lost} > {allowed}")
    return problems


def _apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many decimals as tell them apart, three at least."""
    for decimals in range(3, 10):
        pair = f"{a:.{decimals}f}", f"{b:.{decimals}f}"
        if pair[0] != pair[1]:
            return pair
    return repr(a), repr(b)


# ---------------------------------------------------------------- order
def why_later(
    candidate: Candidate, chosen: Candidate, objective: Objective, origins: Collection[Origin]
) -> str:
    """The first figure of the order that tells the two apart, in plain words."""
    if not objective.single and (said := _costlier(candidate, chosen, objective, origins)):
        return said
    single = [FIGURES[objective.single]] if objective.single else []
    for field in dict.fromkeys([*single, *TIES]):
        figure = _FIGURES[field]
        ours, theirs = (_usable(c, field, origins) for c in (candidate, chosen))
        if ours == theirs or theirs is None:
            continue
        if ours is None:
            amount = f"{_number(theirs)}{figure.full_unit}"
            return f"{figure.name} not measured, {chosen.name}: {amount}"
        amounts = [f"{_number(ours)}{figure.full_unit}", f"{_number(theirs)}{figure.unit}"]
        sources = [c.origin.get(field, "origin unknown") for c in (candidate, chosen)]
        if sources[0] != sources[1]:
            amounts = [f"{a} ({s})" for a, s in zip(amounts, sources, strict=True)]
        return f"{figure.larger} {chosen.name}: {amounts[0]} against {amounts[1]}"
    if candidate.value != chosen.value and candidate.value is not None and chosen.value is not None:
        a, b = _apart(candidate.value, chosen.value)
        return f"as small as {chosen.name}, but {candidate.metric} {a} against {b}"
    return f"equal to {chosen.name} in every figure; the order of the hashes decides"


def _costlier(
    candidate: Candidate, chosen: Candidate, objective: Objective, origins: Collection[Origin]
) -> str:
    """Empty if both cost the same, or the chosen one's cost is not known either."""
    costs = []
    for c in (candidate, chosen):
        terms = {f: _usable(c, f, origins) for f in objective.weights}
        unknown = [_FIGURES[f].name for f, v in terms.items() if v is None]
        costs.append((unknown, sum(w * (terms[f] or 0) for f, w in objective.weights.items())))
    (unknown, ours), (theirs_unknown, theirs) = costs
    if theirs_unknown or (not unknown and ours == theirs):
        return ""
    if unknown:
        return f"{', '.join(unknown)} not measured, so its cost is not known"
    a, b = _apart(ours, theirs)
    return f"costs more than {chosen.name}: {a} against {b}"
