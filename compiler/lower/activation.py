"""SOFTMAX, LOGISTIC, RELU, RELU6, QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import math

from tinydeploy.compiler.fixedpoint import (
    float32_ratio,
    input_radius,
    logistic_table,
    round_half_away,
)
from tinydeploy.compiler.lower.context import (
    LIMITS,
    SUFFIX,
    Context,
    Refused,
    factor,
    scale_of,
    zero_of,
)
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op

_DIFFERENCE_BITS = 5  # integer bits of the scaled differences in SOFTMAX


def lower_softmax(op: Op, ctx: Context) -> list[Call]:
    """SOFTMAX over the last dimension; the output must have scale 1/256 and zero point -128."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if not given.shape:
        raise Refused("its input is a scalar")
    _demand_output(output.scales, output.zero_points, 1 / 256, -128)
    beta = float(op.options.get("beta", 1.0))
    scaled = beta * scale_of(given) * 2 ** (31 - _DIFFERENCE_BITS)
    if not scaled > 1:
        raise Refused("its input's scale times beta is too small")
    exact = factor(min(scaled, 2.0**31 - 1))
    params = {
        "rows": given.elements // given.shape[-1],
        "depth": given.shape[-1],
        "multiplier": exact.multiplier,
        "left_shift": exact.shift,
        "diff_min": -input_radius(_DIFFERENCE_BITS, exact.shift),
    }
    return [_unary(op, ctx, f"td_softmax_{SUFFIX[dtype]}", f"td_softmax_{SUFFIX[dtype]}", params)]


def lower_logistic(op: Op, ctx: Context) -> list[Call]:
    """LOGISTIC: of int8 there are only 256 cases, so it is a table."""
    ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    _demand_output(output.scales, output.zero_points, 1 / 256, -128)
    table = logistic_table(scale_of(given), zero_of(given))
    params = {"elements": given.elements, "table": Data("tables", table)}
    return [_unary(op, ctx, "td_lookup_s8", "td_lookup_s8", params)]


def lower_relu(op: Op, ctx: Context) -> list[Call]:
    """RELU, which may change the scale."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    exact = factor(float32_ratio(scale_of(given), scale_of(output)))
    low, high = LIMITS[dtype]
    params = {
        "elements": given.elements,
        "multiplier": exact.multiplier,
        "in_zero": zero_of(given),
        "out_zero": zero_of(output),
        "out_min": max(low, zero_of(output)),
        "out_max": high,
        "down": exact.down,
    }
    return [_unary(op, ctx, f"td_requantize_{SUFFIX[dtype]}", "td_requantize", params)]


def lower_relu6(op: Op, ctx: Context) -> list[Call]:
    """RELU6: a clamp on the input's scale, which the reference takes for the output's."""
    dtype = ctx.data_type(op)
    given = ctx.input(op, 0)
    low, high = LIMITS[dtype]
    six = zero_of(given) + round_half_away(float32_ratio(6.0, scale_of(given)))
    params = {
        "elements": given.elements,
        "out_min": max(low, zero_of(given)),
        "out_max": min(high, six),
    }
    return [_unary(op, ctx, f"td_clamp_{SUFFIX[dtype]}", "td_clamp_int", params)]


def lower_quantize(op: Op, ctx: Context) -> list[Call]:
    """QUANTIZE from integers to integers of another scale."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    exact = factor(scale_of(given) / scale_of(output))
    low, high = LIMITS[dtype]
    params = {
        "elements": given.elements,
        "multiplier": exact.multiplier,
        "in_zero": zero_of(given),
        "out_zero": zero_of(output),
        "out_min": low,
        "out_max": high,
        "down": exact.down,
    }
    return [_unary(op, ctx, f"td_requantize_{SUFFIX[dtype]}", "td_requantize", params)]


def _unary(op: Op, ctx: Context, kernel: str, struct: str, params: dict[str, object]) -> Call:
    """A call that reads and writes element by element, so that it may write in place."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.elements != output.elements:
        raise Refused("its input and output differ in size")
    return Call(
        kernel=kernel,
        struct=struct,
        params=params,
        operands=(ctx.operand(given.index),),
        output=output.index,
        op_index=op.index,
        comment=f"{output.elements} elements",
        in_place=(0,) if given.dtype == output.dtype else (),
    )


def _demand_output(
    scales: tuple[float, ...], zero_points: tuple[int, ...], scale: float, zero: int
) -> None:
    if len(scales) != 1 or not math.isclose(scales[0], scale, rel_tol=1e-6):
        raise Refused(f"its output's scale is not {scale}")
    if zero_points[0] != zero:
        raise Refused(f"its output's zero point is not {zero}")
