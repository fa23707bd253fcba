"""ADD and MUL, with broadcasting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydeploy.compiler.lower.context import (
    SUFFIX,
    Context,
    Refused,
    activation_limits,
    activation_range,
    factor,
    scale_of,
    u16,
    zero_of,
)
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op

_DIMENSIONS = 4


def lower_add(op: Op, ctx: Context) -> list[Call]:
    """ADD: both operands are brought to twice the larger scale, with headroom, then summed."""
    dtype = ctx.data_type(op, 0, 1)
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if dtype == "float32":
        return [_call_f32(op, ctx, "td_add_f32")]
    left_shift = 20 if dtype == "int8" else 15
    common = 2 * max(scale_of(a), scale_of(b))
    factors = {
        "a": factor(scale_of(a) / common),
        "b": factor(scale_of(b) / common),
        "out": factor(common / ((1 << left_shift) * scale_of(output))),
    }
    if factors["out"].shift > 0:
        raise Refused("its output's scale is far below its inputs'")
    low, high = activation_range(op.options["fused_activation_function"], output)
    params = {
        "a_zero": zero_of(a),
        "b_zero": zero_of(b),
        "out_zero": zero_of(output),
        "out_min": low,
        "out_max": high,
        "left_shift": left_shift,
        **{f"{name}_down": f.down for name, f in factors.items()},
        **{f"{name}_multiplier": f.multiplier for name, f in factors.items()},
    }
    return [_call(op, ctx, f"td_add_{SUFFIX[dtype]}", "td_add_int", params)]


def lower_mul(op: Op, ctx: Context) -> list[Call]:
    """MUL."""
    dtype = ctx.data_type(op, 0, 1)
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if dtype == "float32":
        return [_call_f32(op, ctx, "td_mul_f32")]
    exact = factor(scale_of(a) * scale_of(b) / scale_of(output))
    low, high = activation_range(op.options["fused_activation_function"], output)
    params = {
        "a_zero": zero_of(a),
        "b_zero": zero_of(b),
        "out_zero": zero_of(output),
        "out_min": low,
        "out_max": high,
        "down": exact.down,
        "multiplier": exact.multiplier,
    }
    return [_call(op, ctx, f"td_mul_{SUFFIX[dtype]}", "td_mul_int", params)]


def _call_f32(op: Op, ctx: Context, kernel: str) -> Call:
    low, high = activation_limits(op.options["fused_activation_function"])
    return _call(op, ctx, kernel, "td_binary_f32", {"out_min": low, "out_max": high})


def _call(
    op: Op, ctx: Context, kernel: str, struct: str, params: Mapping[str, int | float]
) -> Call:
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    shape = broadcast(a.shape, b.shape, output.shape)
    return Call(
        kernel=kernel,
        struct=struct,
        params={"shape": shape, **params},
        operands=(ctx.operand(a.index), ctx.operand(b.index)),
        output=output.index,
        op_index=op.index,
        comment=f"{output.elements} elements",
        # An operand that is repeated is read again behind the place where it was overwritten.
        in_place=tuple(i for i, t in enumerate((a, b)) if t.elements == output.elements),
    )


def broadcast(
    a: tuple[int, ...], b: tuple[int, ...], output: tuple[int, ...]
) -> dict[str, list[int]]:
    """Initializer of struct td_broadcast; neighbouring dimensions that behave alike are joined.

    Refuses shapes that do not broadcast to the output's, or need more than four dimensions.
    """
    try:
        expected = np.broadcast_shapes(a, b)
    except ValueError as error:
        raise Refused(f"the shapes {list(a)} and {list(b)} do not broadcast") from error
    if expected != output:
        raise Refused(f"its output is {list(output)} where {list(expected)} is expected")
    rank = len(output)
    long_a, long_b = (1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b
    sizes: list[int] = []
    repeats: list[tuple[bool, bool]] = []  # whether a, b are repeated along a joined dimension
    for size, in_a, in_b in zip(output, long_a, long_b, strict=True):
        if size == 1:
            continue
        repeated = (in_a == 1, in_b == 1)
        if repeats and repeats[-1] == repeated:
            sizes[-1] *= size
        else:
            sizes.append(size)
            repeats.append(repeated)
    if len(sizes) > _DIMENSIONS:
        raise Refused("it broadcasts along too many dimensions")
    sizes, repeats = _split_long(sizes, repeats)
    missing = _DIMENSIONS - len(sizes)
    sizes = [1] * missing + sizes
    repeats = [(False, False)] * missing + repeats
    u16(**{f"dimension_{i}": size for i, size in enumerate(sizes)})
    return {
        "size": sizes,
        "a_stride": _strides(sizes, [r[0] for r in repeats]),
        "b_stride": _strides(sizes, [r[1] for r in repeats]),
    }


def _split_long(
    sizes: list[int], repeats: list[tuple[bool, bool]]
) -> tuple[list[int], list[tuple[bool, bool]]]:
    """Dimensions over 16 bits as products of two, where that is possible."""
    out_sizes: list[int] = []
    out_repeats: list[tuple[bool, bool]] = []
    for size, repeat in zip(sizes, repeats, strict=True):
        factors = [size]
        if size > 0xFFFF:
            divisor = next((d for d in range(0xFFFF, 1, -1) if size % d == 0), 1)
            factors = [size // divisor, divisor]
        out_sizes += factors
        out_repeats += [repeat] * len(factors)
    if len(out_sizes) > _DIMENSIONS:
        raise Refused("it broadcasts along too many dimensions")
    return out_sizes, out_repeats


def _strides(sizes: list[int], repeated: list[bool]) -> list[int]:
    strides, step = [0] * len(sizes), 1
    for i in range(len(sizes) - 1, -1, -1):
        if not repeated[i]:
            strides[i] = step
            step *= sizes[i]
    return strides
