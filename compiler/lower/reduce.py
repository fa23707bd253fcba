"""Reductions over any dimensions, and sums, extrema and norms along one."""

from __future__ import annotations

import math
from typing import Any

from tinydeploy.compiler.lower.context import (
    SUFFIX,
    Context,
    Refused,
    activation_limits,
    factor,
    scale_of,
    sum_fits,
    zero_of,
)
from tinydeploy.compiler.lower.curves import log_softmax_factors
from tinydeploy.compiler.lower.pool import divide, lower_mean
from tinydeploy.compiler.lower.slices import axis_of
from tinydeploy.compiler.lower.strided import dense, join
from tinydeploy.compiler.lower.window import window
from tinydeploy.compiler.program import Call
from tinydeploy.graph import Op, Tensor

_DIMENSIONS = 3


def lower_mean_over_any(op: Op, ctx: Context) -> list[Call]:
    """MEAN: the quick kernel where the dimensions are neighbours."""
    try:
        return lower_mean(op, ctx)
    except Refused:
        return lower_sum(op, ctx)


def lower_sum(op: Op, ctx: Context) -> list[Call]:
    """SUM and MEAN over any dimensions."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    shape, count = _shape(op, ctx)
    mean = op.name == "MEAN"
    if dtype == "float32":
        params: dict[str, Any] = {"shape": shape, "divisor": float(count if mean else 1)}
        return [_call(op, ctx, "td_sum_f32", "td_sum_f32", params)]
    sum_fits(2 * count, dtype)  # the zero point is subtracted
    exact = factor(scale_of(given) / scale_of(output))
    exact = divide(exact, count) if mean else exact
    params = {
        "shape": shape,
        "zero_sum": zero_of(given) * count,
        "multiplier": exact.multiplier,
        "down": exact.down,
        "out_zero": zero_of(output),
    }
    return [_call(op, ctx, f"td_sum_{SUFFIX[dtype]}", "td_sum_int", params)]


def lower_reduce_extremum(op: Op, ctx: Context) -> list[Call]:
    """REDUCE_MAX and REDUCE_MIN, which keep the scale."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if dtype == "int16":
        raise Refused("neither this engine nor TFLite-Micro has it in int16")
    if (given.scales, given.zero_points) != (output.scales, output.zero_points):
        raise Refused("its input and output differ in scale")
    kernel = f"td_{op.name.lower()}_{SUFFIX[dtype]}"
    return [_call(op, ctx, kernel, "td_extremum", {"shape": _shape(op, ctx)[0]})]


def lower_reduce_all(op: Op, ctx: Context) -> list[Call]:
    """REDUCE_ALL of bools: the smallest of bytes that are 0 or 1."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.dtype != "bool" or output.dtype != "bool":
        raise Refused(f"it is for bools, not for {given.dtype}")
    shape, _ = _shape(op, ctx)
    return [_call(op, ctx, "td_reduce_min_s8", "td_extremum", {"shape": shape})]


def _shape(op: Op, ctx: Context) -> tuple[dict[str, list[int]], int]:
    """Initializer of struct td_reduce_shape, and how many elements become one."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rank = len(given.shape)
    listed = [int(a) for a in ctx.constant_input(op, 1, "axes").reshape(-1)]
    if not all(-rank <= a < rank for a in listed):
        raise Refused(f"its axes {listed} are outside its shape")
    axes = {a % rank for a in listed}
    kept = tuple(d for i, d in enumerate(given.shape) if i not in axes)
    held = tuple(1 if i in axes else d for i, d in enumerate(given.shape))
    if output.shape not in (kept, held):
        raise Refused("its output's shape does not fit its axes")
    strides = dense(given.shape)
    result: dict[str, list[int]] = {}
    for name, chosen in (("kept", set(range(rank)) - axes), ("reduced", axes)):
        at = sorted(chosen)
        loops = join([given.shape[i] for i in at], [strides[i] for i in at])
        if len(loops) > _DIMENSIONS:
            raise Refused(f"its {name} dimensions are not neighbours")
        missing = _DIMENSIONS - len(loops)
        result[name] = [1] * missing + [n for n, _ in loops]
        result[f"{name}_stride"] = [0] * missing + [steps[0] for _, steps in loops]
    return result, math.prod(given.shape[i] for i in axes)


