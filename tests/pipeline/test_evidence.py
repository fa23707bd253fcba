"""pipeline.evidence: formulas against their definitions, published values, and simulated truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from tinydeploy.errors import UsageError
from tinydeploy.pipeline import metrics
from tinydeploy.pipeline.bootstrap import resampled_losses
from tinydeploy.pipeline.evidence import compare, mcnemar, paired_proportions, tango_z, words
from tinydeploy.types import Evaluation, Evidence


def evaluation(model: str, metric: str = "accuracy", value: float = 0.5, **kept: Any) -> Evaluation:
    samples = len(kept.get("correct", ())) or len(next(iter(kept["per_sample"].values())))
    return Evaluation(model, "data", "validation", "aot", metric, value, samples, **kept)


def proven(found: Evidence | str) -> Evidence:
    assert isinstance(found, Evidence), found
    return found


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (3, 11), (40, 40), (200, 150), (5, 900)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    expected = stats.binomtest(b, b + c).pvalue if b + c else 1.0
    assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize(
    ("b", "c", "n", "delta"),
    [(12, 5, 100, 0.1), (3, 0, 40, 0.05), (30, 31, 500, -0.02), (0, 7, 60, 0.01), (9, 2, 50, 0.3)],
)
def test_the_score_statistic_by_maximum_likelihood(b: int, c: int, n: int, delta: float) -> None:
    """Tango's closed form against the likelihood maximised numerically."""

    def negative(q: float) -> float:
        p = (q + delta, q, 1 - 2 * q - delta)
        return -sum(k * math.log(x) for k, x in zip((b, c, n - b - c), p, strict=True) if k)

    low, high = max(0.0, -delta), (1 - delta) / 2
    q = optimize.minimize_scalar(
        negative, bounds=(low + 1e-12, high - 1e-12), method="bounded", options={"xatol": 1e-12}
    ).x
    z = (b - c - n * delta) / math.sqrt(n * (2 * q + delta * (1 - delta)))
    assert tango_z(b, c, n, delta) == pytest.approx(z, rel=1e-4)


