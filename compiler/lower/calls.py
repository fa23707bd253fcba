"""Calls of kernels that compute element by element."""

from __future__ import annotations

from collections.abc import Mapping

from tinydeploy.compiler.lower.arithmetic import broadcast
from tinydeploy.compiler.lower.context import Context, Refused
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op


def unary(
    op: Op, ctx: Context, kernel: str, params: Mapping[str, object], struct: str = ""
) -> Call:
    """A call with one operand, which it may overwrite. The struct has the kernel's name if none
    is given; `elements` is filled in.
    """
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.elements != output.elements:
        raise Refused("its input and output differ in size")
    return Call(
        kernel=kernel,
        struct=struct or kernel,
        params={"elements": output.elements, **params},
        operands=(ctx.operand(given.index),),
        output=output.index,
        op_index=op.index,
        comment=f"{output.elements} elements",
        in_place=(0,) if given.dtype == output.dtype else (),
    )


def binary(op: Op, ctx: Context, kernel: str, struct: str, params: Mapping[str, object]) -> Call:
    """A call with two operands, broadcast; it may overwrite one that is as large as the output."""
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    return Call(
        kernel=kernel,
        struct=struct,
        params={"shape": broadcast(a.shape, b.shape, output.shape), **params},
        operands=(ctx.operand(a.index), ctx.operand(b.index)),
        output=output.index,
        op_index=op.index,
        comment=f"{output.elements} elements",
        # An operand that is repeated is read again behind the place where it was overwritten, and
        # one of another type is not read as fast as the output is written.
        in_place=tuple(
            i
            for i, t in enumerate((a, b))
            if t.elements == output.elements and t.dtype == output.dtype
        ),
    )
