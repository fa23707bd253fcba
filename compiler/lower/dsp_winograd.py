"""CONV_2D 3x3 by Winograd's F(4,3) with the DSP extension; see td_winograd_dsp.c."""

from __future__ import annotations

import numpy as np

from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv
from tinydeploy.compiler.lower.packing import input_pairs
from tinydeploy.compiler.lower.requant import Requant, requant
from tinydeploy.compiler.lower.variant import Candidate, Cost, by_kernel
from tinydeploy.compiler.program import Call, Data

SCALE = 24
TRANSFORM = np.array(
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], np.int64
)
"""Weights (g0, g1, g2) of a row to the six positions, 24-fold."""

BIASED = 1  # the position whose sum every output of a tile takes once
UNROLLED, STEP_BYTES = 12, 40  # of the loop over inputs
COLUMN_BYTES = 4608  # of scratch memory, where that is enough for more than one line
MOST_COLUMN_BYTES = 12_288
MOST_LINES = 4  # together: more save few transforms, and keep as many lines of the input alive

STEP = Cost(10, 18)
POSITION = Cost(16, 33)
ROUND = Cost(3, 6)
TWO_CHANNELS = Cost(205, 240)
TRANSFORMED = Cost(80, 102)  # four inputs of a row of a tile


def suits(target: Target) -> bool:
    """It pays for speed with four times the flash of int8 weights."""
    return target.dsp and not target.helium and target.optimize == "speed"


def make(call: Call) -> Candidate | None:
    """Stride 1, no dilation; sums must leave room for the factor 24."""
    layer = read_conv(call)
    w = layer.window
    square = (w["k_h"], w["k_w"], w["stride_h"], w["stride_w"]) == (3, 3, 1, 1)
    plain = w["dilation_h"] == w["dilation_w"] == 1
    if not (square and plain) or w["in_c"] % 4 or w["out_c"] % 2:
        return None
    scale = requant(layer)
    if scale is None or (SCALE * layer.largest_sum() >= 2**31).any():
        return None
    row_bytes = 4 * w["in_c"]
    tall = _tall(w["out_h"], row_bytes)
    position_bytes = (tall + 2) * row_bytes
    if 6 * position_bytes > MOST_COLUMN_BYTES:
        return None
    stream = _stream(layer, scale)
    steps = 3 * w["in_c"] // 4
    params = {
        "window": w,
        "in_zero": layer.in_zero,
        "out_min": layer.out_min,
        "out_max": layer.out_max,
        "tall": tall,
        "position_words": position_bytes // 4,
        "tiles": f"td_winograd_{'relu' if scale.relu else 'any'}_dsp",
        "block": {
            "stream": Data("weights", stream),
            "stream_bytes": stream.nbytes,
            "skip_bytes": -steps % UNROLLED * STEP_BYTES,
            "inputs_bytes": 3 * row_bytes,
            "gap_bytes": position_bytes - 3 * row_bytes,
            "out_step": w["out_c"],
            "zero_and_half": 2 * layer.out_zero + 1,
        },
    }
    scratch_bytes = 6 * position_bytes + 6 * w["in_c"] + 8 * w["out_c"]
    replaced = by_kernel(call, "td_winograd_s8_dsp", params, scratch_bytes)
    return Candidate(replaced, *_cost(layer, tall, steps), "int16 weights")


def _tall(lines: int, row_bytes: int) -> int:
    """Lines of outputs to make together: equal parts, as few as memory allows."""
    most = min(max(COLUMN_BYTES // (6 * row_bytes) - 2, 1), MOST_LINES)
    parts = -(-lines // most)
    return -(-lines // parts)


def transformed(layer: Layer) -> np.ndarray:
    """Weights as [channels][6 positions][3 rows * in_c], int64; they fit int16."""
    w = layer.window
    weights = layer.weights.astype(np.int64).reshape(layer.channels, 3, 3, w["in_c"])
    return np.einsum("jx,cyxi->cjyi", TRANSFORM, weights).reshape(layer.channels, 6, -1)


def _stream(layer: Layer, scale: Requant) -> np.ndarray:
    """[pairs of channels][words] as struct td_winograd_block_dsp says."""
    pairs = layer.channels // 2
    positions = transformed(layer).reshape(pairs * 2 * 6, -1)
    words = input_pairs(positions).reshape(pairs, 2, 6, -1, 2)
    words = words.transpose(0, 2, 3, 1, 4).reshape(pairs, 6, -1)
    first = np.zeros((pairs, 6, 2), np.int64)
    first[:, BIASED] = SCALE * layer.bias.astype(np.int64).reshape(pairs, 2)
    sums = np.concatenate([first.astype(np.int32), words], axis=2).reshape(pairs, -1)
    factors = np.stack([scale.multiplier, scale.down], axis=1).reshape(pairs, -1)
    return np.concatenate([sums, factors], axis=1)


def _cost(layer: Layer, tall: int, steps: int) -> Cost:
    w = layer.window
    position = STEP.times(steps).plus(POSITION).plus(ROUND.times((steps - 1) // UNROLLED))
    block = position.times(6).plus(TWO_CHANNELS)
    row = block.times(layer.channels // 2).plus(Cost(90, 140))
    tile_row = TRANSFORMED.times(w["in_c"] // 4).plus(Cost(60, 90))
    pairs = -(-w["out_w"] // 8)
    strips = -(-w["out_h"] // tall)
    rows = row.times(w["out_h"]).plus(tile_row.times(2 * (w["out_h"] + 2 * strips)))
    return rows.times(w["batches"] * pairs)
