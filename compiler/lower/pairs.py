"""Operators with two operands beside ADD and MUL of quantized numbers, and with three: SELECT."""

from __future__ import annotations

import numpy as np

from tinydeploy.compiler.fixedpoint import Factor
from tinydeploy.compiler.lower.arithmetic import lower_add, lower_mul
from tinydeploy.compiler.lower.calls import binary
from tinydeploy.compiler.lower.context import (
    LIMITS,
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
from tinydeploy.compiler.lower.strided import dense, element_bytes, join
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

_INT32 = (-(2**31), 2**31 - 1)
_HOLDS = {  # see struct td_compare
    "LESS": 0b0001,
    "EQUAL": 0b0010,
    "GREATER": 0b0100,
    "LESS_EQUAL": 0b0011,
    "GREATER_EQUAL": 0b0110,
    "NOT_EQUAL": 0b1101,
}


def lower_add_or_plain(op: Op, ctx: Context) -> list[Call]:
    """ADD, of plain int32 too."""
    return _plain(op, ctx) if ctx.input(op, 0).dtype == "int32" else lower_add(op, ctx)


def lower_mul_or_plain(op: Op, ctx: Context) -> list[Call]:
    """MUL, of plain int32 too."""
    return _plain(op, ctx) if ctx.input(op, 0).dtype == "int32" else lower_mul(op, ctx)


def lower_sub(op: Op, ctx: Context) -> list[Call]:
    """SUB: like ADD."""
    if ctx.input(op, 0).dtype == "int32":
        return _plain(op, ctx)
    dtype = ctx.data_type(op, 0, 1)
    if dtype == "float32":
        return [_float(op, ctx)]
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    left_shift = 20 if dtype == "int8" else 15
    common = 2 * max(scale_of(a), scale_of(b))
    to_output = factor(common / ((1 << left_shift) * scale_of(output)))
    if to_output.shift > 0:
        raise Refused("its output's scale is far below its inputs'")
    factors = {
        "a": factor(scale_of(a) / common),
        "b": factor(scale_of(b) / common),
        "out": to_output,
    }
    limits = activation_range(op.options["fused_activation_function"], output)
    params = _sum_params(a, b, output, left_shift, factors, limits)
    return [binary(op, ctx, f"td_sub_{SUFFIX[dtype]}", "td_add_int", params)]


def lower_squared_difference(op: Op, ctx: Context) -> list[Call]:
    """SQUARED_DIFFERENCE."""
    if ctx.input(op, 0).dtype == "int32":
        return _plain(op, ctx)
    dtype = ctx.data_type(op, 0, 1)
    if dtype == "float32":
        return [_float(op, ctx)]
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    left_shift = 7 if dtype == "int8" else 0
    common = 2 * max(scale_of(a), scale_of(b))
    factors = {
        "a": factor(scale_of(a) / common),
        "b": factor(scale_of(b) / common),
        "out": factor(common * common / ((1 << 2 * left_shift) * scale_of(output))),
    }
    params = _sum_params(a, b, output, left_shift, factors, LIMITS[dtype])
    kernel = f"td_squared_difference_{SUFFIX[dtype]}"
    return [binary(op, ctx, kernel, "td_add_int", params)]


def _sum_params(
    a: Tensor,
    b: Tensor,
    output: Tensor,
    left_shift: int,
    factors: dict[str, Factor],
    limits: tuple[int, int],
) -> dict[str, int]:
    """Initializer of struct td_add_int."""
    return {
        "a_zero": zero_of(a),
        "b_zero": zero_of(b),
        "out_zero": zero_of(output),
        "out_min": limits[0],
        "out_max": limits[1],
        "left_shift": left_shift,
        **{f"{name}_down": f.down for name, f in factors.items()},
        **{f"{name}_multiplier": f.multiplier for name, f in factors.items()},
    }


def lower_div(op: Op, ctx: Context) -> list[Call]:
    """DIV."""
    if ctx.input(op, 0).dtype == "int32":
        return _plain(op, ctx)
    dtype = ctx.data_type(op, 0, 1)
    if dtype == "float32":
        return [_float(op, ctx)]
    if dtype != "int8":
        raise Refused(f"neither this engine nor TFLite-Micro divides {dtype}")
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    exact = factor(scale_of(a) / (scale_of(b) * scale_of(output)))
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
    return [binary(op, ctx, "td_div_s8", "td_mul_int", params)]


def lower_floor_pair(op: Op, ctx: Context) -> list[Call]:
    """FLOOR_DIV and FLOOR_MOD of floats."""
    if ctx.data_type(op, 0, 1) != "float32":
        raise Refused("neither this engine nor TFLite-Micro has it in integers")
    return [_float(op, ctx)]


def lower_extremum(op: Op, ctx: Context) -> list[Call]:
    """MAXIMUM and MINIMUM; the reference compares raw integers, so scales must be equal."""
    if ctx.input(op, 0).dtype == "int32":
        return _plain(op, ctx)
    dtype = ctx.data_type(op, 0, 1)
    if dtype == "float32":
        return [_float(op, ctx)]
    a, b, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    if len({(t.scales, t.zero_points) for t in (a, b, output)}) > 1:
        raise Refused("its inputs and output differ in scale, which TFLite-Micro ignores")
    return [binary(op, ctx, f"td_{op.name.lower()}_{SUFFIX[dtype]}", "td_pair", {})]


def lower_logical(op: Op, ctx: Context) -> list[Call]:
    """LOGICAL_AND and LOGICAL_OR: the smaller and the larger of 0 and 1."""
    _demand(op, ctx, "bool", "bool")
    kernel = "td_minimum_s8" if op.name == "LOGICAL_AND" else "td_maximum_s8"
    return [binary(op, ctx, kernel, "td_pair", {})]


def lower_compare(op: Op, ctx: Context) -> list[Call]:
    """EQUAL, NOT_EQUAL, GREATER, GREATER_EQUAL, LESS, LESS_EQUAL."""
    dtype = ctx.input(op, 0).dtype
    _demand(op, ctx, dtype, "bool")
    holds = {"holds": _HOLDS[op.name]}
    if dtype == "int8":
        a, b = ctx.input(op, 0), ctx.input(op, 1)
        x, y = factor(scale_of(a)), factor(scale_of(b))
        if max(x.shift, y.shift) > 0:
            raise Refused("an input has a scale of 1 or more, which TFLite-Micro cannot compare")
        params = {
            **holds,
            "a_zero": zero_of(a),
            "b_zero": zero_of(b),
            "a_down": x.down,
            "b_down": y.down,
            "a_multiplier": x.multiplier,
            "b_multiplier": y.multiplier,
        }
        return [binary(op, ctx, "td_compare_s8", "td_compare_s8", params)]
    suffix = {"bool": "u8", "int32": "i32", "int64": "i64", "float32": "f32"}.get(dtype)
    if suffix is None or (dtype == "bool" and op.name not in ("EQUAL", "NOT_EQUAL")):
        raise Refused(f"neither this engine nor TFLite-Micro compares {dtype}")
    return [binary(op, ctx, f"td_compare_{suffix}", "td_compare", holds)]


def lower_logical_not(op: Op, ctx: Context) -> list[Call]:
    """LOGICAL_NOT: equal to false."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if {given.dtype, output.dtype} != {"bool"} or given.elements != output.elements:
        raise Refused("its input and output are not bool of one size")
    size = join((given.elements,), (1,))
    sizes = [1] * (4 - len(size)) + [n for n, _ in size]
    strides = [0] * (4 - len(size)) + [steps[0] for _, steps in size]
    return [
        Call(
            kernel="td_compare_u8",
            struct="td_compare",
            params={
                "shape": {"size": sizes, "a_stride": strides, "b_stride": [0] * 4},
                "holds": _HOLDS["EQUAL"],
            },
            operands=(ctx.operand(given.index), Data("tables", np.zeros(1, np.uint8))),
            output=output.index,
            op_index=op.index,
            comment=f"{output.elements} elements",
            in_place=(0,),
        )
    ]


def lower_prelu(op: Op, ctx: Context) -> list[Call]:
    """PRELU; the slopes are int8 for int16 inputs too."""
    given, slopes, output = ctx.input(op, 0), ctx.input(op, 1), ctx.tensor(op.outputs[0])
    dtype = ctx.data_type(op)
    if dtype == "float32":
        return [_float(op, ctx)]
    if slopes.dtype != "int8":
        raise Refused(f"its slopes are {slopes.dtype}, not int8")
    positive = factor(scale_of(given) / scale_of(output))
    negative = factor(scale_of(given) * scale_of(slopes) / scale_of(output))
    params = {
        "a_zero": zero_of(given),
        "b_zero": zero_of(slopes),
        "out_zero": zero_of(output),
        "positive_down": positive.down,
        "negative_down": negative.down,
        "positive": positive.multiplier,
        "negative": negative.multiplier,
    }
    return [binary(op, ctx, f"td_prelu_{SUFFIX[dtype]}", "td_prelu_int", params)]


def lower_select(op: Op, ctx: Context) -> list[Call]:
    """SELECT_V2: three operands, broadcast."""
    condition, a, b = (ctx.input(op, i) for i in range(3))
    output = ctx.tensor(op.outputs[0])
    if condition.dtype != "bool" or {a.dtype, b.dtype} != {output.dtype}:
        raise Refused("its condition is not bool, or its operands differ in type")
    if np.broadcast_shapes(condition.shape, a.shape, b.shape) != output.shape:
        raise Refused("its operands do not broadcast to its output's shape")
    strides = [_repeated(t.shape, len(output.shape)) for t in (condition, a, b)]
    loops = join(output.shape, *strides)
    if len(loops) > 4:
        raise Refused("it broadcasts along too many dimensions")
    missing = 4 - len(loops)
    sizes = [1] * missing + [n for n, _ in loops]
    u16(**{f"dimension_{i}": n for i, n in enumerate(sizes)})
    params = {
        "size": sizes,
        **{
            f"{name}_stride": [0] * missing + [steps[i] for _, steps in loops]
            for i, name in enumerate("cab")
        },
        "element_bytes": element_bytes(output.dtype),
    }
    return [
        Call(
            kernel="td_select",
            struct="td_select",
            params=params,
            operands=tuple(ctx.operand(t.index) for t in (condition, a, b)),
            output=output.index,
            op_index=op.index,
            comment=f"{output.elements} elements",
            in_place=tuple(i for i, t in ((1, a), (2, b)) if t.elements == output.elements),
        )
    ]


def lower_add_n(op: Op, ctx: Context) -> list[Call]:
    """ADD_N: floats one after another; int8 as sums of raw integers, scaled once."""
    dtype = ctx.data_type(op, *range(len(op.inputs)))
    inputs, output = [ctx.input(op, i) for i in range(len(op.inputs))], ctx.tensor(op.outputs[0])
    if len(inputs) < 2 or any(t.shape != output.shape for t in inputs):
        raise Refused("it needs at least 2 inputs of its output's shape")
    if dtype == "float32":
        return _add_n_f32(op, ctx, inputs, output)
    if dtype != "int8" or len({(t.scales, t.zero_points) for t in inputs}) > 1:
        raise Refused("TFLite-Micro adds N tensors of float32, or of int8 and one scale")
    exact = factor(2 * scale_of(inputs[0]) / ((1 << 20) * scale_of(output)))
    if exact.shift > 0:
        raise Refused("its output's scale is far below its inputs'")
    elements = {"elements": output.elements}
    sums = ctx.memory.temporary(4 * output.elements)
    calls = []
    for position, given in enumerate(inputs):
        kernel = "td_sum_more_s8" if position else "td_sum_start_s8"
        source = ctx.operand(given.index)
        calls.append(_sum_call(op, kernel, "td_elements", elements, source, sums))
    end = {
        **elements,
        # As the reference, which begins with minus one zero point.
        "zero_sum": zero_of(inputs[0]) * (len(inputs) + 1),
        "multiplier": exact.multiplier,
        "left_shift": 19,
        "down": exact.down,
        "out_zero": zero_of(output),
    }
    return [*calls, _sum_call(op, "td_sum_end_s8", "td_sum_end", end, sums, output.index)]


def _sum_call(op: Op, kernel: str, struct: str, params: dict, source: object, to: int) -> Call:
    return Call(
        kernel=kernel,
        struct=struct,
        params=params,
        operands=(source,),  # type: ignore[arg-type]
        output=to,
        op_index=op.index,
        comment=f"{params['elements']} elements",
    )


def _add_n_f32(op: Op, ctx: Context, inputs: list[Tensor], output: Tensor) -> list[Call]:
    """((a + b) + c) + ..., each sum on the output's memory."""
    low, high = activation_limits("NONE")
    loops = join((output.elements,), (1,))
    missing = 4 - len(loops)
    steps = [0] * missing + [s[0] for _, s in loops]
    shape = {
        "size": [1] * missing + [n for n, _ in loops],
        "a_stride": steps,
        "b_stride": steps,
    }
    calls = []
    left = ctx.operand(inputs[0].index)
    for given in inputs[1:]:
        calls.append(
            Call(
                kernel="td_add_f32",
                struct="td_binary_f32",
                params={"shape": shape, "out_min": low, "out_max": high},
                operands=(left, ctx.operand(given.index)),
                output=output.index,
                op_index=op.index,
                comment=f"{output.elements} elements",
            )
        )
        left = output.index
    return calls


def _float(op: Op, ctx: Context) -> Call:
    low, high = activation_limits(op.options.get("fused_activation_function", "NONE"))
    kernel = f"td_{op.name.lower()}_f32"
    return binary(op, ctx, kernel, "td_binary_f32", {"out_min": low, "out_max": high})


def _plain(op: Op, ctx: Context) -> list[Call]:
    """Integers without quantization."""
    _demand(op, ctx, "int32", "int32")
    if any(ctx.input(op, i).scales for i in (0, 1)):
        raise Refused("its int32 inputs are quantized")
    limits = {
        "NONE": _INT32,
        "RELU": (0, _INT32[1]),
        "RELU6": (0, 6),
        "RELU_N1_TO_1": (-1, 1),
    }
    activation = op.options.get("fused_activation_function", "NONE")
    if activation not in limits:
        raise Refused(f"the engine has no fused activation {activation}")
    low, high = limits[activation]
    kernel = f"td_{op.name.lower()}_i32"
    return [binary(op, ctx, kernel, "td_binary_i32", {"out_min": low, "out_max": high})]


def _demand(op: Op, ctx: Context, dtype: str, output: str) -> None:
    found = [ctx.input(op, 0).dtype, ctx.input(op, 1).dtype, ctx.tensor(op.outputs[0]).dtype]
    if found != [dtype, dtype, output]:
        raise Refused(f"its types are {', '.join(found)}, not {dtype}, {dtype}, {output}")


def _repeated(shape: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Strides of an operand that is repeated along its dimensions of 1."""
    full = (1,) * (rank - len(shape)) + shape
    return tuple(0 if d == 1 else s for d, s in zip(full, dense(full), strict=True))
