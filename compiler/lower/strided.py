"""Strided copies: how an operator that only moves becomes calls of td_strided, or a view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinydeploy.compiler.lower.context import Context, Refused, u16
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor
from tinydeploy.graph_stats import DTYPE_BITS

_DIMENSIONS = 6
_MOVABLE = ("int8", "int16", "float32", "int32", "uint8", "bool", "int64")


@dataclass(frozen=True)
class Move:
    """Copy elements in nested loops; strides and offsets in elements, one stride a loop."""

    size: tuple[int, ...]
    in_stride: tuple[int, ...]
    out_stride: tuple[int, ...]
    in_offset: int = 0
    out_offset: int = 0


def dense(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a dense tensor, in elements."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))


def element_bytes(dtype: str) -> int:
    """Bytes of an element that can be moved; refuses other types."""
    if dtype not in _MOVABLE:
        raise Refused(f"the engine does not move {dtype}")
    return DTYPE_BITS[dtype] // 8


def moved(op: Op, ctx: Context, given: Tensor, output: Tensor, move: Move) -> list[Call]:
    """The call of one move; none where the output is the first input's bytes as they are."""
    if given.dtype != output.dtype:
        raise Refused(f"its input is {given.dtype} but its output {output.dtype}")
    elements = math.prod(move.size)
    joined = _joined(move)
    is_view = (
        elements == given.elements == output.elements
        and not joined.size
        and move.in_offset == move.out_offset == 0
        and (given.index, output.index) == (op.inputs[0], op.outputs[0])
        and ctx.constant(given.index) is None
    )
    if is_view:
        return []
    return [call(op, ctx.operand(given.index), output, move, f"{elements} elements")]


def call(op: Op, source: int | Data, output: Tensor, move: Move, comment: str) -> Call:
    """td_strided for a move from any operand."""
    joined = _joined(move)
    each = element_bytes(output.dtype)
    run = math.prod(move.size) // math.prod(joined.size)
    if len(joined.size) > _DIMENSIONS:
        raise Refused("it moves along too many dimensions")
    missing = _DIMENSIONS - len(joined.size)
    sizes = [1] * missing + list(joined.size)
    u16(**{f"dimension_{i}": s for i, s in enumerate(sizes)})
    in_stride = [0] * missing + [s * each for s in joined.in_stride]
    out_stride = [0] * missing + [s * each for s in joined.out_stride]
    # Offsets and strides are whole elements, so a run of one element is aligned to its size.
    unit = each if run == 1 and each <= 4 else 0
    return Call(
        kernel="td_strided",
        struct="td_strided",
        params={
            "size": sizes,
            "in_stride": in_stride,
            "out_stride": out_stride,
            "in_offset": move.in_offset * each,
            "bytes": run * each,
            "unit": unit,
        },
        operands=(source,),
        output=output.index,
        op_index=op.index,
        comment=comment,
        output_offset_bytes=move.out_offset * each,
    )


def filled(op: Op, output: Tensor, value: int) -> Call:
    """A call that sets every element of the output to an integer, from one in flash."""
    dtype = np.uint8 if output.dtype == "bool" else np.dtype(output.dtype)
    data = Data("tables", np.array([value], dtype))
    move = Move((output.elements,), (0,), (1,))
    return call(op, data, output, move, f"fill {output.elements} elements")


def join(size: Sequence[int], *strides: Sequence[int]) -> list[tuple[int, tuple[int, ...]]]:
    """Nested loops (size, the strides of each operand) as the fewest loops of at most 16 bits."""
    loops: list[tuple[int, tuple[int, ...]]] = []
    for n, *steps in zip(size, *strides, strict=True):
        if n == 1:
            continue
        if loops and loops[-1][1] == tuple(s * n for s in steps):
            loops[-1] = (loops[-1][0] * n, tuple(steps))
        else:
            loops.append((n, tuple(steps)))
    return [part for loop in loops for part in _short(*loop)]


def _joined(move: Move) -> Move:
    """The same move in the fewest loops, without the innermost one where it is one dense run."""
    loops = join(move.size, move.in_stride, move.out_stride)
    if loops and loops[-1][1] == (1, 1):
        loops.pop()
    return Move(
        tuple(n for n, _ in loops),
        tuple(steps[0] for _, steps in loops),
        tuple(steps[1] for _, steps in loops),
        move.in_offset,
        move.out_offset,
    )


def _short(size: int, strides: tuple[int, ...]) -> list[tuple[int, tuple[int, ...]]]:
    """A loop over 16 bits as two, where that is possible."""
    if size <= 0xFFFF:
        return [(size, strides)]
    inner = next((d for d in range(0xFFFF, 1, -1) if size % d == 0), 1)
    return [(size // inner, tuple(s * inner for s in strides)), (inner, strides)]
