"""Operators that take parts of tensors, join or reorder them: one strided copy an output or input.

SLICE, STRIDED_SLICE, SPLIT, SPLIT_V, PACK, UNPACK, TRANSPOSE, BROADCAST_TO, FILL,
ZEROS_LIKE.
"""

from __future__ import annotations

import math

import numpy as np

from tinydeploy.compiler.lower.context import Context, Refused
from tinydeploy.compiler.lower.strided import Move, dense, filled, moved
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op


def axis_of(axis: int, rank: int) -> int:
    """An axis counted from the front; refuses one outside."""
    if not -rank <= axis < rank:
        raise Refused(f"its axis {axis} is outside its {rank} dimensions")
    return axis % rank


def lower_slice(op: Op, ctx: Context) -> list[Call]:
    """SLICE with constant begin and size; a size of -1 takes the rest."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    begin = _integers(op, ctx, 1, "begin", len(given.shape))
    size = _integers(op, ctx, 2, "size", len(given.shape))
    size = [d - b if s == -1 else s for s, b, d in zip(size, begin, given.shape, strict=True)]
    inside = all(
        b >= 0 and s >= 0 and b + s <= d for b, s, d in zip(begin, size, given.shape, strict=True)
    )
    if not inside or tuple(size) != output.shape:
        raise Refused(f"begin {begin} and size {size} do not fit its input and output")
    strides = dense(given.shape)
    offset = sum(b * s for b, s in zip(begin, strides, strict=True))
    return moved(op, ctx, given, output, Move(output.shape, strides, dense(output.shape), offset))


def lower_strided_slice(op: Op, ctx: Context) -> list[Call]:
    """STRIDED_SLICE with constant bounds, begin, end and shrink masks.

    TFLite-Micro refuses computed bounds too.
    """
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rank = len(given.shape)
    bounds = [_integers(op, ctx, i, what, rank) for i, what in ((1, "begin"), (2, "end"))]
    steps = _integers(op, ctx, 3, "strides", rank)
    if op.options["ellipsis_mask"] or op.options["new_axis_mask"] or op.options.get("offset"):
        raise Refused("the engine has no ellipsis or new axis mask here, as TFLite-Micro")
    offset, sizes, strides, kept = 0, [], [], []
    for axis, (d, stride) in enumerate(zip(given.shape, dense(given.shape), strict=True)):
        if steps[axis] == 0:
            raise Refused("one of its strides is 0")
        first = None if op.options["begin_mask"] >> axis & 1 else bounds[0][axis]
        last = None if op.options["end_mask"] >> axis & 1 else bounds[1][axis]
        taken = range(d)[slice(first, last, steps[axis])]
        if op.options["shrink_axis_mask"] >> axis & 1:
            taken = range(d)[slice(bounds[0][axis], None)][:1]
        if not taken:
            raise Refused("it takes nothing")
        if not op.options["shrink_axis_mask"] >> axis & 1:
            kept.append(len(taken))
        offset += taken[0] * stride
        sizes.append(len(taken))
        strides.append(steps[axis] * stride)
    if tuple(kept) != output.shape:
        raise Refused(f"its output is {list(output.shape)} where {kept} is expected")
    return moved(op, ctx, given, output, Move(tuple(sizes), tuple(strides), dense(sizes), offset))


def lower_split(op: Op, ctx: Context) -> list[Call]:
    """SPLIT and SPLIT_V: parts follow one another along a constant axis."""
    data, axis_at = (1, 0) if op.name == "SPLIT" else (0, 2)
    given = ctx.input(op, data)
    axis = axis_of(_integers(op, ctx, axis_at, "axis", 1)[0], len(given.shape))
    outer, inner = math.prod(given.shape[:axis]), math.prod(given.shape[axis + 1 :])
    calls: list[Call] = []
    start = 0
    for index in op.outputs:
        output = ctx.tensor(index)
        length = output.shape[axis] if axis < len(output.shape) else 0
        if output.shape != (*given.shape[:axis], length, *given.shape[axis + 1 :]):
            raise Refused(f"its output {list(output.shape)} is no part of {list(given.shape)}")
        run = length * inner
        move = Move((outer, run), (given.shape[axis] * inner, 1), (run, 1), start * inner)
        calls += moved(op, ctx, given, output, move)
        start += length
    if start != given.shape[axis]:
        raise Refused("its outputs do not add up to its input")
    return calls


def lower_pack(op: Op, ctx: Context) -> list[Call]:
    """PACK: inputs become slices along a new axis."""
    output = ctx.tensor(op.outputs[0])
    axis = axis_of(int(op.options["axis"]), len(output.shape))
    if output.shape[axis] != len(op.inputs):
        raise Refused(f"it packs {len(op.inputs)} inputs along {output.shape[axis]}")
    part = (*output.shape[:axis], *output.shape[axis + 1 :])
    outer, inner = math.prod(output.shape[:axis]), math.prod(output.shape[axis + 1 :])
    calls: list[Call] = []
    for position in range(len(op.inputs)):
        given = ctx.input(op, position)
        if given.shape != part:
            raise Refused(f"its input {list(given.shape)} is no part of {list(output.shape)}")
        strides = (len(op.inputs) * inner, 1)
        move = Move((outer, inner), (inner, 1), strides, 0, position * inner)
        calls += moved(op, ctx, given, output, move)
    return calls


def lower_unpack(op: Op, ctx: Context) -> list[Call]:
    """UNPACK: slices along an axis, which goes away."""
    given = ctx.input(op, 0)
    axis = axis_of(int(op.options["axis"]), len(given.shape))
    if given.shape[axis] != len(op.outputs):
        raise Refused(f"it unpacks {given.shape[axis]} slices to {len(op.outputs)} outputs")
    part = (*given.shape[:axis], *given.shape[axis + 1 :])
    outer, inner = math.prod(given.shape[:axis]), math.prod(given.shape[axis + 1 :])
    calls: list[Call] = []
    for position, index in enumerate(op.outputs):
        output = ctx.tensor(index)
        if output.shape != part:
            raise Refused(f"its output {list(output.shape)} is no part of {list(given.shape)}")
        strides = (len(op.outputs) * inner, 1)
        move = Move((outer, inner), strides, (inner, 1), position * inner)
        calls += moved(op, ctx, given, output, move)
    return calls


def lower_transpose(op: Op, ctx: Context) -> list[Call]:
    """TRANSPOSE by a constant permutation."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rank = len(given.shape)
    order = [p + rank if p < 0 else p for p in _integers(op, ctx, 1, "permutation", rank)]
    if sorted(order) != list(range(rank)):
        raise Refused(f"{order} is no permutation of its {rank} dimensions")
    if output.shape != tuple(given.shape[p] for p in order):
        raise Refused("its output's shape does not fit its permutation")
    strides = dense(given.shape)
    move = Move(output.shape, tuple(strides[p] for p in order), dense(output.shape))
    return moved(op, ctx, given, output, move)


