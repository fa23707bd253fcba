"""Variants for cores without SIMD: Cortex-M0, M3, RV32 and whatever else has a 32-bit multiplier.

See td_kernels_packed.h for the layouts and for what one multiplication computes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.layer import Layer, read_conv, read_matmul
from tinydeploy.compiler.lower.packing import padded
from tinydeploy.compiler.lower.product import in_groups
from tinydeploy.compiler.lower.requant import requant
from tinydeploy.compiler.lower.variant import Candidate, Variant
from tinydeploy.compiler.program import Call, Data

_GROUP = 4  # channels a block
_PIXELS = 3  # that two words hold
_LARGEST_SUM = 2**20  # of the products with the two lower pixels, whose fields have 21 bits
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


def _conv(call: Call) -> Candidate | None:
    layer = read_conv(call)
    product = _product(layer)
    if product is None:
        return None
    w = layer.window
    params = {"window": w, "in_zero": layer.in_zero, "product": product}
    columns = w["k_w"] if w["dilation_w"] == 1 else 1
    return _replace(call, layer, "td_conv_s8_packed", params, _PIXELS * columns * w["in_c"])


def _product(layer: Layer) -> dict[str, Any] | None:
    """Initializer of struct td_product_packed; None where 32 bits do not hold its arithmetic."""
    # The kernels scale sums times 4, where requant() promises room for sums times 2.
    scale = requant(layer, spare_bits=1)
    if scale is None:
        return None
    return {
        "rows": layer.rows,
        "depth": layer.depth,
        "channels": layer.channels,
        "part_depth": part_depth(layer.weights),
        "weights": Data("weights", in_groups(padded(layer.weights, _GROUP), _GROUP)),
        "scale": Data("tables", np.stack([4 * layer.bias, scale.multiplier], axis=1)),
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
    replaced = dataclasses.replace(
        call,
        kernel=kernel,
        struct=kernel,
        params=params,
        takes_scratch=True,
        scratch_bytes=8 * layer.depth + more_scratch,
    )
    blocks = -(-layer.rows // _PIXELS) * -(-layer.channels // _GROUP)
    steps = layer.depth * _STEP_INSTRUCTIONS
    return Candidate(replaced, blocks * (steps + _BLOCK_INSTRUCTIONS))


def _suits(target: Target) -> bool:
    """The host's build, without a core, keeps to the portable kernels."""
    return bool(target.core) and not (target.dsp or target.helium)


VARIANTS = (
    Variant("td_matmul_s8", _suits, _matmul),
    Variant("td_conv_s8", _suits, _conv),
)
