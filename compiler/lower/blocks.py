"""Operators that move blocks of images: DEPTH_TO_SPACE, SPACE_TO_DEPTH, BATCH_TO_SPACE_ND,
SPACE_TO_BATCH_ND, MIRROR_PAD, RESIZE_NEAREST_NEIGHBOR, GATHER and REVERSE_V2.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from tinydeploy.compiler.fixedpoint import round_half_away
from tinydeploy.compiler.lower.context import Context, Refused, u16
from tinydeploy.compiler.lower.slices import axis_of
from tinydeploy.compiler.lower.strided import Move, dense, element_bytes, filled, moved
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor


def lower_depth_space(op: Op, ctx: Context) -> list[Call]:
    """DEPTH_TO_SPACE and SPACE_TO_DEPTH: one copy of (b, y, dy, x, dx, c)."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    block = int(op.options["block_size"])
    deep, wide = (given, output) if op.name == "DEPTH_TO_SPACE" else (output, given)
    if len(deep.shape) != 4 or block < 1:
        raise Refused("it needs images in NHWC and a block of at least 1")
    b, h, w, c = (*deep.shape[:3], deep.shape[3] // (block * block))
    if deep.shape[3] != c * block * block or wide.shape != (b, h * block, w * block, c):
        raise Refused(f"{list(given.shape)} -> {list(output.shape)} does not fit block {block}")
    size = (b, h, block, w, block, c)
    inside_wide = dense((b, h, block, w, block, c))
    s = dense((b, h, w, block, block, c))  # (b, y, x, dy, dx, c) in the deep tensor
    inside_deep = (s[0], s[1], s[3], s[2], s[4], s[5])
    strides = (inside_deep, inside_wide) if deep is given else (inside_wide, inside_deep)
    return moved(op, ctx, given, output, Move(size, *strides))


def lower_batch_space(op: Op, ctx: Context) -> list[Call]:
    """BATCH_TO_SPACE_ND and SPACE_TO_BATCH_ND: one copy for each position in the block."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    to_space = op.name == "BATCH_TO_SPACE_ND"
    many, wide = (given, output) if to_space else (output, given)
    rank = len(given.shape)
    block = ctx.constant_input(op, 1, "block shape").reshape(-1).tolist()
    edges = ctx.constant_input(op, 2, "crops or paddings").reshape(-1, 2).tolist()
    if rank not in (3, 4) or len(output.shape) != rank or len(block) != rank - 2:
        raise Refused("it needs 3 or 4 dimensions, all but the first and last in blocks")
    if len(edges) != len(block) or min(block) < 1 or min(min(e) for e in edges) < 0:
        raise Refused(f"its blocks {block} and edges {edges} make no sense")
    if rank == 3:
        block, edges = [*block, 1], [*edges, [0, 0]]
    n, h, w, c = _images(many)
    batch, height, width, _ = _images(wide)
    fits = (
        n == batch * block[0] * block[1]
        and h * block[0] == height + sum(edges[0])
        and w * block[1] == width + sum(edges[1])
        and _images(wide)[3] == c
    )
    if not fits:
        raise Refused(f"{list(given.shape)} -> {list(output.shape)} does not fit {block}, {edges}")
    covered = all(sum(e) == 0 for e in edges)
    zero = output.zero_points[0] if output.zero_points else 0
    calls = [] if to_space or covered else [filled(op, output, zero)]
    for dy, dx in itertools.product(range(block[0]), range(block[1])):
        y0, rows = _span(dy - edges[0][0], block[0], h, height)
        x0, columns = _span(dx - edges[1][0], block[1], w, width)
        if rows < 1 or columns < 1:
            continue
        y, x = y0 * block[0] + dy - edges[0][0], x0 * block[1] + dx - edges[1][0]
        in_many = ((dy * block[1] + dx) * batch * h * w + y0 * w + x0) * c
        in_wide = (y * width + x) * c
        many_stride = (h * w * c, w * c, c, 1)
        wide_stride = (height * width * c, block[0] * width * c, block[1] * c, 1)
        size = (batch, rows, columns, c)
        move = (
            Move(size, many_stride, wide_stride, in_many, in_wide)
            if to_space
            else Move(size, wide_stride, many_stride, in_wide, in_many)
        )
        calls += moved(op, ctx, given, output, move)
    return calls


def _span(shift: int, block: int, count: int, limit: int) -> tuple[int, int]:
    """First i and number of the i in [0, count) with i * block + shift inside [0, limit)."""
    first = max(0, -(shift // block))
    last = min(count - 1, (limit - 1 - shift) // block)
    return first, last - first + 1


def _images(tensor: Tensor) -> tuple[int, int, int, int]:
    """The shape as NHWC; the reference takes 3 dimensions for images of width 1."""
    shape = tensor.shape
    return (shape[0], shape[1], 1, shape[2]) if len(shape) == 3 else shape  # type: ignore[return-value]


def lower_mirror_pad(op: Op, ctx: Context) -> list[Call]:
    """MIRROR_PAD: along each dimension a mirrored part, the input, and a mirrored part."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    paddings = ctx.constant_input(op, 1, "paddings").reshape(-1, 2).tolist()
    skip = 1 if int(op.options["mode"]) == 0 else 0  # REFLECT leaves out the border itself
    if len(paddings) != len(given.shape):
        raise Refused("its paddings do not fit its input")
    parts = []
    for d, (before, after) in zip(given.shape, paddings, strict=True):
        if not (0 <= before <= d - skip and 0 <= after <= d - skip):
            raise Refused(f"it pads {before} and {after} beside a dimension of {d}")
        # (first in the input, first in the output, how many, step in the input)
        all_parts = (
            (before - 1 + skip, 0, before, -1),
            (0, before, d, 1),
            (d - 1 - skip, before + d, after, -1),
        )
        parts.append([p for p in all_parts if p[2] > 0])
    expected = tuple(d + sum(p) for d, p in zip(given.shape, paddings, strict=True))
    if output.shape != expected:
        raise Refused("its output's shape does not fit its paddings")
    ins, outs = dense(given.shape), dense(output.shape)
    calls: list[Call] = []
    for chosen in itertools.product(*parts):
        move = Move(
            tuple(p[2] for p in chosen),
            tuple(p[3] * s for p, s in zip(chosen, ins, strict=True)),
            outs,
            sum(p[0] * s for p, s in zip(chosen, ins, strict=True)),
            sum(p[1] * s for p, s in zip(chosen, outs, strict=True)),
        )
        calls += moved(op, ctx, given, output, move)
    return calls


def lower_reverse(op: Op, ctx: Context) -> list[Call]:
    """REVERSE_V2 along constant axes."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rank = len(given.shape)
    axes = {axis_of(int(a), rank) for a in ctx.constant_input(op, 1, "axes").reshape(-1)}
    if output.shape != given.shape:
        raise Refused("its output has another shape than its input")
    strides = dense(given.shape)
    turned = tuple(-s if i in axes else s for i, s in enumerate(strides))
    offset = sum((given.shape[i] - 1) * strides[i] for i in axes)
    return moved(op, ctx, given, output, Move(given.shape, turned, strides, offset))


def lower_gather(op: Op, ctx: Context) -> list[Call]:
    """GATHER along one axis, with batch dimensions; indices are int32 and may be constant."""
    given, indices, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    axis = axis_of(int(op.options["axis"]), len(given.shape))
    batch_dims = int(op.options.get("batch_dims", 0))
    batch_dims += len(indices.shape) if batch_dims < 0 else 0
    if indices.dtype != "int32" or given.dtype != output.dtype:
        raise Refused("it needs int32 indices and an output of the input's type")
    if not 0 <= batch_dims <= min(axis, len(indices.shape)):
        raise Refused(f"it has {batch_dims} batch dimensions")
    shape = (*given.shape[:axis], *indices.shape[batch_dims:], *given.shape[axis + 1 :])
    if output.shape != shape or given.shape[:batch_dims] != indices.shape[:batch_dims]:
        raise Refused(f"its output is {list(output.shape)} where {list(shape)} is expected")
    known = ctx.constant(indices.index)
    if known is not None and not (known.min() >= 0 and known.max() < given.shape[axis]):
        raise Refused("an index of it is outside its input")
    inner = math.prod(given.shape[axis + 1 :])
    return [
        Call(
            kernel="td_gather",
            struct="td_gather",
            params={
                "batches": math.prod(given.shape[:batch_dims]),
                "outer": math.prod(given.shape[batch_dims:axis]),
                "axis": given.shape[axis],
                "count": math.prod(indices.shape[batch_dims:]),
                "bytes": inner * element_bytes(given.dtype),
            },
            operands=(ctx.operand(given.index), ctx.operand(indices.index)),
            output=output.index,
            op_index=op.index,
            comment=f"axis {axis}",
        )
    ]


def lower_resize_nearest(op: Op, ctx: Context) -> list[Call]:
    """RESIZE_NEAREST_NEIGHBOR: rows and columns are looked up."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    corners, centers = bool(op.options["align_corners"]), bool(op.options["half_pixel_centers"])
    check_resize(op, ctx)
    pixel = given.shape[3] * element_bytes(given.dtype)
    rows = [
        _nearest(i, given.shape[1], output.shape[1], corners, centers) for i in _range(output, 1)
    ]
    columns = [
        _nearest(i, given.shape[2], output.shape[2], corners, centers) for i in _range(output, 2)
    ]
    row = given.shape[2] * pixel
    return [
        Call(
            kernel="td_pick",
            struct="td_pick",
            params={
                **u16(batches=given.shape[0], out_h=output.shape[1], out_w=output.shape[2]),
                "image_bytes": given.shape[1] * row,
                "pixel_bytes": pixel,
                "rows": Data("tables", np.array(rows, np.uint32) * np.uint32(row)),
                "columns": Data("tables", np.array(columns, np.uint32) * np.uint32(pixel)),
            },
            operands=(ctx.operand(given.index),),
            output=output.index,
            op_index=op.index,
            comment=f"{list(given.shape)} -> {list(output.shape)}",
        )
    ]


def check_resize(op: Op, ctx: Context) -> None:
    """Refuses what is not images of equal batches, channels and type, to a constant size."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    size = ctx.constant_input(op, 1, "size").reshape(-1).tolist()
    if len(given.shape) != 4 or output.shape != (given.shape[0], *size, given.shape[3]):
        raise Refused(f"{list(given.shape)} -> {list(output.shape)} does not fit the size {size}")
    if given.dtype != output.dtype:
        raise Refused(f"its input is {given.dtype} but its output {output.dtype}")


def _range(tensor: Tensor, axis: int) -> range:
    return range(tensor.shape[axis])


def _nearest(i: int, size: int, out: int, corners: bool, centers: bool) -> int:
    """The input position of output position i, in single precision as the reference."""
    f32 = np.float32
    scale = f32(size - 1) / f32(out - 1) if corners and out > 1 else f32(size) / f32(out)
    at = float((f32(i) + f32(0.5 if centers else 0.0)) * scale)
    return max(0, min(round_half_away(at) if corners else math.floor(at), size - 1))
