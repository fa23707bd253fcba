"""How an activation gets its range."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.pipeline.convert.ranges import narrowed

counts = st.lists(st.integers(0, 10_000), min_size=8, max_size=200).filter(any)
ends = st.tuples(st.floats(-1e3, 0), st.floats(1e-3, 1e3))


@given(counts, ends, st.sampled_from(["percentile", "mse"]), st.floats(90, 100))
@settings(max_examples=60, deadline=None)
def test_a_range_only_narrows(
    histogram: list[int], ends: tuple[float, float], method: str, percentile: float
) -> None:
    low, high = ends
    found = narrowed(np.array(histogram), low, high, method, percentile)
    slack = 1e-9 * (high - low)
    assert low - slack <= found[0] <= found[1] <= high + slack
    assert low != 0 or found[0] == 0


def test_percentile_leaves_out_what_is_rare() -> None:
    histogram = np.zeros(100, np.int64)
    histogram[:50] = 1000
    histogram[99] = 1
    low, high = narrowed(histogram, 0.0, 100.0, "percentile", 99.9)
    assert low == 0.0 and high == pytest.approx(50, abs=0.1)
    assert narrowed(histogram, 0.0, 100.0, "percentile", 100.0) == (0.0, 100.0)


def test_least_error_clips_an_outlier_but_no_even_spread() -> None:
    rare = np.zeros(2048, np.int64)
    rare[:200] = 1_000_000
    rare[-1] = 1
    assert narrowed(rare, 0.0, 1.0, "mse", 100)[1] < 0.5
    assert narrowed(np.full(2048, 10), 0.0, 1.0, "mse", 100)[1] > 0.95