def lower_arg(op: Op, ctx: Context) -> list[Call]:
    """ARG_MAX and ARG_MIN along a constant axis, to int32."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.dtype not in ("int8", "float32") or output.dtype != "int32":
        raise Refused(f"TFLite-Micro has it of int8 and float32 to int32, not of {given.dtype}")
    sizes = _around(given, _axis(op, ctx, given))
    if output.elements != sizes["outer"] * sizes["inner"]:
        raise Refused("its output's shape does not fit its axis")
    sign = 1 if op.name == "ARG_MAX" else -1
    return [_call(op, ctx, f"td_arg_{SUFFIX[given.dtype]}", "td_arg", {**sizes, "sign": sign})]


def lower_cumsum(op: Op, ctx: Context) -> list[Call]:
    """CUMSUM along a constant axis."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if dtype == "int16" or given.shape != output.shape:
        raise Refused("TFLite-Micro has it of int8 and float32, and of equal shapes")
    params: dict[str, Any] = {
        **_around(given, _axis(op, ctx, given)),
        "exclusive": bool(op.options["exclusive"]),
        "reverse": bool(op.options["reverse"]),
    }
    if dtype == "int8":
        exact = factor(2 * scale_of(given) / ((1 << 20) * scale_of(output)))
        if exact.shift > 0:
            raise Refused("its output's scale is far below its input's")
        params |= {
            "in_zero": zero_of(given),
            "out_zero": zero_of(output),
            "multiplier": exact.multiplier,
            "down": exact.down,
        }
    name = f"td_cumsum_{SUFFIX[dtype]}"
    return [_call(op, ctx, name, name, params)]


def lower_l2_normalization(op: Op, ctx: Context) -> list[Call]:
    """L2_NORMALIZATION over the last dimension."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if op.options.get("fused_activation_function", "NONE") != "NONE":
        raise Refused("TFLite-Micro has no fused activation here")
    rows = _rows(given, output)
    if dtype == "int8":
        if zero_of(output) != 0 or not math.isclose(scale_of(output), 1 / 128, rel_tol=1e-3):
            raise Refused("its output's scale and zero point are not 1/128 and 0")
        if rows["depth"] >= 1 << 14:
            raise Refused("its rows are too long for its sums")
        rows |= {"in_zero": zero_of(given)}
    return [_call(op, ctx, f"td_l2_normalization_{_no_int16(dtype)}", "td_rows", rows)]


def lower_log_softmax(op: Op, ctx: Context) -> list[Call]:
    """LOG_SOFTMAX over the last dimension."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    rows = _rows(given, output)
    kernel = f"td_log_softmax_{_no_int16(dtype)}"
    if dtype == "float32":
        return [_call(op, ctx, kernel, "td_rows", rows)]
    if zero_of(output) != 127 or scale_of(output) != 16 / 256:
        raise Refused("its output's scale and zero point are not 1/16 and 127")
    if rows["depth"] >= 1 << 12:
        raise Refused("its rows are too long for its sums")
    params = {**rows, **log_softmax_factors(scale_of(given))}
    return [_call(op, ctx, kernel, kernel, params)]


def lower_l2_pool(op: Op, ctx: Context) -> list[Call]:
    """L2_POOL_2D, of floats only."""
    if ctx.data_type(op) != "float32":
        raise Refused("neither this engine nor TFLite-Micro has it in integers")
    w = window(op, ctx, (op.options["filter_height"], op.options["filter_width"]))
    if w["in_c"] != w["out_c"]:
        raise Refused("its input and output differ in channels")
    low, high = activation_limits(op.options["fused_activation_function"])
    params = {"window": w, "out_min": low, "out_max": high}
    return [_call(op, ctx, "td_l2_pool_f32", "td_pool_f32", params)]


def _no_int16(dtype: str) -> str:
    if dtype == "int16":
        raise Refused("neither this engine nor TFLite-Micro has it in int16")
    return SUFFIX[dtype]


def _rows(given: Tensor, output: Tensor) -> dict[str, int]:
    if not given.shape or given.shape != output.shape:
        raise Refused("its input and output differ in shape, or have none")
    return {"rows": math.prod(given.shape[:-1]), "depth": given.shape[-1]}


def _axis(op: Op, ctx: Context, given: Tensor) -> int:
    axis = ctx.constant_input(op, 1, "axis").reshape(-1)
    if axis.size != 1:
        raise Refused(f"it has {axis.size} axes")
    return axis_of(int(axis[0]), len(given.shape))


def _around(given: Tensor, axis: int) -> dict[str, int]:
    return {
        "outer": math.prod(given.shape[:axis]),
        "depth": given.shape[axis],
        "inner": math.prod(given.shape[axis + 1 :]),
    }


def _call(op: Op, ctx: Context, kernel: str, struct: str, params: dict[str, Any]) -> Call:
    given = ctx.input(op, 0)
    return Call(
        kernel=kernel,
        struct=struct,
        params=params,
        operands=(ctx.operand(given.index),),
        output=op.outputs[0],
        op_index=op.index,
        comment=f"{list(given.shape)} -> {list(ctx.tensor(op.outputs[0]).shape)}",
    )
