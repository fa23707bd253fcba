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
    """a / b in single precision, as the reference divides scales in some places; may be inf."""
    with np.errstate(over="ignore"):
        return float(np.float32(a) / np.float32(b))


def input_radius(integer_bits: int, left_shift: int) -> int:
    """Largest input whose scaled value still fits `integer_bits` (TFLite: CalculateInputRadius)."""
    return math.floor(((1 << integer_bits) - 1) * 2 ** (31 - integer_bits) / 2**left_shift)
