"""ADD, pooling and MEAN with Helium; see td_add_mve.c and td_pool_mve.c."""

from __future__ import annotations

import dataclasses
import math

from tinydeploy.compiler.lower.dsp_elementwise import factor_of, same_shape
from tinydeploy.compiler.lower.variant import Candidate
from tinydeploy.compiler.program import Call

_HALF = (1 << 30, -1)  # multiplier and `down` of the factor 1/2


def make_add(call: Call) -> Candidate | None:
    """td_add_s8 without broadcasting; the larger scale's factor is 1/2 by construction."""
    p = call.params
    if not same_shape(p["shape"]):
        return None
    small, large = ("a", "b") if factor_of(p, "b") == _HALF else ("b", "a")
    left_shift, right = p["left_shift"], p[f"{small}_down"] + 1
    if factor_of(p, small) == _HALF:
        # Doubled and halved again: the second rounding needs a right shift of at least 1.
        left_shift, right = left_shift + 1, 1
    relu = p["out_min"] >= p["out_zero"]
    out_right = p["out_down"] + 1
    if factor_of(p, large) != _HALF or right < 1 or out_right < (0 if relu else 1):
        return None
    elements = math.prod(p["shape"]["size"])
    params = {
        "elements": elements,
        "a_offset": -p[f"{small}_zero"] << left_shift,
        "b_offset": -p[f"{large}_zero"] << (p["left_shift"] - 1),
        "a_multiplier": p[f"{small}_multiplier"],
        "a_minus_right": -right,
        "out_multiplier": p["out_multiplier"],
        "out_minus_right": -out_right,
        "out_zero": p["out_zero"],
        "a_scale": 1 << left_shift,
        "b_scale": 1 << (p["left_shift"] - 1),
        "out_min": p["out_min"],
        "out_max": p["out_max"],
    }
    swapped = small == "b"
    replaced = dataclasses.replace(
        call,
        kernel="td_add_relu_s8_mve" if relu else "td_add_s8_mve",
        struct="td_add_s8_mve",
        params=params,
        operands=call.operands[::-1] if swapped else call.operands,
        in_place=tuple(1 - i for i in call.in_place) if swapped else call.in_place,
    )
    return Candidate(replaced, 4.5 * elements)


def make_pool(call: Call) -> Candidate | None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    w = call.params["window"]
    outputs = w["batches"] * w["out_h"] * w["out_w"] * w["out_c"]
    replaced = dataclasses.replace(call, kernel=f"{call.kernel}_mve")
    return Candidate(replaced, outputs * (10 + 2.0 * w["k_h"] * w["k_w"]))


def make_mean(call: Call) -> Candidate | None:
    """MEAN where several channels are left."""
    p = call.params
    if p["inner"] == 1:
        return None
    replaced = dataclasses.replace(call, kernel="td_mean_s8_mve")
    return Candidate(replaced, p["outer"] * p["inner"] * (12 + 2.0 * p["reduced"]))
