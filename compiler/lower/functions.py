"""Operators with one operand, element by element: tables for int8, kernels for the rest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinydeploy.compiler.fixedpoint import Factor
from tinydeploy.compiler.lower.activation import logistic_factor
from tinydeploy.compiler.lower.calls import unary
from tinydeploy.compiler.lower.context import Context, Refused, factor, scale_of, zero_of
from tinydeploy.compiler.lower.curves import (
    abs_table,
    elu_table,
    hard_swish_table,
    leaky_factors,
    leaky_relu_table,
    rsqrt_table,
    tanh_table,
)
from tinydeploy.compiler.lower.tables import logistic_table_s16
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

_TABLES: dict[str, Callable[[Tensor, Tensor], np.ndarray]] = {
    "ABS": abs_table,
    "ELU": elu_table,
    "HARD_SWISH": hard_swish_table,
    "RSQRT": rsqrt_table,
    "TANH": tanh_table,
}
_UNIT = Factor(1 << 30, 1)


def lower_function(op: Op, ctx: Context) -> list[Call]:
    """ABS, CEIL, COS, ELU, EXP, FLOOR, HARD_SWISH, LOG, NEG, ROUND, RSQRT, SIN, SQRT and more."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if dtype == "float32":
        return [unary(op, ctx, f"td_{op.name.lower()}_f32", {}, "td_elements")]
    if dtype == "int8" and op.name in _TABLES:
        return [lookup(op, ctx, _TABLES[op.name](given, output))]
    if dtype == "int16" and op.name == "TANH":
        return [_tanh_s16(op, ctx)]
    if dtype == "int16" and op.name == "RSQRT":
        return [_rsqrt_s16(op, ctx)]
    if dtype == "int16" and op.name == "ABS":
        exact = _UNIT
        if given.scales and scale_of(given) != scale_of(output):
            exact = factor(scale_of(given) / scale_of(output))
        return [_two_slopes(op, ctx, exact, exact, -1)]
    raise Refused(f"neither this engine nor TFLite-Micro has it in {dtype}")


def lower_leaky_relu(op: Op, ctx: Context) -> list[Call]:
    """LEAKY_RELU."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    alpha = float(op.options["alpha"])
    if not np.isfinite(alpha):
        raise Refused(f"its slope is {alpha}")
    if dtype == "float32":
        return [unary(op, ctx, "td_leaky_relu_f32", {"alpha": alpha}, "td_leaky_f32")]
    if dtype == "int8":
        return [lookup(op, ctx, leaky_relu_table(given, output, alpha))]
    zero_of(given), zero_of(output)
    return [_two_slopes(op, ctx, *leaky_factors(given, output, alpha))]


def lookup(op: Op, ctx: Context, table: np.ndarray) -> Call:
    """A function of int8 by its table."""
    return unary(op, ctx, "td_lookup_s8", {"table": Data("tables", table)})


def _tanh_s16(op: Op, ctx: Context) -> Call:
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if abs(scale_of(output) * 32768 - 1) > 1e-3 or zero_of(output) != 0:
        raise Refused("its output's scale and zero point are not 1/32768 and 0")
    zero_of(given)
    multiplier, shift = logistic_factor(scale_of(given), tanh=True)
    table = Data("tables", logistic_table_s16())
    params = {"multiplier": multiplier, "shift": shift, "table": table}
    return unary(op, ctx, "td_tanh_s16", params, "td_logistic_s16")


def _rsqrt_s16(op: Op, ctx: Context) -> Call:
    """RSQRT of int16, whose zero points are 0; the root has 20 bits behind the point."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    zero_of(given), zero_of(output)
    root = float(np.sqrt(np.float32(scale_of(given))))
    exact = factor(1 / (root * scale_of(output)))
    exact = Factor(exact.multiplier, exact.shift - 20)
    params = {"multiplier": exact.multiplier, "down": exact.down}
    return unary(op, ctx, "td_rsqrt_s16", params)


def _two_slopes(op: Op, ctx: Context, positive: Factor, negative: Factor, sign: int) -> Call:
    params = {
        "positive": positive.multiplier,
        "negative": negative.multiplier,
        "positive_down": positive.down,
        "negative_down": negative.down,
        "sign": sign,
    }
    return unary(op, ctx, "td_two_slopes_s16", params)


def lower_cast(op: Op, ctx: Context) -> list[Call]:
    """CAST; between two narrow types through int32. Of one type it is a view."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.elements != output.elements:
        raise Refused("its input and output differ in size")
    names = {"int8": "s8", "int16": "s16", "int32": "i32", "float32": "f32", "bool": "u8"}
    a, b = names.get(given.dtype), names.get(output.dtype)
    if a is None or b is None or b == "u8":
        raise Refused(f"neither this engine nor TFLite-Micro casts {given.dtype} to {output.dtype}")
    if a == b and ctx.constant(given.index) is None:
        return []
    if "i32" in (a, b):
        return [_cast(op, ctx.operand(given.index), output.index, f"{a}_{b}", output.elements)]
    wide = ctx.memory.temporary(4 * output.elements)
    return [
        _cast(op, ctx.operand(given.index), wide, f"{a}_i32", output.elements),
        _cast(op, wide, output.index, f"i32_{b}", output.elements),
    ]


def _cast(op: Op, source: int | Data, output: int, types: str, elements: int) -> Call:
    return Call(
        kernel=f"td_cast_{types}",
        struct="td_elements",
        params={"elements": elements},
        operands=(source,),
        output=output,
        op_index=op.index,
        comment=f"{elements} elements",
    )
