"""Multipliers and shifts as the kernels with a 32 x 32 -> high 32 multiplication take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinydeploy.compiler.lower.layer import Layer


@dataclass(frozen=True)
class Requant:
    """By channel: the multiplier, and `down`, one less than the right shift; both as int32.

    `relu`: no output is below the zero point, so that sums below zero may be rounded either way.
    """

    multiplier: np.ndarray
    down: np.ndarray
    relu: bool


def requant(layer: Layer, spare_bits: int = 0) -> Requant | None:
    """What SMMLAR needs, or None where its 32 bits do not hold a sum or a constant.

    The kernels compute ``((2 * sum * multiplier + 2**31) >> 32) + C) >> (down + 1)`` with
    C = (2 * out_zero + 1) << down. A channel whose outputs are all the zero point (weights that
    training left near 0 give it a tiny factor) takes the multiplier 0 instead. Kernels that compute
    with larger multiples of the sums ask for as many `spare_bits`.
    """
    limit = 2 ** (31 - spare_bits)
    largest = layer.largest_sum()
    multiplier = layer.multiplier.astype(np.int64)
    right = layer.right.astype(np.int64)
    product = (largest * multiplier >> 31) + 1
    silent = product < np.int64(1) << np.clip(right - 1, 0, 40)
    multiplier = np.where(silent, 0, multiplier)
    down = np.where(silent, 0, right - 1)
    if (down < 0).any() or (down > 31).any() or (2 * largest >= limit).any():
        return None
    constant = abs(2 * layer.out_zero + 1) << down
    if (product + constant >= limit).any():
        return None
    return Requant(
        multiplier.astype(np.int32), down.astype(np.int32), layer.out_min >= layer.out_zero
    )