def test_a_published_interval() -> None:
    """Airway hyper-responsiveness before and after transplantation, two-sided 95 %.

    Fagerland, Lydersen & Laake, Statistical Analysis of Contingency Tables, 2017, chapter 8.
    """
    found = paired_proportions(1, 7, 21, 0.1, 0.975)
    assert (found.lower, found.upper) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_bounds_and_verdict_say_the_same() -> None:
    rng = np.random.default_rng(3)
    seen = set()
    for _ in range(300):
        n = int(rng.integers(20, 3000))
        b, c = (int(v) for v in rng.integers(0, n // 5, 2))
        margin = float(rng.uniform(0.001, 0.1))
        found = paired_proportions(b, c, n, margin, 0.95)
        assert found.lower <= found.loss <= found.upper
        expected = (
            "sufficient"
            if found.upper < margin
            else "inferior"
            if found.lower > margin
            else "insufficient evidence"
        )
        assert found.proof == expected
        seen.add(found.proof)
    assert len(seen) == 3


def test_as_many_samples_as_promised_decide() -> None:
    found = paired_proportions(30, 28, 1000, 0.01, 0.95)
    assert found.proof == "insufficient evidence" and found.needed is not None
    k = found.needed / 1000
    assert round(30 * k) == pytest.approx(30 * k, abs=0.5)
    wanted = stats.norm.ppf(0.95)
    assert abs(tango_z(30 * k, 28 * k, 1000 * k, 0.01)) >= wanted - 1e-6  # type: ignore[arg-type]
    less = (found.needed - 5) / 1000
    assert abs(tango_z(30 * less, 28 * less, 1000 * less, 0.01)) < wanted  # type: ignore[arg-type]


def test_a_true_loss_of_the_margin_is_called_sufficient_as_seldom_as_promised() -> None:
    """5 % of the time at 95 % confidence, by simulation at the boundary."""
    rng = np.random.default_rng(7)
    n, margin, runs = 2000, 0.02, 4000
    draws = rng.multinomial(n, [0.05 + margin, 0.05, 0.9 - margin], runs)
    z = [tango_z(int(b), int(c), n, margin) for b, c, _ in draws]
    assert np.mean(np.array(z) <= -stats.norm.ppf(0.95)) == pytest.approx(0.05, abs=0.012)


@pytest.mark.parametrize("margin", [0.0, 0.01])
def test_a_model_loses_nothing_against_itself(margin: float) -> None:
    same = evaluation("a", correct=(1, 0, 1))
    found = proven(compare(same, same, margin, name="a"))
    assert (found.proof, found.upper) == ("sufficient", 0.0)
    assert words(found, "accuracy") == "the reference itself: loses no accuracy"


def test_words() -> None:
    r = np.random.default_rng(0).random(2000)
    reference = evaluation("a", correct=tuple(int(v < 0.9) for v in r))
    for shift, start in (
        (0.0, "accuracy loss +0.0000 against best, at most 0.0014 with 95 % confidence: below"),
        (0.2, "accuracy loss +0.2"),
        (0.012, "accuracy loss +0.01"),
    ):
        other = evaluation("b", correct=tuple(int(v < 0.9 - shift) for v in r))
        assert words(proven(compare(reference, other, 0.013, name="best")), "accuracy").startswith(
            start
        )
    assert "samples would decide" in words(
        proven(compare(reference, other, 0.013, name="best")), "accuracy"
    )


def test_what_cannot_be_compared_says_why() -> None:
    kept, other = evaluation("a", correct=(1, 0)), evaluation("b", correct=(1, 1))
    elsewhere = Evaluation("c", "other", "v", "aot", "accuracy", 0.5, 2, correct=(1, 1))
    bare = Evaluation("d", "data", "v", "aot", "accuracy", 0.5, 2)
    assert compare(kept, elsewhere, 0.1, name="x") == "evaluated on other data than x"
    assert compare(kept, bare, 0.1) == "the results of single samples were not kept"
    assert isinstance(compare(kept, other, 0.1), Evidence)
    with pytest.raises(UsageError, match="a confidence of 95"):
        compare(kept, other, 0.1, 95)


# ---------------------------------------------------------------- bootstrap
def test_the_bootstrap_of_rmse_covers_the_truth() -> None:
    """The upper bound of the loss is below the true loss about 5 % of the time."""
    rng = np.random.default_rng(1)
    below = 0
    for _ in range(200):
        error = rng.normal(0, 1, 200)
        worse = 1.1 * error + rng.normal(0, 0.2, 200)
        a, b = (
            evaluation(m, "rmse", metrics.rmse(e, 0 * e), per_sample={"squared_error": tuple(e**2)})
            for m, e in (("a", error), ("b", worse))
        )
        found = resampled_losses(a, b, 200)
        assert found is not None
        below += np.quantile(found, 0.95) < math.sqrt(1.1**2 + 0.2**2) - 1
    assert 2 <= below <= 24


def test_resampled_auc_is_the_auc_of_the_resample() -> None:
    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 60)
    scores = [np.round(label + rng.normal(0, s, 60), 1) for s in (0.5, 1.0)]
    a, b = (
        evaluation(
            m, "auc", metrics.auc(s, label), per_sample={"score": tuple(s), "label": tuple(label)}
        )
        for m, s in zip("ab", scores, strict=True)
    )
    found = resampled_losses(a, b, 400)
    assert found is not None
    assert found.mean() == pytest.approx(a.value - b.value, abs=0.01)
    verdict = proven(compare(a, b, 0.5, name="a"))
    assert verdict.proof == "sufficient" and verdict.lower < verdict.loss < verdict.upper
    assert compare(a, b, 0.5, name="a") == verdict
