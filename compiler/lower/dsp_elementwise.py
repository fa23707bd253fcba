"""ADD and pooling with the DSP extension; see td_add_dsp.c and td_pool_dsp.c."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tinydeploy.compiler.lower.variant import Candidate
from tinydeploy.compiler.program import Call

_HALF = (1 << 30, -1)  # multiplier and `down` of the factor 1/2
_LARGEST_AVERAGE = 255  # positions whose sums int16 holds
_LEFT_SHIFT = 20  # the reference's headroom for int8


def make_add(call: Call) -> Candidate | None:
    """td_add_s8 without broadcasting."""
    p = call.params
    if not same_shape(p["shape"]) or p["left_shift"] != _LEFT_SHIFT:
        return None
    small, large = "a", "b"
    if factor_of(p, large) != _HALF:
        small, large = large, small
    down = p["out_down"]
    constant = (2 * p["out_zero"] + 1) << max(down, 0)
    equal = factor_of(p, small) == _HALF
    right = p[f"{small}_down"] + 1
    fits = down >= 0 and abs(constant) < 2**30 and (equal or 1 <= right <= 28)
    if factor_of(p, large) != _HALF or not fits:
        return None
    elements = math.prod(p["shape"]["size"])
    params = {
        "elements": elements,
        "a_zero": p[f"{small}_zero"] * 2**21,
        "b_zero": p[f"{large}_zero"] * 2**20,
        "a_multiplier": p[f"{small}_multiplier"],
        "a_round": 0 if equal else 1 << (right - 1),
        "a_right": 0 if equal else right,
        "out_multiplier": p["out_multiplier"],
        "out_c": constant,
        "out_down": down,
        "out_min": p["out_min"],
        "out_max": p["out_max"],
    }
    operands, in_place = call.operands, call.in_place
    if small == "b":
        operands = operands[::-1]
        in_place = tuple(1 - i for i in in_place)
    replaced = dataclasses.replace(
        call,
        kernel="td_add_s8_dsp",
        struct="td_add_s8_dsp",
        params=params,
        operands=operands,
        in_place=in_place,
    )
    return Candidate(replaced, 17.0 * elements)


def factor_of(p: Mapping[str, Any], operand: str) -> tuple[int, int]:
    """Multiplier and shift of an operand of ADD."""
    return p[f"{operand}_multiplier"], p[f"{operand}_down"]


def same_shape(shape: Mapping[str, Any]) -> bool:
    """Whether both operands are read from front to back."""
    dense, step = [], 1
    for size in reversed(shape["size"]):
        dense.append(step if size > 1 else None)
        step *= size
    wanted = list(reversed(dense))
    return all(
        want is None or want == a == b
        for want, a, b in zip(wanted, shape["a_stride"], shape["b_stride"], strict=True)
    )


def make_pool(call: Call) -> Candidate | None:
    """td_average_pool_s8 and td_max_pool_s8 of four channels at a time."""
    w = call.params["window"]
    positions = w["k_h"] * w["k_w"]
    if w["in_c"] % 4 or (call.kernel == "td_average_pool_s8" and positions > _LARGEST_AVERAGE):
        return None
    outputs = w["batches"] * w["out_h"] * w["out_w"] * w["out_c"]
    replaced = dataclasses.replace(call, kernel=f"{call.kernel}_dsp")
    return Candidate(replaced, outputs / 4 * (6.0 * positions + 40))
