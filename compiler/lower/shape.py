"""Operators that only move or rename: RESHAPE, SQUEEZE, EXPAND_DIMS, PAD, CONCATENATION."""

from __future__ import annotations

import math

import numpy as np

from tinydeploy.compiler.lower.context import Context, Refused, u16, zero_of
from tinydeploy.compiler.lower.strided import element_bytes
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op

_PAD_DIMENSIONS = 5


def lower_view(op: Op, ctx: Context) -> list[Call]:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the same memory, so no call; see `is_view`."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.elements != output.elements or given.dtype != output.dtype:
        raise Refused("its input and output differ in size or type")
    return []


def lower_pad(op: Op, ctx: Context) -> list[Call]:
    """PAD and PADV2 with constant paddings."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    size = element_bytes(given.dtype)
    listed = ctx.constant_input(op, 1, "paddings")
    if listed.shape != (len(given.shape), 2):
        raise Refused(f"its paddings are {list(listed.shape)} for {len(given.shape)} dimensions")
    paddings = listed.tolist()
    rank = len(given.shape)
    if not 0 < rank <= _PAD_DIMENSIONS or min(min(p) for p in paddings) < 0:
        raise Refused(f"paddings {paddings} do not fit its input")
    if output.shape != tuple(d + sum(p) for d, p in zip(given.shape, paddings, strict=True)):
        raise Refused("its output's shape does not fit its paddings")
    fill = np.zeros(1, np.dtype(given.dtype))
    if len(op.inputs) > 2:
        fill = ctx.constant_input(op, 2, "fill values").reshape(-1)
        if fill.shape != (1,) or fill.dtype != given.dtype:
            raise Refused("its fill is not one value of the input's type")
    elif given.dtype == "int8":
        fill[0] = zero_of(output) if output.scales else 0
    missing = _PAD_DIMENSIONS - rank
    sizes = [1] * missing + list(given.shape)
    before = [0] * missing + [p[0] for p in paddings]
    after = [0] * missing + [p[1] for p in paddings]
    u16(**{f"dimension_{i}": s for i, s in enumerate((*sizes, *before, *after))})
    if size > 4:
        raise Refused(f"the engine does not pad {given.dtype}")
    params = {
        "in_size": sizes,
        "before": before,
        "after": after,
        "element_bytes": size,
        "fill": list(fill.tobytes()) + [0] * (4 - size),
    }
    return [
        Call(
            kernel="td_pad",
            struct="td_pad",
            params=params,
            operands=(ctx.operand(given.index),),
            output=output.index,
            op_index=op.index,
            comment=f"{list(given.shape)} -> {list(output.shape)}",
        )
    ]


def lower_concatenation(op: Op, ctx: Context) -> list[Call]:
    """CONCATENATION: one strided copy an input; scales must be equal, as in the reference."""
    output = ctx.tensor(op.outputs[0])
    size = element_bytes(output.dtype)
    rank = len(output.shape)
    axis = op.options["axis"] + (rank if op.options["axis"] < 0 else 0)
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        raise Refused("the engine has no fused activation here")
    if not 0 <= axis < rank:
        raise Refused(f"its axis {axis} is outside its shape")
    outer = math.prod(output.shape[:axis])
    stride = math.prod(output.shape[axis:]) * size
    calls, offset = [], 0
    for position in range(len(op.inputs)):
        given = ctx.input(op, position)
        if given.dtype != output.dtype or len(given.shape) != rank:
            raise Refused("its inputs differ in type or rank")
        if (given.scales, given.zero_points) != (output.scales, output.zero_points):
            raise Refused("its inputs and output differ in scale")
        length = math.prod(given.shape[axis:]) * size
        calls.append(
            Call(
                kernel="td_copy",
                struct="td_copy",
                params={"rows": outer, "bytes": length, "in_stride": length, "out_stride": stride},
                operands=(ctx.operand(given.index),),
                output=output.index,
                op_index=op.index,
                comment=f"input {position} of {len(op.inputs)}",
                output_offset_bytes=offset,
            )
        )
        offset += length
    if offset != stride:
        raise Refused("its inputs do not add up to its output")
    return calls
