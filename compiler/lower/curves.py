"""Functions of one int8 as tables of 256: each computes what the reference's kernel computes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydeploy.compiler.fixedpoint import (
    Factor,
    apply,
    input_radius,
    multiply_high,
    round_half_away,
    round_shift,
)
from tinydeploy.compiler.lower.context import Refused, factor, scale_of, zero_of
from tinydeploy.compiler.lower.tables import tanh_q4
from tinydeploy.graph import Tensor


def tabulate(function: Callable[[int], int]) -> np.ndarray:
    """Values at -128 to 127, clipped to int8."""
    values = [min(max(function(q), -128), 127) for q in range(-128, 128)]
    return np.array(values, np.int8)


def tanh_table(given: Tensor, output: Tensor) -> np.ndarray:
    """TANH; the reference takes an output of scale 1/128 and zero point 0 for granted."""
    zero = zero_of(given)
    if zero_of(output) != 0 or not math.isclose(scale_of(output), 1 / 128, rel_tol=1e-3):
        raise Refused("its output's scale and zero point are not 1/128 and 0")
    fraction, shift = math.frexp(scale_of(given) * 2**27)
    exact = Factor(math.floor(fraction * 2**31 + 0.5), shift)
    radius = input_radius(4, shift)

    def value(q: int) -> int:
        x = q - zero
        if abs(x) >= radius:
            return 127 if x > 0 else -128
        return round_shift(tanh_q4(apply(x, exact)), 31 - 7)

    return tabulate(value)


def leaky_relu_table(given: Tensor, output: Tensor, alpha: float) -> np.ndarray:
    """LEAKY_RELU with a slope, which may be negative."""
    in_zero, out_zero = zero_of(given), zero_of(output)
    identity, slope, sign = leaky_factors(given, output, alpha)

    def value(q: int) -> int:
        x = q - in_zero
        return out_zero + (apply(x, identity) if x >= 0 else sign * apply(x, slope))

    return tabulate(value)


def leaky_factors(given: Tensor, output: Tensor, alpha: float) -> tuple[Factor, Factor, int]:
    """Factors of positive and negative inputs, and the sign of the second."""
    slope = scale_of(given) * alpha / scale_of(output)
    identity = scale_of(given) / scale_of(output)
    return factor(identity), factor(abs(slope)), -1 if slope < 0 else 1


def elu_table(given: Tensor, output: Tensor) -> np.ndarray:
    """ELU: in single precision, like all functions that the reference tabulates itself."""
    f32 = np.float32
    inverse = f32(1) / f32(scale_of(output))
    in_scale, in_zero, out_zero = f32(scale_of(given)), zero_of(given), zero_of(output)

    def value(q: int) -> int:
        x = in_scale * f32(q - in_zero)
        y = f32(np.exp(np.float64(x))) - f32(1) if x < 0 else x
        return int(np.clip(round_half_away(float(y * inverse)) + out_zero, -128, 127))

    return tabulate(value)


def abs_table(given: Tensor, output: Tensor) -> np.ndarray:
    """ABS, with another scale of the output if it has one."""
    in_zero, out_zero = zero_of(given), zero_of(output)
    if scale_of(given) == scale_of(output):
        return tabulate(lambda q: abs(q - in_zero) + out_zero)
    exact = factor(scale_of(given) / scale_of(output))
    return tabulate(lambda q: apply(abs(q - in_zero), exact) + out_zero)


def hard_swish_table(given: Tensor, output: Tensor) -> np.ndarray:
    """HARD_SWISH in 16 bits: x on the output's scale times relu6(x + 3) / 6."""
    f32 = np.float32
    in_zero, out_zero = zero_of(given), zero_of(output)
    fine = f32(1 / 128) * f32(scale_of(given))
    to_output = factor(float(fine / f32(scale_of(output))))
    to_relu = factor(float(fine / (f32(3.0) / f32(32768.0))))
    if to_output.shift > 0:
        raise Refused("its output's scale is too small, as for TFLite-Micro")

    def value(q: int) -> int:
        x = (q - in_zero) * 128
        on_output = _high16(x, _short(to_output))
        relu = x
        if to_relu.shift > 0:
            relu = _saturate16(relu << (to_relu.shift - 1))
        relu = _high16(relu, _short(to_relu))
        if to_relu.shift > 0:
            relu = _saturate16(relu << 1)
        elif to_relu.shift < 0:
            relu = round_shift(relu, -to_relu.shift)
        relu = (relu + (1 << 15)) >> 1
        product = relu * on_output
        high = abs(product) >> 15
        return round_shift(-high if product < 0 else high, -to_output.shift) + out_zero

    return tabulate(value)


def rsqrt_table(given: Tensor, output: Tensor) -> np.ndarray:
    """RSQRT of positive inputs; below its zero point the reference stops, here it saturates."""
    in_zero, out_zero = zero_of(given), zero_of(output)
    root = np.sqrt(np.float32(scale_of(given)))
    exact = factor(1.0 / float(root * np.float32(scale_of(output))))
    kept_bits = 20

    def value(q: int) -> int:
        x = q - in_zero
        if x <= 0:
            return 127
        inverse = inverse_root(x)
        fine = apply(1, Factor(inverse.multiplier, inverse.shift + kept_bits))
        return apply(fine, Factor(exact.multiplier, exact.shift - kept_bits)) + out_zero

    return tabulate(value)


def inverse_root(x: int) -> Factor:
    """1 / sqrt(x) by five of Newton's steps in Q3.28, as the reference (of 0 it is that of 1)."""
    if x <= 1:
        return Factor(2**31 - 1, 0)
    shift = 11
    while x >= 1 << 29:
        x //= 4
        shift += 1
    pairs = (31 - x.bit_length()) // 2 - 1
    shift -= pairs
    x <<= 2 * pairs
    value = x >> 1
    half, half_three = (value + 1) >> 1, (1 << 28) + (1 << 27)
    y = 1 << 28
    for _ in range(5):
        cube = multiply_high(multiply_high(y, y), y) << 6  # Q9 to Q3
        y = (multiply_high(half_three, y) - multiply_high(half, cube)) << 3  # Q6 to Q3
    multiplier = multiply_high(y, 1518500250)
    if shift < 0:
        multiplier, shift = multiplier << -shift, 0
    return Factor(multiplier, -shift)


def _short(exact: Factor) -> int:
    """A multiplier rounded to 16 bits."""
    return (
        32767 if exact.multiplier >= 2**31 - 1 - (1 << 15) else (exact.multiplier + (1 << 15)) >> 16
    )


def _high16(a: int, b: int) -> int:
    """round(a * b / 2**15), ties up."""
    return (a * b + (1 << 14)) >> 15


def _saturate16(x: int) -> int:
    return min(max(x, -32768), 32767)


def log_softmax_factors(scale: float) -> dict[str, int]:
    """Factors of struct td_log_softmax_s8: to Q5.26, and back."""
    scaled = min(scale * 2**26, 2.0**31 - 1)
    if not scaled > 1:
        raise Refused("its input's scale is too small")
    exact = factor(scaled)
    inverse = factor(2.0 ** (31 - exact.shift) / exact.multiplier)
    return {
        "multiplier": exact.multiplier,
        "inverse_multiplier": inverse.multiplier,
        "left_shift": exact.shift,
        "inverse_down": inverse.down,
        "diff_min": -input_radius(5, exact.shift),
    }
