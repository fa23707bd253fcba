"""pipeline.select: the words of each rejection, evidence and costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinydeploy.errors import UsageError
from tinydeploy.pipeline import select as selecting
from tinydeploy.pipeline.select import select
from tinydeploy.types import Candidate, Constraints, Evaluation, Selection


def variant(name: str, **figures: Any) -> Candidate:
    settled: dict[str, Any] = {
        "model_sha256": name * 4,
        "metric": "accuracy",
        "value": 0.9,
        "flash_bytes": 61_440,
        "ram_bytes": 8_192,
        "instructions": 1_000,
        "origin": {"instructions": "emulated"},
        **figures,
    }
    return Candidate(name=name, **settled)


def reason(candidate: Candidate, constraints: Constraints, **keywords: Any) -> str:
    """Why a lone candidate is not chosen; it must not be."""
    selection = select("board", [candidate], constraints, **keywords)
    assert selection.chosen is None
    assert selection.pareto == ()
    return selection.reasons[candidate.name]


# ---------------------------------------------------------------- words
def test_below_the_metric() -> None:
    assert reason(variant("a", value=0.861), Constraints(min_metric=0.88)) == (
        "accuracy 0.861 < 0.880"
    )


def test_decimals_grow_until_the_two_differ() -> None:
    assert reason(variant("a", value=0.87996), Constraints(min_metric=0.88)) == (
        "accuracy 0.87996 < 0.88000"
    )


def test_an_error_metric_is_bounded_from_above() -> None:
    worse = variant("a", metric="rmse", value=1.5, higher_is_better=False)
    assert reason(worse, Constraints(min_metric=1.2)) == "rmse 1.500 > 1.200"
    better = variant("a", metric="rmse", value=1.2, higher_is_better=False)
    assert select("board", [better], Constraints(min_metric=1.2)).chosen == better


def test_limits_of_the_user_and_of_the_board() -> None:
    large = variant("a", ram_bytes=21_004, flash_bytes=301_240)
    assert reason(large, Constraints(max_ram_bytes=16_384)) == (
        "needs 21,004 B of RAM, limit 16,384 B"
    )
    assert reason(large, Constraints(board_ram_bytes=16_384, max_ram_bytes=20_000)) == (
        "needs 21,004 B of RAM, the board has 16,384 B"
    )
    assert reason(large, Constraints(board_flash_bytes=262_144, max_flash_bytes=200_000)) == (
        "needs 301,240 B of flash, limit 200,000 B"
    )


def test_every_broken_constraint_is_named() -> None:
    bad = variant("a", value=0.5, ram_bytes=21_004, outputs_verified=False)
    assert reason(bad, Constraints(min_metric=0.88, max_ram_bytes=16_384)) == (
        "outputs differ from the host's; accuracy 0.500 < 0.880; "
        "needs 21,004 B of RAM, limit 16,384 B"
    )


@pytest.mark.parametrize(
    ("field", "constraints", "words"),
    [
        ("flash_bytes", Constraints(max_flash_bytes=1), "flash not measured"),
        ("ram_bytes", Constraints(board_ram_bytes=1), "RAM not measured"),
        ("instructions", Constraints(max_instructions=1), "instructions not measured"),
        ("latency_us", Constraints(max_latency_us=1), "latency not measured"),
        ("energy_uj", Constraints(max_energy_uj=1), "energy not measured"),
        ("value", Constraints(min_metric=0.1), "accuracy not measured"),
        ("value", Constraints(max_loss=0.1), "accuracy not measured"),
    ],
)
def test_what_was_not_measured_satisfies_no_constraint(
    field: str, constraints: Constraints, words: str
) -> None:
    assert reason(variant("a", **{field: None}), constraints) == words


def test_not_a_number_is_not_measured() -> None:
    assert reason(variant("a", value=float("nan")), Constraints(min_metric=0)) == (
        "accuracy not measured"
    )
    assert reason(
        variant("a", latency_us=float("nan"), origin={"latency_us": "measured"}),
        Constraints(max_latency_us=5),
    ) == ("latency not measured")


def test_an_estimate_meets_a_constraint_only_on_request() -> None:
    guessed = variant("a", latency_us=900.5, origin={"latency_us": "estimated"})
    limit = Constraints(max_latency_us=1_000)
    assert reason(guessed, limit) == "latency not measured, only estimated"
    accepted = select("board", [guessed], limit, origins={"estimated"})
    assert accepted.chosen == guessed
    assert reason(guessed, Constraints(max_latency_us=500), origins={"estimated"}) == (
        "needs 900.50 us an inference, limit 500 us"
    )


def test_different_origins_that_decide_are_named() -> None:
    fast = variant("a", latency_us=900, origin={"latency_us": "measured"})
    slow = variant("b", latency_us=950, origin={"latency_us": "estimated"})
    chosen = select(
        "board", [slow, fast], Constraints(), "latency", origins={"measured", "estimated"}
    )
    assert chosen.chosen == fast
    assert chosen.reasons["b"] == (
        "slower than a: 950 us an inference (estimated) against 900 us (measured)"
    )
    unasked = select("board", [slow, fast], Constraints(), "latency")
    assert unasked.reasons["b"] == "latency not measured, a: 900 us an inference"


def test_larger_than_the_chosen() -> None:
    selection = select(
        "board", [variant("a", flash_bytes=90_112), variant("b")], Constraints(), "flash"
    )
    assert selection.chosen is not None
    assert selection.chosen.name == "b"
    assert selection.reasons == {"a": "larger than b: 90,112 B of flash against 61,440 B"}


def test_ties_go_down_to_the_hash() -> None:
    def why(**figures: Any) -> str:
        selection = select("board", [variant("b", **figures), variant("a")], Constraints())
        assert selection.chosen is not None
        assert selection.chosen.name == "a"
        return selection.reasons["b"]

    assert why(ram_bytes=9_000) == "needs more RAM than a: 9,000 B of RAM against 8,192 B"
    assert why(instructions=1_001) == (
        "takes more instructions than a: 1,001 instructions against 1,000"
    )
    assert why(instructions=None) == "instructions not measured, a: 1,000 instructions"
    assert why(value=0.8) == "as small as a, but accuracy 0.800 against 0.900"
    assert why() == "equal to a in every figure; the order of the hashes decides"


def test_loss_is_measured_from_the_best_even_if_it_cannot_be_built() -> None:
    best = variant("best", value=0.93, blocked="CONV_3D (layer 2) is not supported")
    near, far = variant("near", value=0.92), variant("far", value=0.91)
    selection = select("board", [best, near, far], Constraints(max_loss=0.01))
    assert selection.chosen == near
    assert selection.reasons["best"] == "CONV_3D (layer 2) is not supported"
    assert selection.reasons["far"] == (
        "accuracy 0.910 against the best, 0.930: loses 0.020 > 0.010"
    )


def test_loss_of_an_error_metric() -> None:
    errors = [
        variant(n, metric="mae", value=v, higher_is_better=False)
        for n, v in (("a", 1.0), ("b", 1.1), ("c", 1.3))
    ]
    selection = select("board", errors, Constraints(max_loss=0.1))
    assert set(selection.reasons) == {"b", "c"}
    assert selection.reasons["c"] == "mae 1.300 against the best, 1.000: loses 0.300 > 0.100"
    assert selection.reasons["b"] == "as small as a, but mae 1.100 against 1.000"


def test_outputs_that_were_not_compared_are_no_objection() -> None:
    unknown = variant("a", outputs_verified=None)
    assert select("board", [unknown], Constraints()).chosen == unknown


def test_nothing_to_choose_from() -> None:
    assert select("board", [], Constraints(min_metric=1)) == Selection(
        "board", "flash", None, (), (), {}
    )


@pytest.mark.parametrize(
    ("candidates", "objective", "message"),
    [
        ([variant("a")], "beauty", "no objective is called 'beauty'"),
        ([variant("a"), variant("a")], "flash", "several variants are called a"),
        ([variant("a"), variant("b", metric="auc")], "flash", "different metrics: accuracy, auc"),
    ],
)
def test_nonsense_is_a_usage_error(
    candidates: list[Candidate], objective: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        select("board", candidates, Constraints(), objective)
    assert caught.value.hint


# ---------------------------------------------------------------- evidence
def judged(*rights: str) -> tuple[list[Candidate], Any]:
    """Candidates a, b, ... with the given 0/1 a sample, and the look-up of their evaluations."""
    candidates, found = [], {}
    for name, bits in zip("abcdef", rights, strict=False):
        correct = tuple(map(int, bits))
        value = sum(correct) / len(correct)
        candidates.append(variant(name, value=value, flash_bytes=100 - ord(name)))
        found[name] = Evaluation(
            name * 4, "data", "validation", "aot", "accuracy", value, len(bits), correct=correct
        )
    return candidates, lambda c: found.get(c.name)


BEST = "1" * 95 + "0" * 5


def test_a_loss_below_the_margin_by_chance_is_insufficient_evidence() -> None:
    candidates, results = judged(BEST, "0" + "1" * 94 + "0" * 5)
    plain = Constraints(max_loss=0.02)
    assert select("board", candidates, plain, results=results).chosen == candidates[1]
    strict = select(
        "board", candidates, Constraints(max_loss=0.02, confidence=0.95), results=results
    )
    assert strict.chosen == candidates[0]
    assert strict.reasons["b"].startswith("accuracy loss +0.0100 against a, between ")
    assert "insufficient evidence for 0.02 in 100 samples, about " in strict.reasons["b"]
    assert strict.evidence["b"].proof == "insufficient evidence"
    assert strict.evidence["a"].proof == "sufficient"


def test_enough_samples_are_evidence() -> None:
    candidates, results = judged(BEST * 40, ("0" + "1" * 94 + "0" * 5) * 40)
    found = select(
        "board", candidates, Constraints(max_loss=0.02, confidence=0.95), results=results
    )
    assert found.chosen == candidates[1]
    assert found.evidence["b"].upper < 0.02


def test_without_a_confidence_the_evidence_on_the_chosen_is_told() -> None:
    candidates, results = judged(BEST, "0" + "1" * 94 + "0" * 5)
    found = select("board", candidates, Constraints(max_loss=0.02), results=results)
    assert set(found.evidence) == {"b"}
    assert found.evidence["b"].proof == "insufficient evidence"


def test_a_loss_that_is_certain_says_so() -> None:
    candidates, results = judged(BEST * 10, "0" * 1000)
    found = select(
        "board", candidates, Constraints(max_loss=0.02, confidence=0.95), results=results
    )
    assert "at least 0.9" in found.reasons["b"] and "above 0.02" in found.reasons["b"]


def test_a_confidence_without_results_rejects_all_but_says_why() -> None:
    candidates, _ = judged(BEST, BEST)
    found = select("board", candidates, Constraints(max_loss=0.02, confidence=0.95))
    assert found.chosen is None
    assert set(found.reasons.values()) == {
        "no evidence: the results of single samples were not kept"
    }


def test_a_named_reference() -> None:
    candidates = [variant("a", value=0.95), variant("b", value=0.9), variant("c", value=0.85)]
    limits = Constraints(max_loss=0.03, reference="b")
    found = select("board", candidates, limits)
    assert found.chosen == candidates[0]
    assert found.reasons["c"] == "accuracy 0.850 against b, 0.900: loses 0.050 > 0.030"
    with pytest.raises(UsageError, match="no variant for board is called 'x'"):
        select("board", candidates, Constraints(max_loss=0.03, reference="x"))
    unknown = [variant("a"), variant("b", value=None)]
    found = select("board", unknown, limits)
    assert found.reasons == {
        "a": "accuracy of b not measured", "b": "accuracy not measured",
    }  # fmt: skip


def test_a_weighted_cost() -> None:
    a = variant("a", flash_bytes=100_000, ram_bytes=1_000)
    b = variant("b", flash_bytes=50_000, ram_bytes=30_000)
    c = variant("c", flash_bytes=1, ram_bytes=None)
    found = select("board", [a, b, c], Constraints(), "0.5*flash/1e5 + 0.5*ram/1e4")
    assert found.chosen == a
    assert found.reasons["b"] == "costs more than a: 1.750 against 0.550"
    assert found.reasons["c"] == "RAM not measured, so its cost is not known"
    assert found.objective == "5e-06*flash_bytes + 5e-05*ram_bytes"


def test_among_many_only_the_proofs_that_decide_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest ones lose too much, the largest is the reference: as with all proofs made."""
    rng = np.random.default_rng(5)
    sure = rng.random(2000)
    candidates, found = [], {}
    for i in range(30):
        right = sure < 0.5 + i / 70
        candidates.append(
            Candidate(f"v{i}", f"{i:02}", "accuracy", float(right.mean()), flash_bytes=100 + i)
        )
        found[f"v{i}"] = Evaluation(
            f"{i:02}", "d", "validation", "aot", "accuracy", float(right.mean()), 2000,
            correct=tuple(right.astype(int).tolist()),
        )  # fmt: skip
    asked: set[str] = set()

    def results(candidate: Candidate) -> Evaluation:
        asked.add(candidate.name)
        return found[candidate.name]

    limits = Constraints(max_loss=0.05, confidence=0.95)
    whole = select("board", candidates, limits, results=results)
    assert len(asked) == 30 and whole.chosen is not None
    asked.clear()
    monkeypatch.setattr(selecting, "NEAREST", 2)
    few = select("board", candidates, limits, results=results)
    assert (few.chosen, few.pareto) == (whole.chosen, whole.pareto)
    assert whole.chosen.name in asked and "v0" not in asked and len(asked) < 10
    assert "v0" not in few.sufficient and "v29" in few.sufficient
    assert few.reasons == whole.reasons
    assert tuple(few.sufficient) == whole.sufficient
