"""Metrics against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinydeploy.errors import UsageError
from tinydeploy.pipeline import metrics
from tinydeploy.types import HIGHER_IS_BETTER


def test_equal_maxima_go_to_the_lowest_index() -> None:
    scores = np.array([[5, 5, 1], [5, 5, 1], [0, 3, 3], [0, 3, 3]], np.int8)
    assert metrics.correct(scores, np.array([0, 1, 1, 2])).tolist() == [True, False, True, False]


def test_rmse_and_mae() -> None:
    predicted, target = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 0.0], [0.0, 4.0]])
    assert metrics.rmse(predicted, target) == pytest.approx(np.sqrt((4 + 9) / 4))
    assert metrics.mae(predicted, target) == pytest.approx((2 + 3) / 4)


def test_integers_do_not_wrap_around() -> None:
    assert metrics.mae(np.array([-128], np.int8), np.array([127], np.int8)) == 255


@pytest.mark.parametrize(
    ("scores", "labels", "expected"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        # pairs (positive, negative): 0.35 > 0.1, 0.35 < 0.4, 0.8 > both
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
        # 2 ties with one negative, beats one; 3 beats both: (0.5 + 1 + 2) / 4
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),
        ([7, 7, 7], [0, 1, 0], 0.5),
    ],
)
def test_auc(scores: list[float], labels: list[int], expected: float) -> None:
    assert metrics.auc(np.array(scores), np.array(labels)) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_auc_is_the_share_of_pairs_in_order(samples: list[tuple[int, bool]]) -> None:
    positive = [s for s, label in samples if label]
    negative = [s for s, label in samples if not label]
    scores = np.array([s for s, _ in samples])
    labels = np.array([int(label) for _, label in samples])
    if not positive or not negative:
        with pytest.raises(UsageError, match="both labels"):
            metrics.auc(scores, labels)
        return
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    assert metrics.auc(scores, labels) == pytest.approx(sum(pairs) / len(pairs))


def test_each_task_knows_its_metrics() -> None:
    assert metrics.metric_of("regress") == "rmse"
    assert metrics.metric_of("regress", "mae") == "mae"
    with pytest.raises(UsageError, match="no metric of the task") as caught:
        metrics.metric_of("classify", "auc")
    assert "accuracy" in caught.value.hint
    known = {name for names in metrics.TASK_METRICS.values() for name in names}
    assert known == set(HIGHER_IS_BETTER)
