"""Tables of functions that the kernels look up, computed as the reference computes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinydeploy.compiler.fixedpoint import (
    Factor,
    apply,
    input_radius,
    multiply_high,
    round_shift,
)


def logistic_table_s16() -> np.ndarray:
    """sigmoid(i / 24) in Q0.16 for i in [0, 256), uint16.

    Entries are moved by half the error that a straight line makes in the middle between two, which
    halves the largest error. The last is 1: behind it the function is constant.
    """
    i = np.arange(256)
    sigmoid = [65536 / (1 + np.exp(-(i + d) / 24.0)) for d in (0.0, 0.5, 1.0)]
    error = sigmoid[1] - (sigmoid[0] + sigmoid[2]) / 2
    table = np.rint(sigmoid[0] + error / 2)
    table[255] = 65535
    return table.astype(np.uint16)


def exp_table_s16() -> np.ndarray:
    """exp(x) in Q0.15 over x in [-10, 0], 513 x int16."""
    return _interpolation_table(np.float32(10.0) / np.float32(65535), 32767, np.exp)


def reciprocal_table_s16() -> np.ndarray:
    """1 / (1 + x) in Q0.15 over x in [0, 1], 513 x int16."""
    return _interpolation_table(
        np.float32(1.0) / np.float32(65535), -32768, lambda x: np.float32(1) / (np.float32(1) + x)
    )


def _interpolation_table(
    scale: np.float32, zero: int, function: Callable[[np.float32], np.float32]
) -> np.ndarray:
    """A function of scale * (q - zero) for int16 q, at every 128th q, for linear interpolation.

    Single precision, operation by operation as TFLite's LUTPopulate. Entries are moved by half the
    error in the middle of their interval.
    """
    f32 = np.float32
    low, high = scale * f32(-32768 - zero), scale * f32(32767 - zero)
    step = (high - low) / f32(512)
    out_scale = f32(2.0) / f32(65535)
    inverse = f32(65536) / (out_scale * f32(32767) - out_scale * f32(-32768))

    def sample(x: np.float32) -> np.float32:
        return f32(function(np.float64(x))) if function is np.exp else f32(function(x))

    def rounded(x: np.float32) -> np.float32:
        return f32(math.copysign(math.floor(abs(float(x)) + 0.5), x))

    table = np.empty(513, np.int16)
    for i in range(512):
        x = low + f32(i) * step
        here, middle = sample(x), sample(x + step / f32(2))
        following = sample(low + f32(i + 1) * step)
        value = rounded(here * inverse)
        line = rounded((following * inverse + value) / f32(2))
        error = rounded((line - rounded(middle * inverse)) / f32(2))
        table[i] = np.clip(value - error, -32768, 32767)
    table[512] = np.clip(rounded(sample(high) * inverse), -32768, 32767)
    return table


def logistic_table_s8(scale: float, zero_point: int) -> np.ndarray:
    """LOGISTIC of every int8, 256 x int8: the reference's fixed-point computation, tabulated.

    The output has scale 1/256 and zero point -128.
    """
    fraction, shift = math.frexp(scale * 2**27)
    multiplier = math.floor(fraction * 2**31 + 0.5)
    radius = input_radius(4, shift)
    table = np.empty(256, np.int8)
    for q in range(-128, 128):
        x = q - zero_point
        if x <= -radius:
            table[q + 128] = -128
        elif x >= radius:
            table[q + 128] = 127
        else:
            y = round_shift(_logistic_q4(apply(x, Factor(multiplier, shift))), 31 - 8)
            table[q + 128] = min(max(y - 128, -128), 127)
    return table


def _logistic_q4(a: int) -> int:
    """1 / (1 + exp(-a)) for a in Q4.27, in Q0.31 (gemmlowp's fixed-point routine)."""
    one = 2**31 - 1
    if a == 0:
        return 1 << 30
    positive = _reciprocal_of_one_plus(_exp_negative(-abs(a), 4))
    return positive if a > 0 else one - positive


def _exp_negative(a: int, integer_bits: int) -> int:
    """exp(a) for a <= 0 with `integer_bits`, in Q0.31."""
    if a == 0:
        return 2**31 - 1
    fractional_bits = 31 - integer_bits
    quarter = 1 << (fractional_bits - 2)
    small = (a & (quarter - 1)) - quarter
    multiple = small - a
    result = _exp_small(small << integer_bits)
    factors = {
        -2: 1672461947,
        -1: 1302514674,
        0: 790015084,
        1: 290630308,
        2: 39332535,
        3: 720401,
        4: 242,
    }
    for exponent, factor in factors.items():
        if integer_bits > exponent and multiple & (1 << (fractional_bits + exponent)):
            result = multiply_high(result, factor)
    return result


def _exp_small(a: int) -> int:
    """exp(a) for a in [-1/4, 0) in Q0.31: Taylor's series around -1/8."""
    exp_minus_eighth, third = 1895147668, 715827883
    x = a + (1 << 28)
    x2 = multiply_high(x, x)
    x3 = multiply_high(x2, x)
    x4 = multiply_high(x2, x2)
    tail = multiply_high(round_shift(x4, 2) + x3, third) + x2
    return exp_minus_eighth + multiply_high(exp_minus_eighth, x + round_shift(tail, 1))


def tanh_q4(a: int) -> int:
    """tanh(a) for a in Q4.27, in Q0.31 (gemmlowp's fixed-point routine)."""
    if a == 0:
        return 0
    # (1 - e) / (1 + e) = 2 / (1 + e) - 1 with e = exp(-2 |a|); doubling is a matter of reading.
    reciprocal = _half_reciprocal_of_one_plus(_exp_negative(-abs(a), 5))
    positive = _saturate((reciprocal - (1 << 29)) << 2)
    return positive if a > 0 else -positive


def _reciprocal_of_one_plus(a: int) -> int:
    """1 / (1 + a) for a in [0, 1] in Q0.31."""
    return _saturate(_half_reciprocal_of_one_plus(a) << 1)


def _half_reciprocal_of_one_plus(a: int) -> int:
    """2 / (1 + a) for a in [0, 1] in Q2.29: three steps of Newton and Raphson's division."""
    half = (a + 2**31) // 2
    x = 1515870810 + multiply_high(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - multiply_high(half, x)
        x += _saturate(multiply_high(x, error) << 2)
    return x


def _saturate(x: int) -> int:
    return min(max(x, -(2**31)), 2**31 - 1)
