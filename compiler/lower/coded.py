"""Weights in fewer bits, for `--optimize size`: int4, clustered and sparse ones.

Nothing but the weights decides: few different values are numbered in as many bits as that takes,
and where enough of them are 0 a bit a weight says so. Kernels decode a block of channels to scratch
memory and multiply it as the portable kernels do (td_kernels_coded.h). A layer may be coded where
its constants get smaller by 15 % or more; compact.py weighs that against the kernels' own code.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.variant import Candidate, by_kernel
from tinydeploy.compiler.program import Call, Data

_BLOCK_BYTES = 1024
"""Of decoded weights: more where four channels take more, or where all channels take no more than
the outputs, which may then overwrite the inputs."""
_GROUP = 4  # channels that the portable kernels take together
_LEAST_SAVED = 0.15  # 7 bits of 8 are not worth their time

# Instructions of a Cortex-M4, measured.
_DECODED = {"plain": 14.0, "nibbles": 4.0, "flags": 9.0}
_PRODUCT, _OUTPUT = 3.0, 35.0


@dataclass(frozen=True)
class Code:
    """Weights as struct td_code: flags and table may be absent (None)."""

    flags: np.ndarray | None
    values: np.ndarray
    table: np.ndarray | None
    bits: int

    @property
    def size_bytes(self) -> int:
        """What stands in flash."""
        parts = (self.flags, self.values, self.table)
        return sum(int(part.nbytes) for part in parts if part is not None)

    @property
    def form(self) -> str:
        """The code in words."""
        width = f"{self.bits}-bit weights"
        return f"sparse {width}" if self.flags is not None else width

    def params(self) -> dict[str, Any]:
        """Initializer of struct td_code."""
        return {
            "flags": 0 if self.flags is None else Data("weights", self.flags),
            "values": Data("weights", self.values),
            "table": 0 if self.table is None else Data("weights", self.table),
            "bits": self.bits,
        }


def encode(weights: np.ndarray) -> Code:
    """The smallest code of int8 weights, in their order."""
    flat = weights.reshape(-1)
    stored = flat[flat != 0]
    candidates = [
        _numbered(flat, None),
        _numbered(stored, np.packbits(flat != 0, bitorder="little")),
    ]
    return min(candidates, key=lambda code: code.size_bytes)


def _numbered(values: np.ndarray, flags: np.ndarray | None) -> Code:
    table, numbers = np.unique(values, return_inverse=True)
    bits = max(1, math.ceil(math.log2(max(len(table), 2))))
    if bits == 8:
        return Code(flags, values.view(np.uint8), None, 8)
    places = (numbers.reshape(-1, 1) >> np.arange(bits)) & 1
    packed = np.packbits(places.astype(np.uint8).reshape(-1), bitorder="little")
    return Code(flags, packed, table.astype(np.int8), bits)


def decode(code: Code, count: int) -> np.ndarray:
    """What the kernels make of a code: `count` weights."""
    kept = np.ones(count, bool)
    if code.flags is not None:
        kept = np.unpackbits(code.flags, count=count, bitorder="little").astype(bool)
    result = np.zeros(count, np.int8)
    if code.table is None:
        result[kept] = code.values.view(np.int8)
        return result
    places = np.unpackbits(code.values, count=int(kept.sum()) * code.bits, bitorder="little")
    numbers = places.reshape(-1, code.bits) @ (1 << np.arange(code.bits))
    result[kept] = code.table[numbers]
    return result


def worth_coding(packed: Candidate, dense: Candidate) -> bool:
    """Whether coded weights save enough of a layer's constants."""
    return packed.flash_bytes <= (1 - _LEAST_SAVED) * dense.flash_bytes


def coded(call: Call) -> Candidate | None:
    """A portable call with coded weights, where there is such a kernel."""
    make = {"td_matmul_s8": _matmul, "td_conv_s8": _conv, "td_depthwise_s8": _depthwise}
    return make[call.kernel](call) if call.kernel in make else None


def _matmul(call: Call) -> Candidate:
    params, code, weights_bytes = _product(call.params)
    return _made(call, "td_matmul_s8_coded", params, code, weights_bytes, call.params)


def _conv(call: Call) -> Candidate:
    product = call.params["product"]
    matmul, code, weights_bytes = _product(product)
    params = {"window": call.params["window"], "in_zero": call.params["in_zero"], "matmul": matmul}
    scratch = weights_bytes + product["depth"]
    made = _made(call, "td_conv_s8_coded", params, code, scratch, product)
    gathers = -(-product["channels"] // matmul["block"])
    gathered = gathers * product["rows"] * (product["depth"] + 60.0)
    return dataclasses.replace(made, instructions=made.instructions + gathered)


def _product(p: Any) -> tuple[dict[str, Any], Code, int]:
    """Initializer of struct td_matmul_s8_coded, its code, and the bytes of a decoded block."""
    depth, channels = p["depth"], p["channels"]
    block = max(_BLOCK_BYTES // (depth * _GROUP), 1) * _GROUP
    if depth <= p["rows"] or block > channels:
        block = channels
    code = encode(p["weights"].array)
    params = {
        "product": {**p, "weights": 0},
        "code": code.params(),
        "block": block,
        "shared_scale": p["scale"]["channel_mask"] == _GROUP - 1,
    }
    return params, code, block * depth


def _depthwise(call: Call) -> Candidate | None:
    weights = call.params["weights"].array
    held = -(-weights.size // 4) * 4
    if held > _BLOCK_BYTES:
        return None  # all weights are decoded at once
    code = encode(weights)
    params = {
        "layer": {**call.params, "weights": 0},
        "code": code.params(),
        "weights_bytes": held,
    }
    w = call.params["window"]
    sizes = {
        "rows": w["batches"] * w["out_h"] * w["out_w"],
        "channels": w["out_c"],
        "depth": w["k_h"] * w["k_w"],
    }
    scratch = held + call.scratch_bytes
    return _made(call, "td_depthwise_s8_coded", params, code, scratch, sizes)


def _made(
    call: Call, kernel: str, params: dict[str, Any], code: Code, scratch: int, sizes: Any
) -> Candidate:
    replaced = by_kernel(call, kernel, params, scratch, in_place=())
    rows, channels, depth = sizes["rows"], sizes["channels"], sizes["depth"]
    if code.flags is not None:
        each = _DECODED["flags"]
    else:
        each = _DECODED["nibbles" if code.bits == 4 else "plain"]
    products = rows * channels * (_PRODUCT * depth + _OUTPUT)
    return Candidate(replaced, products + each * channels * depth, form=code.form)
