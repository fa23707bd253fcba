"""Variants for cores without SIMD: Cortex-M0, M3, RV32 and whatever else has a 32-bit multiplier.

See td_kernels_packed.h for the layouts and for what one multiplication computes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydeploy.compiler.lower import dsp_elementwise
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv, read_depthwise, read_matmul
from tinydeploy.compiler.lower.packing import padded
from tinydeploy.compiler.lower.product import in_groups
from tinydeploy.compiler.lower.requant import requant
from tinydeploy.compiler.lower.variant import Candidate, Variant, by_kernel
from tinydeploy.compiler.program import Call, Data

_GROUP = 4  # channels a block
_PIXELS = 3  # that two words hold
_LARGEST_SUM = 2**20  # of the products with the two lower pixels, whose fields have 21 bits
_PLANE_BYTES = 1024  # of scratch memory, where that is enough for three rows of outputs
_STEP_INSTRUCTIONS = 13  # of the Cortex-M3, for an input of a block
_BLOCK_INSTRUCTIONS = 160


def _matmul(call: Call) -> Candidate | None:
    layer = read_matmul(call)
    if layer.rows < 2:
        return None
    product = _product(layer)
    if product is None:
        return None
    return _replace(call, layer, "td_matmul_s8_packed", {"product": product}, 0)


def _vector(call: Call) -> Candidate | None:
    layer = read_matmul(call)
    if layer.rows != 1:
        return None
    weights = Data("weights", in_groups(padded(layer.weights, _GROUP), _GROUP))
    replaced = dataclasses.replace(
        call, kernel="td_vector_s8_packed", params={**call.params, "weights": weights}
    )
    return Candidate(replaced, layer.channels * (2.2 * layer.depth + 25))


def _conv(call: Call) -> Candidate | None:
    layer = read_conv(call)
    product = _product(layer)
    if product is None:
        return None
    w = layer.window
    params = {"window": w, "in_zero": layer.in_zero, "product": product}
    columns = w["k_w"] if w["dilation_w"] == 1 else 1
    return _replace(call, layer, "td_conv_s8_packed", params, _PIXELS * columns * w["in_c"])


def _depthwise(call: Call) -> Candidate | None:
    layer = read_depthwise(call)
    w = layer.window
    scale = _scale(layer)
    if scale is None or call.params["multiplier"] > 1:
        return None
    plane = _plane(w)
    instructions = layer.channels * _plane_instructions(w, plane)
    if instructions > layer.rows * layer.channels * (4.2 * layer.depth + 35):
        return None  # the portable kernel's
    params = {
        "window": w,
        "third": plane.third,
        "in_zero": layer.in_zero,
        "weights": Data("weights", layer.weights),
        "scale": scale,
    }
    smaller = w["out_h"] <= w["in_h"] and w["out_w"] <= w["in_w"]
    replaced = by_kernel(
        call,
        "td_depthwise_s8_packed",
        params,
        8 * plane.rows * plane.columns,
        # A channel is read whole before it is written.
        in_place=(0,) if smaller and plane.strips == 1 else (),
    )
    return Candidate(replaced, instructions)


@dataclass(frozen=True)
class _Plane:
    """A packed channel: rows of outputs in each of its three fields, its own size."""

    third: int
    strips: int
    rows: int
    columns: int


def _plane(w: Mapping[str, int]) -> _Plane:
    """The fewest strips whose planes are small, or else as few rows as there can be."""
    reach_h, reach_w = ((w[f"k_{d}"] - 1) * w[f"dilation_{d}"] + 1 for d in "hw")
    columns = (w["out_w"] - 1) * w["stride_w"] + reach_w
    strips = 1
    while True:
        third = -(-w["out_h"] // (_PIXELS * strips))
        rows = (third - 1) * w["stride_h"] + reach_h
        if third == 1 or 8 * rows * columns <= _PLANE_BYTES:
            return _Plane(third, -(-w["out_h"] // (_PIXELS * third)), rows, columns)
        strips += 1


def _plane_instructions(w: Mapping[str, int], plane: _Plane) -> float:
    """Of one channel, on a Cortex-M3."""
    by_three = w["k_h"] == w["k_w"] == 3 and w["dilation_w"] == 1
    window = 38 if by_three else 8 * w["k_h"] * w["k_w"] + 12 * w["k_h"] + 10
    packing = plane.rows * (50 + 11 * plane.columns)
    return (
        w["batches"] * plane.strips * (plane.third * w["out_w"] * (window + 40.0) + packing + 150)
    )


def _add(call: Call) -> Candidate | None:
    """The checks and parameters of the DSP extension's kernel serve this one too."""
    made = dsp_elementwise.make_add(call)
    if made is None:
        return None
    return Candidate(dataclasses.replace(made.call, kernel="td_add_s8_packed"), made.instructions)


def _product(layer: Layer) -> dict[str, Any] | None:
    """Initializer of struct td_product_packed."""
    scale = _scale(layer)
    if scale is None:
        return None
    return {
        "rows": layer.rows,
        "depth": layer.depth,
        "channels": layer.channels,
        "part_depth": part_depth(layer.weights),
        "weights": Data("weights", in_groups(padded(layer.weights, _GROUP), _GROUP)),
        "scale": scale,
    }


def _scale(layer: Layer) -> dict[str, Any] | None:
    """Initializer of struct td_scale_packed; None where 32 bits do not hold its arithmetic."""
    # The kernels scale sums times 4, where requant() promises room for sums times 2.
    scale = requant(layer, spare_bits=1)
    if scale is None:
        return None
    return {
        "factors": Data("tables", np.stack([4 * layer.bias, scale.multiplier], axis=1)),
        "right": Data("tables", (scale.down + 1).astype(np.int8)),
        "out_zero": layer.out_zero,
        "out_min": layer.out_min,
        "out_max": layer.out_max,
    }


def part_depth(weights: np.ndarray) -> int:
    """The depth of the fewest equal parts whose sums fit their fields; `weights` is int8.

    The last part may be shorter. Sums are bounded for any inputs, at every step.
    """
    sizes = np.abs(weights.astype(np.int64))
    depth = sizes.shape[1]
    for parts in range(1, depth + 1):
        length = -(-depth // parts)
        sums = padded(sizes, length, axis=1).reshape(sizes.shape[0], -1, length).sum(axis=2)
        if 128 * int(sums.max()) < _LARGEST_SUM:
            return length
    return 1  # 128 * 128 fits


def _replace(
    call: Call, layer: Layer, kernel: str, params: dict[str, Any], more_scratch: int
) -> Candidate:
    replaced = by_kernel(call, kernel, params, 8 * layer.depth + more_scratch)
    blocks = -(-layer.rows // _PIXELS) * -(-layer.channels // _GROUP)
    steps = layer.depth * _STEP_INSTRUCTIONS
    return Candidate(replaced, blocks * (steps + _BLOCK_INSTRUCTIONS))


def _suits(target: Target) -> bool:
    """The host's build, without a core, keeps to the portable kernels."""
    return bool(target.core) and not (target.dsp or target.helium)


VARIANTS = (
    Variant("td_matmul_s8", _suits, _vector),
    Variant("td_matmul_s8", _suits, _matmul),
    Variant("td_conv_s8", _suits, _conv),
    Variant("td_depthwise_s8", _suits, _depthwise),
    Variant("td_add_s8", _suits, _add),
)
