"""The arithmetic inside the kernels against exact integers and double precision."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinydeploy.compiler.fixedpoint import Factor, apply, multiply_high, quantize_factor
from tinydeploy.compiler.native import CFLAGS, kernels_dir

SOURCE = """
#include "td_fixedpoint.h"
#include "td_float.h"
int32_t high(int32_t a, int32_t b) { return td_multiply_high(a, b); }
int32_t requantize(int32_t x, int32_t m, int32_t down) { return td_requantize(x, m, down); }
void exps(const float *in, float *out, int n) { while (n--) *out++ = td_expf(*in++); }
"""
INT32 = st.integers(-(2**31), 2**31 - 1)
MULTIPLIER = st.integers(2**30, 2**31 - 1)


@pytest.fixture(scope="module", params=[0, 1], ids=["64-bit products", "16-bit halves"])
def kernels(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ctypes.CDLL:
    """The headers' functions, with the multiplication of most cores and with the Cortex-M0's."""
    folder = tmp_path_factory.mktemp("kernels")
    (folder / "test.c").write_text(SOURCE)
    library = folder / "test.so"
    subprocess.run(
        [
            "cc",
            *(flag for flag in CFLAGS if "visibility" not in flag),
            f"-DTD_SHORT_MULTIPLY={request.param}",
            "-shared",
            f"-I{kernels_dir()}",
            str(folder / "test.c"),
            str(kernels_dir() / "td_float.c"),
            "-o",
            str(library),
        ],
        check=True,
    )
    return ctypes.CDLL(str(library))


@settings(max_examples=400, deadline=None)
@given(a=INT32, b=INT32)
@example(a=-(2**31), b=2**31 - 1)
@example(a=2**31 - 1, b=2**31 - 1)
@example(a=-1, b=2**30)
def test_multiply_high(kernels: ctypes.CDLL, a: int, b: int) -> None:
    if (a, b) != (
        -(2**31),
        -(2**31),
    ):  # saturates in the reference, never reached: factors are >= 0
        assert kernels.high(a, b) == multiply_high(a, b)


@settings(max_examples=400, deadline=None)
@given(x=INT32, multiplier=MULTIPLIER, shift=st.integers(-31, 0))
@example(x=2**31 - 1, multiplier=2**31 - 1, shift=-1)
@example(x=-(2**31), multiplier=2**31 - 1, shift=-31)
def test_right_shifts(kernels: ctypes.CDLL, x: int, multiplier: int, shift: int) -> None:
    factor = Factor(multiplier, shift)
    assert kernels.requantize(x, multiplier, factor.down) == apply(x, factor)


@settings(max_examples=200, deadline=None)
@given(multiplier=MULTIPLIER, shift=st.integers(1, 30), data=st.data())
def test_left_shifts(
    kernels: ctypes.CDLL, multiplier: int, shift: int, data: st.DataObject
) -> None:
    limit = (2**31 - 1) >> shift
    x = data.draw(st.integers(-limit, limit))
    factor = Factor(multiplier, shift)
    assert kernels.requantize(x, multiplier, factor.down) == apply(x, factor)


@settings(max_examples=200, deadline=None)
@given(st.floats(2.0**-31, 2.0**29), st.integers(-(2**20), 2**20))
def test_a_factor_is_the_real_number_to_one_unit(real: float, x: int) -> None:
    if abs(x * real) < 2**30:
        assert abs(apply(x, quantize_factor(real)) - x * real) <= 1 + abs(x * real) * 2**-30


@pytest.mark.parametrize("real", [-1.0, float("inf"), float("nan"), 2.0**40])
def test_factors_that_make_no_sense(real: float) -> None:
    with pytest.raises(ValueError, match="factor"):
        quantize_factor(real)


def test_exp_is_within_two_units_in_the_last_place(kernels: ctypes.CDLL) -> None:
    x = np.linspace(-87, 88.7, 300_001).astype(np.float32)
    y = np.empty_like(x)
    kernels.exps(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p), len(x))
    exact = np.exp(x.astype(np.float64))
    assert np.max(np.abs(y - exact) / np.spacing(exact.astype(np.float32))) <= 2


def test_exp_at_the_edges(kernels: ctypes.CDLL) -> None:
    x = np.array([0, -np.inf, np.inf, np.nan, 89, -100, -110], np.float32)
    y = np.empty_like(x)
    kernels.exps(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p), len(x))
    assert y[0] == 1
    assert y[1] == 0
    assert y[2] == np.inf
    assert np.isnan(y[3])
    assert y[4] == np.inf
    assert y[5] == pytest.approx(np.exp(-100.0), rel=0.05)  # subnormal: few bits are left
    assert y[6] == 0


def test_kernels_are_free_of_warnings(tmp_path: Path) -> None:
    sources = sorted(map(str, kernels_dir().glob("*.c")))
    strict = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
    subprocess.run(
        ["cc", "-std=c11", "-O2", "-ffp-contract=off", *strict, "-c", *sources],
        cwd=tmp_path,
        check=True,
    )
