"""Variants for Cortex-M with the DSP extension (M4, M7, M33, M35P, M55, M85).

See td_kernels_dsp.h for the layouts, td_block_dsp.c for what the blocks compute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import numpy as np

from tinydeploy.compiler.lower import dsp_depthwise, dsp_elementwise, dsp_taps, dsp_winograd
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv, read_matmul
from tinydeploy.compiler.lower.packing import (
    aside_bytes,
    bytes_in_words,
    bytes_of_words,
    input_pairs,
    join_two,
    padded,
)
from tinydeploy.compiler.lower.requant import Requant, requant
from tinydeploy.compiler.lower.variant import Candidate, Cost, Variant, by_kernel
from tinydeploy.compiler.program import Call, Data


class Weights(Enum):
    """How a block reads weights: w8, b8 and w16 of struct td_block_dsp."""

    JOINED = "int8 weights"
    BYTES = "single int8 weights"
    DOUBLED = "int16 weights"


@dataclass(frozen=True)
class Block:
    """A kernel for a block of channels, and what its assembler takes, by step and by block."""

    kernel: str
    pixels: int
    channels: int
    group: int  # inputs a step
    weights: Weights
    step: Cost
    block: Cost

    @property
    def form(self) -> str:
        """The weights, as the table of choices calls them."""
        return self.weights.value

    def cost(self, layer: Layer, widening: Cost) -> Cost:
        """Of all blocks of a layer; `widening` is that of an input."""
        calls, blocks, steps = (
            -(-count // size)
            for count, size in (
                (layer.rows, self.pixels),
                (layer.channels, self.channels),
                (layer.depth, self.group),
            )
        )
        one_block = self.step.times(steps).plus(self.block)
        inputs = self.pixels * layer.depth
        return one_block.times(blocks).plus(widening.times(inputs)).times(calls)


TRIPLE_W8 = Block("td_triple_w8", 3, 2, 4, Weights.JOINED, Cost(17.2, 25.5), Cost(49, 71))
TRIPLE_B8 = Block("td_triple_b8", 3, 2, 4, Weights.BYTES, Cost(19.4, 27.8), Cost(46, 68))
TRIPLE_W16 = Block("td_triple_w16", 3, 2, 4, Weights.DOUBLED, Cost(16.2, 26.5), Cost(40, 62))
QUAD_W8 = Block("td_quad_w8", 1, 4, 8, Weights.JOINED, Cost(27.4, 39.8), Cost(46, 62))
QUAD_B8 = Block("td_quad_b8", 1, 4, 8, Weights.BYTES, Cost(36.8, 49.5), Cost(44, 60))
QUAD_W16 = Block("td_quad_w16", 1, 4, 8, Weights.DOUBLED, Cost(21.4, 41.8), Cost(40, 56))
WIDEN = Cost(1.2, 2.0)


def _matmul(block: Block, call: Call) -> Candidate | None:
    """Several pixels at a time."""
    layer = read_matmul(call)
    if layer.rows < 2:
        return None
    made = _product(block, layer)
    if made is None:
        return None
    params, scratch = _pixels(block, *made)
    replaced = by_kernel(call, "td_matmul_s8_dsp", params, scratch)
    return Candidate(replaced, *block.cost(layer, WIDEN), block.form)


def _vector(block: Block, call: Call) -> Candidate | None:
    """One row."""
    layer = read_matmul(call)
    if layer.rows != 1:
        return None
    made = _product(block, layer)
    if made is None:
        return None
    params, _ = made
    scratch = 16 * params["block"]["groups"] + aside_bytes(params)
    replaced = by_kernel(
        call, "td_vector_s8_dsp", {"product": params, "quad": f"{block.kernel}_dsp"}, scratch
    )
    return Candidate(replaced, *block.cost(layer, WIDEN), block.form)


def _conv(block: Block, call: Call) -> Candidate | None:
    """Several windows at a time."""
    layer = read_conv(call)
    w = layer.window
    if w["dilation_h"] > 1 or w["dilation_w"] > 1:
        return None
    whole_pixels = w["in_c"] % 4 == 0
    if not whole_pixels:
        layer = dataclasses.replace(layer, weights=_strip_order(layer))
    made = _product(block, layer)
    if made is None:
        return None
    params, scratch = _pixels(block, *made)
    outer: dict[str, Any] = {"window": w, "in_zero": layer.in_zero}
    if whole_pixels:
        kernel = "td_conv_s8_dsp"
        overlapping = (w["k_h"], w["k_w"], w["stride_w"]) == (3, 3, 1)
        outer["widen_three"] = "td_widen_3x3" if overlapping else 0
    else:
        kernel = "td_strip_conv_s8_dsp"
        row = ((w["out_w"] - 1) * w["stride_w"] + w["k_w"]) * w["in_c"]
        outer |= {"strip": scratch, "strip_row": row}
        scratch += w["k_h"] * (row + w["k_w"] * w["in_c"] % 4)
    replaced = by_kernel(call, kernel, {**outer, "matmul": params}, scratch)
    return Candidate(replaced, *block.cost(layer, WIDEN), block.form)


def _strip_order(layer: Layer) -> np.ndarray:
    """Weights in the order of struct td_strip_conv_s8_dsp: whole groups of rows, then the rest."""
    w = layer.window
    width = w["k_w"] * w["in_c"]
    rows = layer.weights.reshape(layer.channels, w["k_h"], width)
    whole = width // 4 * 4
    parts = (rows[:, :, :whole], rows[:, :, whole:])
    return np.concatenate([part.reshape(layer.channels, -1) for part in parts], axis=1)


def _pixels(block: Block, product: dict[str, Any], relu: bool) -> tuple[dict[str, Any], int]:
    """Initializer of struct td_matmul_s8_dsp, and its bytes of scratch."""
    kernel = f"{block.kernel}{'_relu' if relu else ''}_dsp"
    params = {"product": product, "triple": kernel}
    return params, block.pixels * (8 * product["block"]["groups"] + aside_bytes(product))


def _product(block: Block, layer: Layer) -> tuple[dict[str, Any], bool] | None:
    """Initializer of struct td_product_dsp, and whether it is like a ReLU."""
    scale = requant(layer)
    stream = None if scale is None else _stream(block, layer, scale)
    if scale is None or stream is None:
        return None
    params = {
        "rows": layer.rows,
        "depth": layer.depth,
        "channels": layer.channels,
        "padded_channels": -(-layer.channels // block.channels) * block.channels,
        "out_min": layer.out_min,
        "out_max": layer.out_max,
        "block": {
            "stream": Data("weights", stream),
            "stream_bytes": stream.nbytes,
            "groups": -(-layer.depth // block.group),
            "zero_and_half": 2 * layer.out_zero + 1,
        },
    }
    return params, scale.relu


def _stream(block: Block, layer: Layer, scale: Requant) -> np.ndarray | None:
    """All that a block reads, [blocks][words]; None where its arithmetic does not hold it."""
    n = block.channels
    weights = padded(padded(layer.weights, block.group, axis=1), n)
    bias = padded(layer.bias.astype(np.int64), n)
    joined = _joined(layer, weights)
    if block.weights is Weights.DOUBLED:
        words = _by_step(input_pairs(2 * weights.astype(np.int64)), n)
        bias = 2 * bias
    elif block.weights is Weights.JOINED and joined is not None:
        words = _by_step(input_pairs(joined), n // 2)
        bias = bias.copy()
        bias[1::2] = 256 * bias[1::2] + bias[0::2]
    elif block.weights is Weights.BYTES and joined is None:
        words = _by_step(bytes_in_words(weights), n)
    else:
        return None
    return np.concatenate(
        [
            bias.astype(np.int32).reshape(-1, n),
            words,
            padded(scale.multiplier, n).reshape(-1, n),
            bytes_of_words(padded(scale.down, n).reshape(-1, n)).reshape(-1, 1),
        ],
        axis=1,
    )


def _joined(layer: Layer, weights: np.ndarray) -> np.ndarray | None:
    """256 * w1 + w0 of two channels; None where a sum of them would not fit 32 bits."""
    largest = padded(layer.largest_sum(), 2)
    if (256 * largest[1::2] + largest[0::2] >= 2**31).any():
        return None
    return join_two(weights)


def _by_step(words: np.ndarray, rows: int) -> np.ndarray:
    """[channels][groups of 4][words] to [blocks][...], a word of each of a block's rows in turn."""
    blocks = words.shape[0] // rows
    return words.reshape(blocks, rows, *words.shape[1:]).transpose(0, 2, 3, 1).reshape(blocks, -1)


