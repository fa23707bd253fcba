"""Constants in the order in which kernels read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def padded(array: np.ndarray, multiple: int, axis: int = 0) -> np.ndarray:
    """Zeros behind an axis, up to a multiple."""
    missing = -array.shape[axis] % multiple
    widths = [(0, missing if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths)


def pairs(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Words, as int32, of two halfwords each. Values must fit int16."""
    wide = (high.astype(np.int64) << 16) | (low.astype(np.int64) & 0xFFFF)
    return wide.astype(np.uint32).view(np.int32)


def input_pairs(weights: np.ndarray) -> np.ndarray:
    """[channels][depth] to [channels][depth / 4][2] words (k0, k2), (k1, k3): SXTB16's order."""
    groups = weights.reshape(weights.shape[0], -1, 4)
    return pairs(groups[:, :, :2], groups[:, :, 2:])


def bytes_in_words(weights: np.ndarray) -> np.ndarray:
    """[channels][depth] int8 to [channels][depth / 4][1] words, the first weight lowest."""
    return np.ascontiguousarray(weights, np.int8).view("<i4")[:, :, np.newaxis]


def join_two(weights: np.ndarray) -> np.ndarray | None:
    """256 * w1 + w0 of each two neighbouring channels; None where it exceeds int16."""
    joined = 256 * weights[1::2].astype(np.int64) + weights[0::2]
    if joined.min(initial=0) < -(2**15) or joined.max(initial=0) >= 2**15:
        return None
    return joined


def bytes_of_words(values: np.ndarray) -> np.ndarray:
    """[blocks][n <= 4] small numbers to a word a block, the first in the lowest byte."""
    shifts = 8 * np.arange(values.shape[1])
    return (values.astype(np.int64) << shifts).sum(axis=1).astype(np.uint32).view(np.int32)


def aside_bytes(product: Mapping[str, Any]) -> int:
    """Bytes for a pixel's outputs where channels are padded: they are made aside, then copied."""
    padded_channels = int(product["padded_channels"])
    return padded_channels if padded_channels != product["channels"] else 0
