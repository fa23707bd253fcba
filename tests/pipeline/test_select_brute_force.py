"""pipeline.select: the choice against brute force."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.pipeline import select as selecting
from tinydeploy.pipeline.select import OBJECTIVES, select
from tinydeploy.types import Candidate, Constraints

FIELDS = {
    "flash": "flash_bytes",
    "ram": "ram_bytes",
    "instructions": "instructions",
    "latency": "latency_us",
    "energy": "energy_uj",
}

few = st.integers(min_value=1, max_value=3)
maybe = st.none() | few
origin = st.sampled_from(["measured", "emulated", "estimated"])


@st.composite
def registries(draw: st.DrawFn) -> tuple[list[Candidate], Constraints, str]:
    """Few different values, so that ties are common."""
    higher = draw(st.booleans())
    candidates = [
        Candidate(
            name=f"v{i}",
            model_sha256=draw(st.sampled_from("abc")) + str(i),
            metric="m",
            value=draw(maybe),
            higher_is_better=higher,
            flash_bytes=draw(maybe),
            ram_bytes=draw(maybe),
            instructions=draw(maybe),
            latency_us=draw(maybe),
            energy_uj=draw(maybe),
            outputs_verified=draw(st.sampled_from([None, True, True, False])),
            origin={k: draw(origin) for k in ("instructions", "latency_us", "energy_uj")},
            blocked=draw(st.sampled_from(["", "", "", "no"])),
        )
        for i in range(draw(st.integers(min_value=0, max_value=6)))
    ]
    names = [f for f in Constraints.__dataclass_fields__ if f.startswith(("max", "min", "board"))]
    names.remove("max_loss")
    limits = {name: draw(st.none() | st.none() | few) for name in names}
    loss = draw(st.none() | st.integers(min_value=0, max_value=2))
    return candidates, Constraints(max_loss=loss, **limits), draw(st.sampled_from(OBJECTIVES))


def figure(candidate: Candidate, key: str) -> float | None:
    return None if candidate.origin.get(key) == "estimated" else getattr(candidate, key)


def sufficient(c: Candidate, limits: Constraints, every: list[Candidate]) -> bool:
    if c.blocked or c.outputs_verified is False:
        return False
    for key, limit in (
        ("flash_bytes", limits.max_flash_bytes),
        ("flash_bytes", limits.board_flash_bytes),
        ("ram_bytes", limits.max_ram_bytes),
        ("ram_bytes", limits.board_ram_bytes),
        ("instructions", limits.max_instructions),
        ("latency_us", limits.max_latency_us),
        ("energy_uj", limits.max_energy_uj),
    ):
        value = figure(c, key)
        if limit is not None and (value is None or value > limit):
            return False
    if limits.min_metric is not None and (
        c.value is None
        or (c.value < limits.min_metric if c.higher_is_better else c.value > limits.min_metric)
    ):
        return False
    if limits.max_loss is not None:
        values = [o.value for o in every if o.value is not None]
        if c.value is None:
            return False
        best = max(values) if c.higher_is_better else min(values)
        return abs(best - c.value) <= limits.max_loss
    return True


def compare(a: Candidate, b: Candidate, objective: str) -> int:
    """Negative if `a` is to be preferred, by the words of the specification, key after key."""
    for key in (FIELDS[objective], "flash_bytes", "ram_bytes", "instructions", "value"):
        x, y = (c.value if key == "value" else figure(c, key) for c in (a, b))
        if x == y:
            continue
        if x is None or y is None:
            return 1 if x is None else -1
        smaller = -1 if x < y else 1
        return -smaller if key == "value" and a.higher_is_better else smaller
    return -1 if a.model_sha256 < b.model_sha256 else 1


def dominates(a: Candidate, b: Candidate) -> bool:
    strictly = False
    for key in ("value", "flash_bytes", "ram_bytes", "instructions"):
        x, y = (c.value if key == "value" else figure(c, key) for c in (a, b))
        if x == y:
            continue
        if x is None:
            return False
        better = y is None or ((x > y) if key == "value" and a.higher_is_better else (x < y))
        if not better:
            return False
        strictly = True
    return strictly


@settings(max_examples=400, deadline=None)
@given(registries())
def test_equal_to_brute_force(case: tuple[list[Candidate], Constraints, str]) -> None:
    candidates, constraints, objective = case
    selection = select("board", candidates, constraints, objective)
    with mock.patch.object(selecting, "NEAREST", 1):  # as if they were many
        among_many = select("board", candidates, constraints, objective)
    assert dataclasses.replace(among_many, nearest=()) == dataclasses.replace(
        selection, sufficient=among_many.sufficient
    )
    assert list(among_many.sufficient) == list(selection.sufficient)
    if selection.chosen and len(candidates) > 1:
        assert among_many.nearest == (selection.chosen.name,)
    good = [c for c in candidates if sufficient(c, constraints, candidates)]
    order = functools.cmp_to_key(lambda a, b: compare(a, b, objective))
    assert selection.chosen == min(good, key=order, default=None)
    assert set(selection.pareto) == {
        c.name for c in good if not any(dominates(other, c) for other in good)
    }
    chosen = {selection.chosen.name} if selection.chosen else set()
    assert set(selection.reasons) == {c.name for c in candidates} - chosen
    assert all(selection.reasons.values())


@settings(max_examples=50, deadline=None)
@given(registries())
def test_the_order_of_the_candidates_does_not_matter(
    case: tuple[list[Candidate], Constraints, str],
) -> None:
    candidates, constraints, objective = case
    results = [
        select("board", list(order), constraints, objective)
        for order in itertools.islice(itertools.permutations(candidates), 6)
    ]
    assert len({r.chosen.name if r.chosen else None for r in results}) == 1
    assert all(r.reasons == results[0].reasons and r.pareto == results[0].pareto for r in results)
