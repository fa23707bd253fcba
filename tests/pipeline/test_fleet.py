"""Selection and fleets on 1,000 random registries: equal to looking at every possibility."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.objective import FIGURES, parse_objective
from tinydeploy.pipeline.evidence import compare
from tinydeploy.pipeline.fleet import choose_fleet, select_fleet
from tinydeploy.pipeline.select import Pool, Results, select
from tinydeploy.types import Candidate, Constraints, Evaluation, Evidence

SUMS = ("flash + ram", "0.5*flash/2 + 3*instructions", "latency*2 + energy", *FIGURES)


def number(rng: random.Random) -> int | None:
    """Few different values, so that ties are common; sometimes none."""
    return rng.choice([None, 1, 1, 2, 2, 3])


def evaluations(rng: random.Random, models: list[str]) -> dict[str, Evaluation]:
    found = {}
    for model in models:
        correct = tuple(int(rng.random() < rng.choice([0.7, 0.9])) for _ in range(12))
        found[model] = Evaluation(
            model, "d", "v", "aot", "accuracy", sum(correct) / 12, 12, correct=correct
        )
    return found


def registry(
    rng: random.Random,
) -> tuple[dict[str, list[Candidate]], dict[str, Constraints], dict[str, Evaluation]]:
    """Boards with their candidates and limits; some models have two builds on a board."""
    models = [f"m{i}" for i in range(rng.randint(1, 6))]
    kept = evaluations(rng, models)
    boards, limits = {}, {}
    for board in [f"b{i}" for i in range(rng.randint(1, 4))]:
        names = [m for m in models if rng.random() < 0.9]
        names += [m + "x" for m in names if rng.random() < 0.2]
        boards[board] = [
            Candidate(
                name,
                name.rstrip("x"),
                "accuracy",
                kept[name.rstrip("x")].value,
                flash_bytes=number(rng),
                ram_bytes=number(rng),
                instructions=number(rng),
                latency_us=number(rng),
                energy_uj=number(rng),
                outputs_verified=rng.choice([None, True, True, True, False]),
                origin={"latency_us": rng.choice(["measured", "estimated"])},
                blocked=rng.choice(["", "", "", "", "no"]),
            )
            for name in names
        ]
        rng.shuffle(boards[board])
        limits[board] = Constraints(
            min_metric=rng.choice([None, None, 0.75]),
            max_loss=rng.choice([None, None, 0.1, 0.3, 0.6]),
            confidence=rng.choice([None, 0.6, 0.8]),
            max_flash_bytes=rng.choice([None, None, 2]),
            max_latency_us=rng.choice([None, None, None, 2]),
            board_ram_bytes=rng.choice([None, 2, 3]),
        )
    return boards, limits, kept


def looked_up(kept: dict[str, Evaluation]) -> Results:
    return lambda c: kept[c.model_sha256]


def figure(c: Candidate, field: str) -> float:
    value = getattr(c, field)
    known = value is not None and c.origin.get(field) != "estimated"
    return value if known else math.inf


def fine(
    c: Candidate, limits: Constraints, every: list[Candidate], kept: dict[str, Evaluation]
) -> bool:
    if c.blocked or c.outputs_verified is False:
        return False
    for field, limit in (
        ("flash_bytes", limits.max_flash_bytes),
        ("latency_us", limits.max_latency_us),
        ("ram_bytes", limits.board_ram_bytes),
    ):
        if limit is not None and figure(c, field) > limit:
            return False
    assert c.value is not None
    if limits.min_metric is not None and c.value < limits.min_metric:
        return False
    if limits.max_loss is None:
        return True
    best = min(every, key=lambda o: (-(o.value or 0), o.model_sha256, o.name))
    assert best.value is not None
    if best.value - c.value > limits.max_loss + 1e-9:
        return False
    if limits.confidence is None:
        return True
    found = compare(
        kept[best.model_sha256], kept[c.model_sha256], limits.max_loss, limits.confidence
    )
    return isinstance(found, Evidence) and found.proof == "sufficient"


def cost(c: Candidate, text: str) -> float:
    return sum(w * figure(c, f) for f, w in parse_objective(text).weights.items())


def order(c: Candidate, text: str) -> tuple[object, ...]:
    ties = [figure(c, f) for f in ("flash_bytes", "ram_bytes", "instructions")]
    return (cost(c, text), *ties, -(c.value or 0), c.model_sha256, c.name)


def beaten(c: Candidate, good: list[Candidate]) -> bool:
    def costs(o: Candidate) -> list[float]:
        figures = [figure(o, f) for f in ("flash_bytes", "ram_bytes", "instructions")]
        return [-(o.value or 0), *figures]

    return any(
        costs(o) != costs(c) and all(x <= y for x, y in zip(costs(o), costs(c), strict=True))
        for o in good
    )


def test_equal_to_brute_force_on_1000_random_registries() -> None:
    rng = random.Random(8)
    fleets = nobody = 0
    for _ in range(1000):
        boards, limits, kept = registry(rng)
        text = rng.choice(SUMS)
        pools, good = {}, {}
        for board, candidates in boards.items():
            found = select(board, candidates, limits[board], text, results=looked_up(kept))
            good[board] = [c for c in candidates if fine(c, limits[board], candidates, kept)]
            best = min(good[board], key=lambda c: order(c, text), default=None)
            assert found.chosen == best
            assert found.sufficient == tuple(c.name for c in good[board])
            assert set(found.pareto) == {c.name for c in good[board] if not beaten(c, good[board])}
            others = {c.name for c in candidates} - ({best.name} if best else set())
            assert set(found.reasons) == others and all(found.reasons.values())
            pools[board] = pool = Pool(board, candidates, results=looked_up(kept))
            index = pool.choose(limits[board], parse_objective(text))
            assert (None if index is None else candidates[index]) == best

        # A fleet: every way to give all boards the same model.
        ways = [
            way
            for way in itertools.product(*good.values())
            if len({c.model_sha256 for c in way}) == 1
        ]
        best_of = {}  # the best build of a model on each board, then the least total
        for way in sorted(ways, key=lambda w: [order(c, text) for c in w]):
            best_of.setdefault(way[0].model_sha256, way)
        least = min(
            best_of.values(),
            key=lambda way: (
                sum(cost(c, text) for c in way),
                *(
                    sum(figure(c, f) for c in way)
                    for f in ("flash_bytes", "ram_bytes", "instructions")
                ),
                -(way[0].value or 0),
                way[0].model_sha256,
            ),
            default=None,
        )
        fleet = select_fleet(pools, limits, parse_objective(text))
        assert fleet.chosen == (least or ())
        if least:
            total = sum(cost(c, text) for c in least)
            assert fleet.total == (total if math.isfinite(total) else None)
        for selection in fleet.selections:
            chosen = {selection.chosen.name} if selection.chosen else set()
            assert set(selection.reasons) == {c.name for c in selection.candidates} - chosen
            assert all(selection.reasons.values())
        fleets += bool(least)
        nobody += not least
    assert fleets > 150 and nobody > 150


def test_the_reasons_of_a_fleet() -> None:
    def on(board: str, **flash: int) -> Pool:
        candidates = [
            Candidate(n, n, "accuracy", 0.9, flash_bytes=f, ram_bytes=1) for n, f in flash.items()
        ]
        return Pool(board, candidates)

    pools = {"small": on("small", a=5, b=6, c=7), "large": on("large", a=90, b=30, c=20)}
    limits = {"small": Constraints(), "large": Constraints(max_flash_bytes=50)}
    fleet = select_fleet(pools, limits, parse_objective("flash"))
    assert [c.name for c in fleet.chosen] == ["c", "c"] and fleet.total == 27
    assert fleet.selections[0].reasons == {
        "a": "not sufficient on large: needs 90 B of flash, limit 50 B",
        "b": "sufficient on every board, but larger in total than c",
    }
    nobody = select_fleet(
        pools, {**limits, "small": Constraints(max_flash_bytes=5)}, parse_objective("flash")
    )
    assert nobody.chosen == () and nobody.model_sha256 is None
    assert nobody.selections[0].reasons["a"].startswith("not sufficient on large")
    with pytest.raises(UsageError, match="at least one board"):
        choose_fleet({}, {}, parse_objective("flash"))