def lower_broadcast_to(op: Op, ctx: Context) -> list[Call]:
    """BROADCAST_TO the output's shape."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if np.broadcast_shapes(given.shape, output.shape) != output.shape:
        raise Refused(f"{list(given.shape)} does not broadcast to {list(output.shape)}")
    shape = (1,) * (len(output.shape) - len(given.shape)) + given.shape
    strides = tuple(0 if d == 1 else s for d, s in zip(shape, dense(shape), strict=True))
    return moved(op, ctx, given, output, Move(output.shape, strides, dense(output.shape)))


def lower_fill(op: Op, ctx: Context) -> list[Call]:
    """FILL with one value."""
    value, output = ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if value.elements != 1:
        raise Refused(f"it fills with {value.elements} values")
    return moved(op, ctx, value, output, Move((output.elements,), (0,), (1,)))


def lower_zeros_like(op: Op, ctx: Context) -> list[Call]:
    """ZEROS_LIKE: 0 whatever the zero point, as in TFLite-Micro."""
    output = ctx.tensor(op.outputs[0])
    if output.dtype not in ("int8", "int32", "int64", "float32"):
        raise Refused(f"neither this engine nor TFLite-Micro has it in {output.dtype}")
    return [filled(op, output, 0)]


def _integers(op: Op, ctx: Context, position: int, what: str, count: int) -> list[int]:
    values = ctx.constant_input(op, position, what).reshape(-1)
    if values.size != count or values.dtype.kind not in "iu":
        raise Refused(f"its {what} holds {values.size} {values.dtype} values, not {count} integers")
    return [int(v) for v in values]