def _suits(target: Target) -> bool:
    return target.dsp and not target.helium  # which has kernels of its own


def _variant(portable: str, make: Callable[[Call], Candidate | None]) -> Variant:
    return Variant(portable, _suits, make)


VARIANTS = (
    _variant("td_matmul_s8", partial(_vector, QUAD_W8)),
    _variant("td_matmul_s8", partial(_vector, QUAD_B8)),
    _variant("td_matmul_s8", partial(_vector, QUAD_W16)),
    _variant("td_matmul_s8", partial(_matmul, TRIPLE_W8)),
    _variant("td_matmul_s8", partial(_matmul, TRIPLE_B8)),
    _variant("td_matmul_s8", partial(_matmul, TRIPLE_W16)),
    _variant("td_conv_s8", partial(_conv, TRIPLE_W8)),
    _variant("td_conv_s8", partial(_conv, TRIPLE_B8)),
    _variant("td_conv_s8", partial(_conv, TRIPLE_W16)),
    Variant("td_conv_s8", dsp_winograd.suits, dsp_winograd.make),
    _variant("td_depthwise_s8", dsp_depthwise.make_rows),
    _variant("td_depthwise_s8", dsp_depthwise.make_columns),
    _variant("td_depthwise_s8", dsp_taps.make),
    _variant("td_add_s8", dsp_elementwise.make_add),
    _variant("td_average_pool_s8", dsp_elementwise.make_pool),
    _variant("td_max_pool_s8", dsp_elementwise.make_pool),
)
