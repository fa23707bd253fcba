"""How accumulators become outputs: biases, factors and clamps of the layers with weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinydeploy.compiler.fixedpoint import Factor
from tinydeploy.compiler.lower.context import (
    Context,
    Refused,
    activation_limits,
    activation_range,
    factor,
    scale_of,
    zero_of,
)
from tinydeploy.compiler.program import Data
from tinydeploy.graph import Op

_GROUP = 4


def bias_and_scale(op: Op, ctx: Context, dtype: str, weights: np.ndarray) -> dict[str, Any]:
    """Initializers behind `weights` of a kernel's struct; `weights` is [channels][the rest]."""
    bias = _bias(op, ctx, weights.shape[0])
    activation = op.options["fused_activation_function"]
    if dtype == "float32":
        low, high = activation_limits(activation)
        return {
            "bias": Data("weights", bias.astype(np.float32)),
            "out_min": low,
            "out_max": high,
        }
    if any(ctx.input(op, 1).zero_points):
        raise Refused("its weights have a zero point other than 0")
    factors = _factors(op, ctx, weights.shape[0])
    output = ctx.tensor(op.outputs[0])
    low_q, high_q = activation_range(activation, output)
    if dtype == "int16":
        zero_of(ctx.input(op, 0))
        if len(op.inputs) > 2 and op.inputs[2] >= 0 and ctx.input(op, 2).dtype != "int64":
            raise Refused("its biases are not int64, as int16 activations need")
        return {
            "bias": Data("weights", bias.astype(np.int64)),
            "scale": {**_scale_s16(factors, weights.shape[0]), "out_min": low_q, "out_max": high_q},
        }
    zero = zero_of(ctx.input(op, 0))
    return {
        "bias": Data("tables", _corrected(bias, weights, zero)),
        "scale": {
            "multiplier": Data("tables", np.array([f.multiplier for f in factors], np.int32)),
            "down": Data("tables", np.array([f.down for f in factors], np.int8)),
            "channel_mask": _mask(factors, weights.shape[0]),
            "out_zero": zero_of(output),
            "out_min": low_q,
            "out_max": high_q,
        },
    }


def _bias(op: Op, ctx: Context, channels: int) -> np.ndarray:
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return np.zeros(channels, np.int64)
    bias = ctx.constant_input(op, 2, "biases").reshape(-1)
    if bias.shape != (channels,):
        raise Refused(f"it has {bias.size} biases for {channels} channels")
    return bias


def _corrected(bias: np.ndarray, weights: np.ndarray, zero: int) -> np.ndarray:
    """bias - zero * sum of weights, so that kernels multiply raw inputs.

    Accumulators wrap at 32 bits in the reference too; a model whose sums reach that far is refused.
    """
    wide = weights.astype(np.int64)
    corrected = bias.astype(np.int64) - zero * wide.sum(axis=1)
    largest = np.abs(corrected) + 128 * np.abs(wide).sum(axis=1)
    if largest.size and largest.max() >= 2**31:
        raise Refused("its sums can exceed 32 bits")
    return corrected.astype(np.int32)


def _factors(op: Op, ctx: Context, channels: int) -> list[Factor]:
    """Factors from the accumulator's scale to the output's: one, or one a channel.

    The reference multiplies the two scales in single precision for a FULLY_CONNECTED layer with
    one scale, and in double precision everywhere else.
    """
    given, filters, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if len(filters.scales) not in (1, channels):
        raise Refused("its weights are not quantized per tensor or per channel")
    if op.name == "FULLY_CONNECTED" and len(filters.scales) == 1:
        product = float(np.float32(scale_of(given)) * np.float32(filters.scales[0]))
        factors = [factor(product / scale_of(output))]
    else:
        factors = [factor(scale_of(given) * s / scale_of(output)) for s in filters.scales]
    # Kernels take four channels at a time and read four entries, of a single factor its copies.
    return factors * _GROUP if len(filters.scales) == 1 else factors


def _scale_s16(factors: list[Factor], channels: int) -> dict[str, Any]:
    """Factors rounded to 16 bits, as the reference does for 64-bit accumulators."""
    short = [
        (f.multiplier + (1 << 15)) >> 16 if f.multiplier < 0x7FFF0000 else 0x7FFF for f in factors
    ]
    right = [15 - f.shift for f in factors]
    if min(right) < 8:
        raise Refused("its factor is too large for int16 outputs")
    return {
        "multiplier": Data("tables", np.array(short, np.int16)),
        "right": Data("tables", np.array(right, np.uint8)),
        "channel_mask": _mask(factors, channels),
    }


def _mask(factors: list[Factor], channels: int) -> int:
    return 0xFFFF if len(factors) == channels else _GROUP - 1
