"""Operators whose indices may be computed: GATHER_ND, EMBEDDING_LOOKUP and parts of tensors.

An index outside its tensor, at which TFLite-Micro stops the inference, takes the nearest inside.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import Context, Refused, scale_of, zero_of
from tinydeploy.compiler.lower.slices import lower_slice
from tinydeploy.compiler.lower.strided import dense, element_bytes
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

_GATHER_DEPTH = 5
_PART_DIMENSIONS = 6


def lower_gather_nd(op: Op, ctx: Context) -> list[Call]:
    """GATHER_ND: the last dimension of the indices names a piece of the input."""
    given, indices, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if given.dtype not in ("int8", "float32") or indices.dtype != "int32":
        raise Refused(f"TFLite-Micro has it of int8 and float32 by int32, not of {given.dtype}")
    depth = indices.shape[-1] if indices.shape else 0
    if not 1 <= depth <= min(_GATHER_DEPTH, len(given.shape)):
        raise Refused(f"its indices name {depth} of {len(given.shape)} dimensions")
    shape = (*indices.shape[:-1], *given.shape[depth:])
    if output.shape != shape or output.dtype != given.dtype:
        raise Refused(f"its output is {list(output.shape)} where {list(shape)} is expected")
    _check(ctx, indices, given.shape[:depth])
    each = element_bytes(given.dtype)
    missing = [0] * (_GATHER_DEPTH - depth)
    params = {
        "count": math.prod(indices.shape[:-1]),
        "depth": depth,
        "bytes": math.prod(given.shape[depth:]) * each,
        "last": [d - 1 for d in given.shape[:depth]] + missing,
        "stride": [s * each for s in dense(given.shape)[:depth]] + missing,
    }
    operands = (ctx.operand(given.index), ctx.operand(indices.index))
    return [_call(op, "td_gather_nd", params, operands, output.index, f"{depth} dimensions")]


def lower_embedding_lookup(op: Op, ctx: Context) -> list[Call]:
    """EMBEDDING_LOOKUP: rows of a table; int8 rows may become floats."""
    indices, table, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if indices.dtype != "int32" or len(indices.shape) != 1 or len(table.shape) < 2:
        raise Refused("its indices are no vector of int32, or its table has no rows")
    types = (table.dtype, output.dtype)
    if types not in (("int8", "int8"), ("float32", "float32"), ("int8", "float32")):
        raise Refused(f"neither this engine nor TFLite-Micro looks {types[0]} up as {types[1]}")
    if output.shape != (*indices.shape, *table.shape[1:]):
        raise Refused("its output's shape does not fit its table")
    _check(ctx, indices, table.shape[:1])
    params = {
        "batches": 1,
        "outer": 1,
        "axis": table.shape[0],
        "count": indices.elements,
        "bytes": math.prod(table.shape[1:]) * element_bytes(table.dtype),
    }
    same = table.dtype == output.dtype
    found = output.index if same else ctx.memory.temporary(output.elements)
    operands = (ctx.operand(table.index), ctx.operand(indices.index))
    calls = [_call(op, "td_gather", params, operands, found, f"{indices.elements} rows")]
    if not same:
        if zero_of(table) != 0:
            raise Refused("its table's zero point is not 0")
        affine = {"elements": output.elements, "scale": scale_of(table), "zero": 0}
        comment = f"{output.elements} elements"
        calls.append(
            _call(op, "td_dequantize_s8", affine, (found,), output.index, comment, "td_affine")
        )
    return calls


def lower_slice_or_computed(op: Op, ctx: Context) -> list[Call]:
    """SLICE, whose begin may be computed: it is moved to fit."""
    given, begin, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if ctx.constant(begin.index) is not None:
        return lower_slice(op, ctx)
    if ctx.constant(ctx.input(op, 2).index) is None:
        raise Refused("its size is computed, but shapes are fixed when a model is compiled")
    if given.dtype != output.dtype or begin.dtype != "int32":
        raise Refused(f"it takes {output.dtype} from {given.dtype} at {begin.dtype}")
    params = _part(given.shape, output.shape, begin.elements, element_bytes(given.dtype))
    operands = (ctx.operand(given.index), begin.index)
    comment = f"{list(output.shape)} of {list(given.shape)}"
    return [_call(op, "td_slice", params, operands, output.index, comment, "td_part")]


def lower_update_slice(op: Op, ctx: Context) -> list[Call]:
    """DYNAMIC_UPDATE_SLICE: a part of the input is replaced; starts are moved to fit."""
    given, update, starts = (ctx.input(op, i) for i in range(3))
    output = ctx.tensor(op.outputs[0])
    if given.dtype not in ("int8", "int16", "int32", "float32"):
        raise Refused(f"neither this engine nor TFLite-Micro has it in {given.dtype}")
    if {update.dtype, output.dtype} != {given.dtype} or output.shape != given.shape:
        raise Refused("its tensors differ in type or shape")
    known = ctx.constant(starts.index)
    where: int | Data = starts.index
    if known is not None:
        where = Data("tables", np.clip(known.reshape(-1), 0, 2**31 - 1).astype(np.int32))
    elif starts.dtype != "int32":
        raise Refused(f"its starts are {starts.dtype}")
    params = _part(given.shape, update.shape, starts.elements, element_bytes(given.dtype))
    operands = (ctx.operand(given.index), ctx.operand(update.index), where)
    return [
        _call(
            op,
            "td_update_slice",
            params,
            operands,
            output.index,
            f"{list(update.shape)} into {list(given.shape)}",
            "td_part",
            in_place=(0,) if update.index != given.index else (),
        )
    ]


def _part(whole: tuple[int, ...], part: tuple[int, ...], starts: int, each: int) -> dict[str, Any]:
    """Initializer of struct td_part; refuses a part that does not lie in the whole."""
    rank, missing = len(whole), _PART_DIMENSIONS - len(whole)
    if not 1 <= rank <= _PART_DIMENSIONS or len(part) != rank or starts != rank:
        raise Refused(f"its part has {len(part)} dimensions and {starts} starts, not {rank}")
    if any(p > w for p, w in zip(part, whole, strict=True)):
        raise Refused(f"its part {list(part)} is larger than {list(whole)}")
    return {
        "bytes": math.prod(whole) * each,
        "run": part[-1] * each,
        "missing": missing,
        "size": [1] * missing + list(part),
        "room": [0] * missing + [w - p for w, p in zip(whole, part, strict=True)],
        "stride": [0] * missing + [s * each for s in dense(whole)],
    }


def _check(ctx: Context, indices: Tensor, sizes: tuple[int, ...]) -> None:
    """Refuses constant indices outside the dimensions that they name, the last of the indices'."""
    known = ctx.constant(indices.index)
    if known is None:
        return
    rows = known.reshape(-1, len(sizes))
    if not ((rows >= 0) & (rows < np.array(sizes))).all():
        raise Refused("an index of it is outside its input")


def _call(
    op: Op,
    kernel: str,
    params: dict[str, Any],
    operands: tuple[int | Data, ...],
    output: int,
    comment: str,
    struct: str = "",
    in_place: tuple[int, ...] = (),
) -> Call:
    return Call(
        kernel=kernel,
        struct=struct or kernel,
        params=params,
        operands=operands,
        output=output,
        op_index=op.index,
        comment=comment,
        in_place=in_place,
    )
