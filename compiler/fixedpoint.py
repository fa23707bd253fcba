"""Fixed-point numbers as TFLite-Micro computes them; done at compile time, exactly.

A real factor f becomes ``multiplier * 2**(shift - 31)`` with multiplier in [2**30, 2**31). The
kernels store ``down = -1 - shift`` instead of the shift (see td_fixedpoint.h).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

MAX_LEFT_SHIFT = 30


@dataclass(frozen=True)
class Factor:
    """A quantized factor. `down` is what kernels take."""

    multiplier: int
    shift: int

    @property
    def down(self) -> int:
        """One less than the right shift, or -1 - the left shift."""
        return -1 - self.shift


def quantize_factor(real: float) -> Factor:
    """The nearest fixed-point number. Factors below 2**-32 become 0.

    Raises ValueError for negative factors and for ones too large for 32-bit arithmetic.
    """
    if not 0 <= real < math.inf:
        raise ValueError(f"the factor {real} is not a finite positive number")
    if real == 0:
        return Factor(0, 0)
    fraction, shift = math.frexp(real)
    # Scaling by 2**31 is exact, so halves are found exactly; ties go away from zero.
    multiplier = math.floor(fraction * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier //= 2
        shift += 1
    if shift < -31:
        return Factor(0, 0)
    if shift > MAX_LEFT_SHIFT:
        raise ValueError(f"the factor {real:g} is too large for 32-bit arithmetic")
    return Factor(multiplier, shift)


def multiply_high(a: int, b: int) -> int:
    """round(a * b / 2**31), ties up: the saturating rounding doubling high multiplication."""
    return (a * b + (1 << 30)) >> 31


def round_shift(x: int, bits: int) -> int:
    """x / 2**bits, rounded to the nearest, ties away from zero."""
    if bits == 0:
        return x
    return (x + (1 << (bits - 1)) - (x < 0)) >> bits


def apply(x: int, factor: Factor) -> int:
    """x times a factor with the two roundings of the reference."""
    left = max(factor.shift, 0)
    return round_shift(multiply_high(x << left, factor.multiplier), max(-factor.shift, 0))


def round_half_away(x: float) -> int:
    """C's round(): the nearest integer, ties away from zero."""
    return int(math.copysign(math.floor(abs(x) + 0.5), x))


def float32_ratio(a: float, b: float) -> float:
    """a / b in single precision, as the reference divides scales in some places."""
    return float(np.float32(a) / np.float32(b))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Largest input whose scaled value still fits `integer_bits` (TFLite: CalculateInputRadius)."""
    return math.floor(((1 << integer_bits) - 1) * 2 ** (31 - integer_bits) / 2**left_shift)


def logistic_table(scale: float, zero_point: int) -> np.ndarray:
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


def _reciprocal_of_one_plus(a: int) -> int:
    """1 / (1 + a) for a in [0, 1] in Q0.31: three steps of Newton and Raphson's division."""
    half = (a + 2**31) // 2
    x = 1515870810 + multiply_high(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - multiply_high(half, x)
        x += _saturate(multiply_high(x, error) << 2)
    return _saturate(x << 1)


def _saturate(x: int) -> int:
    return min(max(x, -(2**31)), 2**31 - 1)
