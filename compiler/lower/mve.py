"""Variants for Cortex-M with Helium (M52, M55, M85): products.

See td_kernels_mve.h for the layouts, td_block_mve.c for what the blocks compute.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv, read_matmul
from tinydeploy.compiler.lower.packing import padded
from tinydeploy.compiler.lower.variant import Candidate, Variant
from tinydeploy.compiler.program import Call, Data

LANES = 16  # bytes of a vector
CHANNELS = 4  # of a block: the words of a vector
STRIP_BYTES = 640  # more does not pay: a strip saves the copies that windows would share

# Instructions of the blocks in td_block_mve.c, by step of 16 inputs and by block.
PAIR_STEP, PAIR_BLOCK = 14.5, 30
QUAD_STEP, QUAD_BLOCK = 9.25, 22


def _vector(call: Call) -> Candidate | None:
    """One row."""
    layer = read_matmul(call)
    product = _product(layer) if layer.rows == 1 else None
    if product is None:
        return None
    made = _replace(
        call,
        "td_vector_s8_mve",
        {"product": product},
        _last_row_bytes(layer) + _aside_bytes(product),
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
        return None
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
    made = _replace(call, "td_conv_s8_mve", params, strip_bytes + 2 * _aside_bytes(product))
    copied = layer.rows * ((tall - 1) * w["stride_h"] + w["k_h"]) / tall
    copying = copied * (12 + 3 * row_bytes / LANES)
    return Candidate(made, copying + _instructions(layer, (layer.rows + 1) // 2))


def _rows(call: Call, layer: Layer, step: int) -> Candidate | None:
    product = _product(layer)
    if product is None:
        return None
    made = _replace(
        call,
        "td_matmul_s8_mve",
        {"rows": layer.rows, "step": step, "product": product, "pair": _pair(layer)},
        _last_row_bytes(layer) + 2 * _aside_bytes(product),
    )
    return Candidate(made, _instructions(layer, (layer.rows + 1) // 2))


def _product(layer: Layer) -> dict[str, Any] | None:
    """Initializer of struct td_product_mve; None where a factor is not a right shift.

    Rounding the second time needs a shift of at least 1, or outputs that are never negative.
    """
    relu = layer.out_min >= layer.out_zero
    if layer.right.min() < (0 if relu else 1):
        return None
    stream = _stream(layer)
    return {
        "depth": layer.depth,
        "channels": layer.channels,
        "padded_channels": _up(layer.channels, CHANNELS),
        "block": {
            "stream": Data("weights", stream),
            "stream_bytes": stream.nbytes,
            "groups": _up(layer.depth) // LANES,
            "out_zero": layer.out_zero,
            "out_min": layer.out_min,
            "out_max": layer.out_max,
        },
    }


def _stream(layer: Layer) -> np.ndarray:
    """Everything that a block reads, [blocks][words]."""
    weights = padded(padded(layer.weights, LANES, axis=1), CHANNELS)
    blocks = weights.shape[0] // CHANNELS
    grouped = weights.reshape(blocks, CHANNELS, -1, LANES).transpose(0, 2, 1, 3)
    return np.concatenate(
        [
            padded(layer.bias, CHANNELS).reshape(blocks, CHANNELS),
            np.ascontiguousarray(grouped).reshape(blocks, -1).view(np.int32),
            padded(layer.multiplier, CHANNELS).reshape(blocks, CHANNELS),
            np.ascontiguousarray(padded(-layer.right.astype(np.int8), CHANNELS))
            .reshape(blocks, CHANNELS)
            .view(np.int32),
        ],
        axis=1,
    )


def _pair(layer: Layer) -> str:
    return "td_pair_relu_mve" if layer.out_min >= layer.out_zero else "td_pair_any_mve"


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


def _aside_bytes(product: Mapping[str, Any]) -> int:
    """Bytes for a pixel's outputs where channels are padded."""
    padded_channels = int(product["padded_channels"])
    return padded_channels if padded_channels != product["channels"] else 0


def _instructions(
    layer: Layer, calls: int, step: float = PAIR_STEP, block: float = PAIR_BLOCK
) -> float:
    blocks = _up(layer.channels, CHANNELS) // CHANNELS
    return calls * (50 + blocks * (_up(layer.depth) // LANES * step + block))


def _up(count: int, multiple: int = LANES) -> int:
    return -(-count // multiple) * multiple


def _replace(call: Call, kernel: str, params: Mapping[str, Any], scratch_bytes: int) -> Call:
    return dataclasses.replace(
        call,
        kernel=kernel,
        struct=kernel,
        params=params,
        takes_scratch=True,
        scratch_bytes=scratch_bytes,
    )


def _suits(target: Target) -> bool:
    return target.helium


def _variant(portable: str, make: Callable[[Call], Candidate | None]) -> Variant:
    return Variant(portable, _suits, make)


VARIANTS = (
    _variant("td_matmul_s8", _vector),
    _variant("td_matmul_s8", _matmul),
    _variant("td_conv_s8", _conv),
)
