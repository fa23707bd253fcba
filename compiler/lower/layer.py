"""A portable int8 call with weights, as arrays by channel: what packing for other kernels needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydeploy.compiler.program import Call

_GROUP = 4  # see struct td_matmul_s8


@dataclass(frozen=True)
class Layer:
    """A layer without the layout of one kernel.

    `weights` is [channels][depth], of a depthwise layer [channels][k_h * k_w]. `bias` holds the
    zero point's share already. An accumulator becomes
    ``clip(round_shift(multiply_high(acc, multiplier), right) + out_zero, out_min, out_max)``;
    `right` is negative where the factor is above 1 (see fixedpoint.py).
    """

    weights: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    right: np.ndarray
    in_zero: int
    out_zero: int
    out_min: int
    out_max: int
    window: Mapping[str, int]
    rows: int

    @property
    def channels(self) -> int:
        """Output channels."""
        return int(self.weights.shape[0])

    @property
    def depth(self) -> int:
        """Products of an output."""
        return int(self.weights.shape[1])

    def largest_sum(self) -> np.ndarray:
        """A bound of |accumulator| at every step of the summation, by channel, int64."""
        wide = np.abs(self.weights.astype(np.int64)).sum(axis=1)
        return np.abs(self.bias.astype(np.int64)) + 128 * wide


def read_matmul(call: Call) -> Layer:
    """The layer of a td_matmul_s8 call."""
    return _product(call.params, {}, 0)


def read_conv(call: Call) -> Layer:
    """The layer of a td_conv_s8 call; `weights` is [channels][k_h * k_w * in_c]."""
    return _product(call.params["product"], call.params["window"], call.params["in_zero"])


def read_depthwise(call: Call) -> Layer:
    """The layer of a td_depthwise_s8 call."""
    p = call.params
    w = p["window"]
    rows = w["batches"] * w["out_h"] * w["out_w"]
    return _layer(p, np.ascontiguousarray(p["weights"].array.T), w, p["in_zero"], rows)


def _product(p: Mapping[str, Any], window: Mapping[str, int], in_zero: int) -> Layer:
    channels, depth = p["channels"], p["depth"]
    flat = p["weights"].array
    whole = channels // _GROUP * _GROUP
    grouped = flat[: whole * depth].reshape(-1, depth, _GROUP).transpose(0, 2, 1)
    weights = np.concatenate([grouped.reshape(-1), flat[whole * depth :]])
    return _layer(p, weights.reshape(channels, depth), window, in_zero, p["rows"])


def _layer(
    p: Mapping[str, Any], weights: np.ndarray, window: Mapping[str, int], in_zero: int, rows: int
) -> Layer:
    scale = p["scale"]
    channels = np.arange(weights.shape[0]) & scale["channel_mask"]
    return Layer(
        weights=weights,
        bias=p["bias"].array,
        multiplier=scale["multiplier"].array[channels],
        right=scale["down"].array[channels].astype(np.int32) + 1,
        in_zero=in_zero,
        out_zero=scale["out_zero"],
        out_min=scale["out_min"],
        out_max=scale["out_max"],
        window=window,
        rows=rows,
    )
