"""BATCH_MATMUL and RESIZE_BILINEAR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.blocks import check_resize
from tinydeploy.compiler.lower.context import (
    SUFFIX,
    Context,
    Refused,
    factor,
    scale_of,
    u16,
    zero_of,
)
from tinydeploy.compiler.lower.strided import dense, join
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op

_BATCH_LOOPS = 3
_FINE = 1024  # weights of int8 pixels are in 1/1024


def lower_batch_matmul(op: Op, ctx: Context) -> list[Call]:
    """BATCH_MATMUL of two tensors, either transposed, batches broadcast."""
    dtype = ctx.data_type(op, 0, 1)
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if min(len(a.shape), len(b.shape)) < 2:
        raise Refused("its inputs are not matrices")
    (rows, depth), (a_row, a_column) = _matrix(a.shape, bool(op.options["adj_x"]))
    (b_depth, columns), (b_row, b_column) = _matrix(b.shape, bool(op.options["adj_y"]))
    batches = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if depth != b_depth or output.elements != math.prod(batches) * rows * columns:
        raise Refused(f"{list(a.shape)} by {list(b.shape)} does not give {list(output.shape)}")
    a_batch = _batch_strides(a.shape, len(batches))
    b_batch = _batch_strides(b.shape, len(batches))
    loops = join(batches, a_batch, b_batch)
    if len(loops) > _BATCH_LOOPS:
        raise Refused("its batches broadcast along too many dimensions")
    missing = _BATCH_LOOPS - len(loops)
    shape: dict[str, Any] = {
        "batches": [1] * missing + [n for n, _ in loops],
        "a_batch": [0] * missing + [steps[0] for _, steps in loops],
        "b_batch": [0] * missing + [steps[1] for _, steps in loops],
        "rows": rows,
        "columns": columns,
        "depth": depth,
        "a_row": a_row,
        "a_column": a_column,
        "b_row": b_row,
        "b_column": b_column,
    }
    params: dict[str, Any] = {"shape": shape}
    if dtype != "float32":
        product = np.float32(scale_of(a)) * np.float32(scale_of(b))
        exact = factor(float(product) / scale_of(output))
        zeros = {"a_zero": zero_of(a), "b_zero": zero_of(b), "out_zero": zero_of(output)}
        params |= {**zeros, "multiplier": exact.multiplier, "down": exact.down}
        if dtype == "int8" and depth >= 1 << 15:
            raise Refused("its sums can exceed 32 bits")
        if dtype == "int16":
            if exact.shift > 7:
                raise Refused("its factor is too large for int16 outputs")
            rounded = (exact.multiplier + (1 << 15)) >> 16
            params["multiplier"] = min(rounded, 0x7FFF)
            params["down"] = 15 - exact.shift
    struct = "td_batch_matmul_f32" if dtype == "float32" else "td_batch_matmul_int"
    return [
        Call(
            kernel=f"td_batch_matmul_{SUFFIX[dtype]}",
            struct=struct,
            params=params,
            operands=(ctx.operand(a.index), ctx.operand(b.index)),
            output=output.index,
            op_index=op.index,
            comment=f"{rows}x{depth} by {depth}x{columns}",
        )
    ]


def _matrix(shape: tuple[int, ...], turned: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns of the last two dimensions and their strides, transposed if wanted."""
    rows, columns = shape[-2:]
    return ((columns, rows), (1, columns)) if turned else ((rows, columns), (columns, 1))


def _batch_strides(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    batches, strides = shape[:-2], dense(shape)[:-2]
    steps = tuple(0 if d == 1 else s for d, s in zip(batches, strides, strict=True))
    return (0,) * (rank - len(steps)) + steps


def lower_resize_bilinear(op: Op, ctx: Context) -> list[Call]:
    """RESIZE_BILINEAR: which rows and columns to mix, and how, is tabulated."""
    dtype = ctx.data_type(op)
    check_resize(op, ctx)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    corners, centers = bool(op.options["align_corners"]), bool(op.options["half_pixel_centers"])
    if dtype == "int16" or (corners and centers):
        raise Refused("TFLite-Micro has it of int8 and float32, not with both options set")
    u16(**{f"dimension_{i}": d for i, d in enumerate(given.shape)})
    if max(given.shape[1:3]) > 0x7FFF:
        raise Refused("its input is too large")
    params: dict[str, Any] = u16(
        batches=given.shape[0],
        in_h=given.shape[1],
        in_w=given.shape[2],
        out_h=output.shape[1],
        out_w=output.shape[2],
        channels=given.shape[3],
    )
    for axis, name, weights in ((1, "rows", "row_weights"), (2, "columns", "column_weights")):
        size, out = given.shape[axis], output.shape[axis]
        if dtype == "int8":
            mixed = [_mix_s8(i, size, out, corners, centers) for i in range(out)]
            params[name] = Data("tables", np.array(mixed, np.int16))
        else:
            between = [_mix_f32(i, size, out, corners, centers) for i in range(out)]
            params[name] = Data("tables", np.array([m[:2] for m in between], np.int16))
            params[weights] = Data("tables", np.array([m[2] for m in between], np.float32))
    name = f"td_bilinear_{SUFFIX[dtype]}"
    return [
        Call(
            kernel=name,
            struct=name,
            params=params,
            operands=(ctx.operand(given.index),),
            output=output.index,
            op_index=op.index,
            comment=f"{list(given.shape)} -> {list(output.shape)}",
        )
    ]


def _mix_s8(i: int, size: int, out: int, corners: bool, centers: bool) -> tuple[int, int, int]:
    """The two input positions of output position i, and the second's weight in 1/1024."""
    scale = (_FINE * size + out // 2) // out
    if corners and out > 1:
        scale = (_FINE * (size - 1) + (out - 1) // 2) // (out - 1)
    at = i * scale + (scale // 2 - _FINE // 2 if centers else 0)
    lower = min(max(at // _FINE, 0), size - 1)
    upper = min(max(-(-at // _FINE), 0), size - 1)
    return lower, upper, at - _FINE * lower


def _mix_f32(i: int, size: int, out: int, corners: bool, centers: bool) -> tuple[int, int, float]:
    """The same in single precision."""
    f32 = np.float32
    scale = f32(size - 1) / f32(out - 1) if corners and out > 1 else f32(size) / f32(out)
    at = (f32(i) + f32(0.5)) * scale - f32(0.5) if centers else f32(i) * scale
    lower = min(max(math.floor(at), 0), size - 1)
    upper = min(max(math.ceil(at), 0), size - 1)
    return lower, upper, float(at - f32(lower))
