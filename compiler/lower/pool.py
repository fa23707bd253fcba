"""AVERAGE_POOL_2D, MAX_POOL_2D and MEAN."""

from __future__ import annotations

import math
from itertools import groupby

from tinydeploy.compiler.fixedpoint import Factor
from tinydeploy.compiler.lower.context import (
    SUFFIX,
    Context,
    Refused,
    activation_limits,
    activation_range,
    factor,
    scale_of,
    sum_fits,
    zero_of,
)
from tinydeploy.compiler.lower.window import window
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op


def lower_pool(op: Op, ctx: Context) -> list[Call]:
    """Pooling; scales must be equal, as in the reference."""
    dtype = ctx.data_type(op)
    w = window(op, ctx, (op.options["filter_height"], op.options["filter_width"]))
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if w["in_c"] != w["out_c"]:
        raise Refused("its input and output differ in channels")
    activation = op.options["fused_activation_function"]
    low: float
    high: float
    if dtype == "float32":
        low, high = activation_limits(activation)
    elif abs(scale_of(given) - scale_of(output)) > 1e-6 or zero_of(given) != zero_of(output):
        raise Refused("its input and output differ in scale")
    else:
        sum_fits(w["k_h"] * w["k_w"], dtype)
        low, high = activation_range(activation, output)
    kind = "average" if op.name == "AVERAGE_POOL_2D" else "max"
    return [
        Call(
            kernel=f"td_{kind}_pool_{SUFFIX[dtype]}",
            struct="td_pool_f32" if dtype == "float32" else "td_pool_int",
            params={"window": w, "out_min": low, "out_max": high},
            operands=(ctx.activation(op),),
            output=output.index,
            op_index=op.index,
            comment=f"{w['k_h']}x{w['k_w']}",
        )
    ]


def lower_mean(op: Op, ctx: Context) -> list[Call]:
    """MEAN over neighbouring dimensions."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rank = len(given.shape)
    listed = [int(a) for a in ctx.constant_input(op, 1, "axes").reshape(-1)]
    if not all(-rank <= a < rank for a in listed):
        raise Refused(f"its axes {listed} are outside its shape")
    axes = {a % rank for a in listed}
    outer, reduced, inner = _three_dimensions(given.shape, axes)
    if outer * inner != output.elements:
        raise Refused("its output's shape does not fit its axes")
    params: dict[str, int] = {"outer": outer, "reduced": reduced, "inner": inner}
    if dtype != "float32":
        sum_fits(2 * reduced, dtype)  # the zero point is subtracted
        divided = divide(factor(scale_of(given) / scale_of(output)), reduced)
        params |= {
            "zero_sum": zero_of(given) * reduced,
            "multiplier": divided.multiplier,
            "down": divided.down,
            "out_zero": zero_of(output),
        }
    return [
        Call(
            kernel=f"td_mean_{SUFFIX[dtype]}",
            struct="td_mean_f32" if dtype == "float32" else "td_mean_int",
            params=params,
            operands=(ctx.activation(op),),
            output=output.index,
            op_index=op.index,
            comment=f"over {reduced} elements",
        )
    ]


def divide(exact: Factor, count: int) -> Factor:
    """The factor / count, with as many bits as the reference keeps: it shifts first."""
    bits = min(count.bit_length() - 1, 32, 31 + exact.shift)
    return Factor((exact.multiplier << bits) // count, exact.shift - bits)


def _three_dimensions(shape: tuple[int, ...], axes: set[int]) -> tuple[int, int, int]:
    """The shape as [outer][reduced][inner]; refuses axes with a kept dimension between them."""
    long = [(d, i in axes) for i, d in enumerate(shape) if d != 1]
    runs = [
        (reduced, math.prod(d for d, _ in dims))
        for reduced, dims in groupby(long, key=lambda item: item[1])
    ]
    if sum(reduced for reduced, _ in runs) > 1:
        raise Refused(f"MEAN over the axes {sorted(axes)}, which are not neighbours")
    if not runs or not any(reduced for reduced, _ in runs):
        return math.prod(shape), 1, 1
    at = next(i for i, (reduced, _) in enumerate(runs) if reduced)
    before, after = runs[:at], runs[at + 1 :]
    return (
        math.prod(n for _, n in before),
        runs[at][1],
        math.prod(n for _, n in after),
    )
