"""pipeline.gate: what a limit means, and the words of each failure."""

from __future__ import annotations

from typing import Any

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.pipeline.gate import Limit, judge, parse_limit
from tinydeploy.types import Candidate


def model(**figures: Any) -> Candidate:
    settled: dict[str, Any] = {
        "value": 0.9,
        "flash_bytes": 10_000,
        "ram_bytes": 2_000,
        "instructions": 500_000,
        "outputs_verified": True,
        "origin": {"instructions": "emulated"},
        "version": "3",
        **figures,
    }
    return Candidate("net", "ab", settled.pop("metric", "accuracy"), **settled)


def reasons(limits: dict[str, str], champion: Candidate | None = None, **figures: Any) -> list[str]:
    parsed = {k: parse_limit(v) for k, v in limits.items()}
    return judge("board", model(**figures), parsed, champion).reasons


@pytest.mark.parametrize(
    ("text", "limit", "bound"),
    [
        ("262144", Limit(262144), 262144),
        ("262,144", Limit(262144), 262144),
        ("2_000.5", Limit(2000.5), 2000.5),
        ("1e6", Limit(1e6), 1e6),
        ("+2%", Limit(2, "percent"), 1020),
        ("-5 %", Limit(-5, "percent"), 950),
        ("+1024", Limit(1024, "delta"), 2024),
        ("-0.01", Limit(-0.01, "delta"), 999.99),
    ],
)
def test_what_a_limit_means(text: str, limit: Limit, bound: float) -> None:
    assert parse_limit(text) == limit
    assert limit.bound(1000) == pytest.approx(bound)
    assert limit.bound(None) == (bound if limit.kind == "absolute" else None)


@pytest.mark.parametrize("text", ["", "5%", "a", "+", "%", "--1", "1 2", "nan", "inf", "1e999"])
def test_what_is_no_limit(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_limit(text)
    assert text in caught.value.message


def test_limits_hold_up_to_the_number_itself() -> None:
    assert reasons({"flash_bytes": "10000", "metric": "0.9"}) == []
    assert reasons({"flash_bytes": "9999"}) == ["flash 10,000 is above 9,999"]
    assert reasons({"metric": "0.91"}) == ["accuracy 0.9000 is below 0.9100"]


def test_an_error_metric_is_bounded_from_above() -> None:
    error = {"metric": "rmse", "value": 1.5, "higher_is_better": False}
    assert reasons({"metric": "1.4"}, **error) == ["rmse 1.5000 is above 1.4000"]
    assert reasons({"metric": "1.5"}, **error) == []


def test_relative_to_the_champion() -> None:
    champion = model(instructions=490_000, value=0.91)
    assert reasons({"instructions": "+2.1%", "metric": "-0.01"}, champion) == []
    assert reasons({"instructions": "+2%"}, champion) == ["instructions 500,000 is above 499,800"]
    assert reasons({"metric": "-1%"}, champion) == ["accuracy 0.9000 is below 0.9009"]


def test_what_was_not_measured_passes_no_limit() -> None:
    assert reasons({"latency_us": "1000"}) == ["latency not measured"]
    assert reasons({"metric": "0.5"}, value=float("nan")) == ["accuracy not measured"]
    unknown = model(instructions=None)
    assert reasons({"instructions": "+2%"}, unknown) == ["the champion's instructions is not known"]


def test_origins_are_never_compared() -> None:
    champion = model(origin={"instructions": "estimated"})
    assert reasons({"instructions": "+2%"}, champion) == [
        "instructions is emulated, the champion's estimated: they cannot be compared"
    ]
    assert reasons({"instructions": "500000"}, champion) == []


def test_a_board_that_computes_something_else_fails_without_any_limit() -> None:
    assert reasons({}, outputs_verified=False) == ["outputs differ from the host's"]
    assert reasons({}) == []


def test_too_large_for_the_board_is_the_only_reason() -> None:
    assert reasons({"flash_bytes": "1"}, blocked="needs 9 B of flash") == ["needs 9 B of flash"]


def test_a_champion_that_was_not_named() -> None:
    with pytest.raises(UsageError, match="instructions is relative to a champion") as caught:
        reasons({"instructions": "+2%"})
    assert "--name" in caught.value.hint


def test_figures_without_a_limit_are_shown() -> None:
    verdict = judge("board", model(), {}, model(flash_bytes=9_000))
    assert verdict.passed
    assert {c.name: (c.value, c.champion) for c in verdict.checks}["flash"] == (10_000, 9_000)
    assert "latency" not in {c.name for c in verdict.checks}
