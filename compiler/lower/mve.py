"""Variants for Cortex-M with Helium (M52, M55, M85): products.

See td_kernels_mve.h for the layouts, td_block_mve.c for what the blocks compute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinydeploy.compiler.lower import mve_elementwise
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv, read_depthwise, read_matmul
from tinydeploy.compiler.lower.packing import aside_bytes, padded
from tinydeploy.compiler.lower.variant import Candidate, Variant, by_kernel
from tinydeploy.compiler.program import Call, Data

LANES = 16  # bytes of a vector
CHANNELS = 4  # of a block: the words of a vector
STRIP_BYTES = 640  # more does not pay: a strip saves the copies that windows would share
ROWS = 4  # of a word of td_depthwise_s8_mve
WORD_BYTES = LANES * ROWS  # of 16 channels
GROUP_WORDS = LANES // ROWS  # that a gather fetches
LINE_BYTES = 1024  # of words; wider lines are split

# Instructions of the blocks in td_block_mve.c, by step of 16 inputs and by block.
PAIR_STEP, PAIR_BLOCK = 14.5, 30
QUAD_STEP, QUAD_BLOCK = 9.25, 22


def _vector(call: Call) -> Candidate | None:
    """One row."""
    layer = read_matmul(call)
    product = _product(layer) if layer.rows == 1 else None
    if product is None:
        return None
    made = by_kernel(
        call,
        "td_vector_s8_mve",
        {"product": product},
        _last_row_bytes(layer) + aside_bytes(product),
    )
    return Candidate(made, _instructions(layer, 1, QUAD_STEP, QUAD_BLOCK))


def _matmul(call: Call) -> Candidate | None:
    """Rows in pairs."""
    layer = read_matmul(call)
    return _rows(call, layer, layer.depth) if layer.rows > 1 else None


def _conv(call: Call) -> Candidate | None:
    """Windows in pairs, in strips unless the image itself is one."""
    layer = read_conv(call)
    w = layer.window
    if w["dilation_h"] > 1 or w["dilation_w"] > 1:
        return _patches(call, layer)
    row_bytes = w["k_w"] * w["in_c"]
    step = w["stride_h"] * row_bytes
    if _is_strip(w) and (step >= LANES or layer.depth % LANES == 0):
        return _rows(call, layer, step)
    product = _product(layer)
    if product is None:
        return None
    tall = _tall(w)
    strip_bytes = (tall - 1) * step + _up(layer.depth)
    params = {
        "window": w,
        "in_zero": layer.in_zero,
        "tall": tall,
        "strip_bytes": strip_bytes,
        "product": product,
        "pair": _pair(layer),
    }
    made = by_kernel(call, "td_conv_s8_mve", params, strip_bytes + 2 * aside_bytes(product))
    copied = layer.rows * ((tall - 1) * w["stride_h"] + w["k_h"]) / tall
    copying = copied * (12 + 3 * row_bytes / LANES)
    return Candidate(made, copying + _instructions(layer, (layer.rows + 1) // 2))


def _patches(call: Call, layer: Layer) -> Candidate | None:
    product = _product(layer)
    if product is None:
        return None
    w = layer.window
    params = {
        "window": w,
        "in_zero": layer.in_zero,
        "product": product,
        "pair": _pair(layer),
    }
    scratch_bytes = 2 * (_up(layer.depth) + aside_bytes(product))
    made = by_kernel(call, "td_patch_conv_s8_mve", params, scratch_bytes)
    copying = layer.rows * w["k_h"] * (12 + 25 * w["k_w"])
    return Candidate(made, copying + _instructions(layer, (layer.rows + 1) // 2))


def _rows(call: Call, layer: Layer, step: int) -> Candidate | None:
    product = _product(layer)
    if product is None:
        return None
    made = by_kernel(
        call,
        "td_matmul_s8_mve",
        {"rows": layer.rows, "step": step, "product": product, "pair": _pair(layer)},
        _last_row_bytes(layer) + 2 * aside_bytes(product),
    )
    return Candidate(made, _instructions(layer, (layer.rows + 1) // 2))


def _depthwise(call: Call) -> Candidate | None:
    """Parts of output rows, 16 channels at a time."""
    layer = read_depthwise(call)
    w = upright(layer.window)
    if call.params["multiplier"] != 1 or not _rounds(layer):
        return None
    layers = _up(w["k_h"], ROWS) // ROWS
    column = w["in_w"] == w["k_w"] == w["out_w"] == 1
    if column:
        length, stride = w["out_h"], w["stride_h"]
        apart = ROWS * w["dilation_h"]
        reach = (layers - 1) * apart + 1
    else:
        length, stride = w["out_w"], w["stride_w"]
        reach = (w["k_w"] - 1) * w["dilation_w"] + 1
    span = _span(length, stride, reach, LINE_BYTES // WORD_BYTES)
    words = (span - 1) * stride + reach
    layer_bytes = words * WORD_BYTES
    if column:
        offsets = [n * apart * WORD_BYTES for n in range(layers)]
    else:
        offsets = [
            n * layer_bytes + x * w["dilation_w"] * WORD_BYTES
            for n in range(layers)
            for x in range(w["k_w"])
        ]
    groups = _up(len(offsets), GROUP_WORDS) // GROUP_WORDS
    packed = stream(dataclasses.replace(layer, weights=_in_words(layer.weights, w)))
    params = {
        "window": w,
        "in_zero": layer.in_zero,
        "span": span,
        "layer_bytes": layer_bytes,
        "stream_step": packed.shape[1] * LANES // CHANNELS,
        "stream": Data("weights", packed),
        "line": {
            "offset": Data("tables", padded(np.array(offsets, np.uint32), GROUP_WORDS)),
            "offset_bytes": 4 * GROUP_WORDS * groups,
            **_limits(layer),
        },
        "run": f"td_depthwise_line{'_one' if groups == 1 else ''}"
        f"{'_relu' if _is_relu(layer) else '_any'}_mve",
    }
    aside_bytes = _up(layer.channels % LANES, CHANNELS) * span if layer.channels % CHANNELS else 0
    kernel = "td_depthwise_column_s8_mve" if column else "td_depthwise_s8_mve"
    scratch_bytes = LANES + layer_bytes * (1 if column else layers) + aside_bytes
    made = by_kernel(call, kernel, params, scratch_bytes, struct="td_depthwise_s8_mve")
    lines = w["batches"] * (1 if column else w["out_h"]) * (_up(layer.channels) // LANES)
    outputs = (3 + 3.5 * groups) * layer.rows * _up(layer.channels, CHANNELS)
    return Candidate(made, outputs + lines * -(-length // span) * (250 + 14 * words))


def _product(layer: Layer) -> dict[str, Any] | None:
    """Initializer of struct td_product_mve; None where the blocks cannot round."""
    if not _rounds(layer):
        return None
    words = stream(layer)
    return {
        "depth": layer.depth,
        "channels": layer.channels,
        "padded_channels": _up(layer.channels, CHANNELS),
        "block": {
            "stream": Data("weights", words),
            "stream_bytes": words.nbytes,
            "groups": _up(layer.depth) // LANES,
            **_limits(layer),
        },
    }


def _limits(layer: Layer) -> dict[str, int]:
    return {"out_zero": layer.out_zero, "out_min": layer.out_min, "out_max": layer.out_max}


def _is_relu(layer: Layer) -> bool:
    return layer.out_min >= layer.out_zero


def _rounds(layer: Layer) -> bool:
    """Whether every factor is a right shift, of at least 1 where outputs may be negative."""
    return bool(_right(layer).min() >= (0 if _is_relu(layer) else 1))


def _right(layer: Layer) -> np.ndarray:
    """Right shifts; of a channel whose factor vanishes, which is stored as 0 * 2^0, any will do."""
    return np.where(layer.multiplier == 0, 1, layer.right)


def stream(layer: Layer) -> np.ndarray:
    """Everything that a block reads, [blocks][words]; depth and channels are padded with zeros."""
    weights = padded(padded(layer.weights, LANES, axis=1), CHANNELS)
    blocks = weights.shape[0] // CHANNELS
    grouped = weights.reshape(blocks, CHANNELS, -1, LANES).transpose(0, 2, 1, 3)
    return np.concatenate(
        [
            padded(layer.bias, CHANNELS).reshape(blocks, CHANNELS),
            np.ascontiguousarray(grouped).reshape(blocks, -1).view(np.int32),
            padded(layer.multiplier, CHANNELS).reshape(blocks, CHANNELS),
            np.ascontiguousarray(padded(-_right(layer).astype(np.int8), CHANNELS))
            .reshape(blocks, CHANNELS)
            .view(np.int32),
        ],
        axis=1,
    )


def _pair(layer: Layer) -> str:
    return "td_pair_relu_mve" if _is_relu(layer) else "td_pair_any_mve"


def upright(w: Mapping[str, int]) -> Mapping[str, int]:
    """A window over images of one row, turned: rows make fuller words than columns."""
    if w["in_h"] > 1 or w["out_h"] > 1 or w["k_h"] > 1 or w["pad_top"] > 0:
        return w
    turned = {"_h": "_w", "_w": "_h", "pad_top": "pad_left", "pad_left": "pad_top"}
    return {k: w[turned[k] if k in turned else k[:-2] + turned.get(k[-2:], k[-2:])] for k in w}


def _span(length: int, stride: int, reach: int, words: int) -> int:
    """How many outputs of a line are made at a time: all, or those of so many words."""
    return max(1, min(length, 1 + max(0, words - reach) // stride))


def _in_words(weights: np.ndarray, w: Mapping[str, int]) -> np.ndarray:
    """[channels][k_h * k_w] to four rows a word, [channels][k_h / 4][k_w][4], in whole groups."""
    taps = padded(weights.reshape(-1, w["k_h"], w["k_w"]), ROWS, axis=1)
    words = taps.reshape(taps.shape[0], -1, ROWS, w["k_w"]).transpose(0, 1, 3, 2)
    return padded(np.ascontiguousarray(words).reshape(taps.shape[0], -1), LANES, axis=1)


def _is_strip(w: Mapping[str, int]) -> bool:
    """Whether windows below one another lie in the image as in a strip."""
    inside = w["pad_top"] == 0 and (w["out_h"] - 1) * w["stride_h"] + w["k_h"] <= w["in_h"]
    whole = w["k_w"] == w["in_w"] and w["out_w"] == 1 and w["pad_left"] == 0
    return inside and whole and w["batches"] == 1


def _tall(w: Mapping[str, int]) -> int:
    """How many windows a strip serves: an even number, or all."""
    row_bytes = w["k_w"] * w["in_c"]
    rows = STRIP_BYTES // row_bytes - w["k_h"]
    return min(w["out_h"], max(2, (1 + max(rows, 0) // w["stride_h"]) // 2 * 2))


def _last_row_bytes(layer: Layer) -> int:
    return _up(layer.depth) if layer.depth % LANES else 0


def _instructions(
    layer: Layer, calls: int, step: float = PAIR_STEP, block: float = PAIR_BLOCK
) -> float:
    blocks = _up(layer.channels, CHANNELS) // CHANNELS
    return calls * (50 + blocks * (_up(layer.depth) // LANES * step + block))


def _up(count: int, multiple: int = LANES) -> int:
    return -(-count // multiple) * multiple


def _suits(target: Target) -> bool:
    return target.helium


def _variant(portable: str, make: Callable[[Call], Candidate | None]) -> Variant:
    return Variant(portable, _suits, make)


VARIANTS = (
    _variant("td_matmul_s8", _vector),
    _variant("td_matmul_s8", _matmul),
    _variant("td_conv_s8", _conv),
    _variant("td_depthwise_s8", _depthwise),
    _variant("td_add_s8", mve_elementwise.make_add),
    _variant("td_average_pool_s8", mve_elementwise.make_pool),
    _variant("td_max_pool_s8", mve_elementwise.make_pool),
    _variant("td_mean_s8", mve_elementwise.make_mean),
)
