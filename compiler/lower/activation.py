"""SOFTMAX, LOGISTIC, RELU, RELU6, QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from tinydeploy.compiler.fixedpoint import input_radius, round_half_away
from tinydeploy.compiler.lower.context import (
    LIMITS,
    SUFFIX,
    Context,
    Refused,
    factor,
    quantized,
    scale_of,
    zero_of,
)
from tinydeploy.compiler.lower.tables import (
    exp_table_s16,
    logistic_table_s8,
    logistic_table_s16,
    reciprocal_table_s16,
)
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

_DIFFERENCE_BITS = 5  # integer bits of the scaled differences in an int8 SOFTMAX

_LONGEST = {"int8": 1 << 12, "int16": 1 << 16}  # a row of ones must not overflow its sum


def lower_softmax(op: Op, ctx: Context) -> list[Call]:
    """SOFTMAX over the last dimension, to the one output scale that the reference allows."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    widens = (given.dtype, output.dtype) == ("int8", "int16")
    dtype = "int8" if widens else ctx.data_type(op)
    if not given.shape or given.shape[-1] == 0:
        raise Refused("its input has no last dimension")
    if given.shape[-1] >= _LONGEST.get(dtype, 2**32):
        raise Refused(f"its rows of {given.shape[-1]} are too long for its sums")
    beta = float(op.options["beta"])
    params = {"rows": given.elements // given.shape[-1], "depth": given.shape[-1]}
    name = f"td_softmax_{SUFFIX[dtype]}"
    if dtype == "float32":
        return [_unary(op, ctx, name, name, {**params, "beta": float(np.float32(beta))})]
    if dtype == "int8":
        _demand_output(output, *((1 / 65536, -32768) if widens else (1 / 256, -128)))
        name += "_s16" if widens else ""
        scaled = beta * scale_of(given) * 2 ** (31 - _DIFFERENCE_BITS)
        if not scaled > 1:
            raise Refused("its input's scale times beta is too small")
        exact = factor(min(scaled, 2.0**31 - 1))
        params |= {
            "multiplier": exact.multiplier,
            "left_shift": exact.shift,
            "diff_min": -input_radius(_DIFFERENCE_BITS, exact.shift),
        }
        return [_unary(op, ctx, name, "td_softmax_s8", params)]
    _demand_output(output, 1 / 32768, 0)
    zero_of(given)
    exact = factor(scale_of(given) * beta / (10.0 / 65535.0))
    tables = {
        "exp_table": Data("tables", exp_table_s16()),
        "reciprocal_table": Data("tables", reciprocal_table_s16()),
    }
    fixed = {"multiplier": exact.multiplier, "down": exact.down}
    return [_unary(op, ctx, name, name, {**params, **fixed, **tables})]


def lower_logistic(op: Op, ctx: Context) -> list[Call]:
    """LOGISTIC: of int8 there are only 256 cases, so it is a table."""
    dtype = ctx.data_type(op)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if dtype == "float32":
        return [_unary(op, ctx, "td_logistic_f32", "td_elements", {"elements": given.elements})]
    if dtype == "int8":
        if zero_of(output) != -128:
            raise Refused("its output's zero point is not -128")
        table = Data("tables", logistic_table_s8(scale_of(given), zero_of(given)))
        params: dict[str, object] = {"elements": given.elements, "table": table}
        return [_unary(op, ctx, "td_lookup_s8", "td_lookup_s8", params)]
    _demand_output(output, 1 / 32768, 0)
    zero_of(given)
    multiplier, shift = logistic_factor(scale_of(given))
    params = {
        "elements": given.elements,
        "multiplier": multiplier,
        "shift": shift,
        "table": Data("tables", logistic_table_s16()),
    }
    return [_unary(op, ctx, "td_logistic_s16", "td_logistic_s16", params)]


def logistic_factor(scale: float, tanh: bool = False) -> tuple[int, int]:
    """Factor of an int16 input to 3 * 4096 a unit: truncated to 15 bits, and its right shift.

    The reference takes a scale of 2**-12 (to 1e-3 in its logarithm) for exact, in TANH 2**-11 too.
    """
    logarithm = np.float32(np.log(np.float32(scale)) * np.float32(1 / np.log(2.0)))
    rounded = round_half_away(float(logarithm))
    if abs(float(logarithm) - rounded) < 1e-3 and rounded in ((-12, -11) if tanh else (-12,)):
        return 3 << (rounded + 12), 0
    factor_real, shift = scale * 4096.0 * 3.0, 0
    while factor_real <= 32767.0 / 2.0 and shift <= 30:
        shift += 1
        factor_real *= 2.0
    if factor_real > 32767:
        raise Refused("its input's scale is too large")
    return int(factor_real), shift


def lower_relu(op: Op, ctx: Context) -> list[Call]:
    """RELU, which may change the scale."""
    dtype = ctx.data_type(op)
    if dtype == "float32":
        return [_clamp_f32(op, ctx, float(np.finfo(np.float32).max))]
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    ratio = scale_of(given) / scale_of(output)
    return [_requantize(op, ctx, ratio, max(LIMITS[dtype][0], zero_of(output)))]


def lower_relu6(op: Op, ctx: Context) -> list[Call]:
    """RELU6: a clamp on the input's scale, which the reference takes for the output's."""
    dtype = ctx.data_type(op)
    if dtype == "float32":
        return [_clamp_f32(op, ctx, 6.0)]
    given = ctx.input(op, 0)
    low, high = LIMITS[dtype]
    six = zero_of(given) + quantized(6.0, scale_of(given))
    params = {
        "elements": given.elements,
        "out_min": max(low, zero_of(given)),
        "out_max": min(high, six),
    }
    return [_unary(op, ctx, f"td_clamp_{SUFFIX[dtype]}", "td_clamp_int", params)]


def lower_quantize(op: Op, ctx: Context) -> list[Call]:
    """QUANTIZE from float, or from integers of another scale."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if output.dtype == "int32" and given.dtype in LIMITS:
        return [_widen(op, ctx)]
    if output.dtype not in LIMITS:
        raise Refused(f"the engine does not quantize to {output.dtype}")
    if given.dtype == "float32":
        kernel = f"td_quantize_{SUFFIX[output.dtype]}"
        return [_unary(op, ctx, kernel, "td_affine", _affine(output))]
    if given.dtype not in LIMITS:
        raise Refused(f"the engine does not quantize {given.dtype}")
    ratio = scale_of(given) / scale_of(output)
    return [_requantize(op, ctx, ratio, LIMITS[output.dtype][0])]


def _widen(op: Op, ctx: Context) -> Call:
    """QUANTIZE to int32, of int16 with any zero point too (SOFTMAX gives such)."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    exact = factor(scale_of(given) / scale_of(output))
    zeros = given.zero_points[0], output.zero_points[0]
    if not all(abs(zero) <= 1 << 15 for zero in zeros):
        raise Refused(f"its zero points are {zeros[0]} and {zeros[1]}")
    params = {
        "elements": given.elements,
        "multiplier": exact.multiplier,
        "in_zero": zeros[0],
        "out_zero": zeros[1],
        "down": exact.down,
    }
    return _unary(op, ctx, f"td_widen_{SUFFIX[given.dtype]}", "td_widen", params)


def lower_dequantize(op: Op, ctx: Context) -> list[Call]:
    """DEQUANTIZE to float."""
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    if given.dtype not in LIMITS or output.dtype != "float32":
        raise Refused(f"the engine does not turn {given.dtype} into {output.dtype}")
    kernel = f"td_dequantize_{SUFFIX[given.dtype]}"
    return [_unary(op, ctx, kernel, "td_affine", _affine(given))]


def _affine(quantized: Tensor) -> dict[str, object]:
    return {
        "elements": quantized.elements,
        "scale": scale_of(quantized),
        "zero": zero_of(quantized),
    }


def _requantize(op: Op, ctx: Context, ratio: float, low: int) -> Call:
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    exact = factor(ratio)
    params = {
        "elements": given.elements,
        "multiplier": exact.multiplier,
        "in_zero": zero_of(given),
        "out_zero": zero_of(output),
        "out_min": low,
        "out_max": LIMITS[output.dtype][1],
        "down": exact.down,
    }
    types = dict.fromkeys((SUFFIX[given.dtype], SUFFIX[output.dtype]))
    return _unary(op, ctx, f"td_requantize_{'_'.join(types)}", "td_requantize", params)


def _clamp_f32(op: Op, ctx: Context, high: float) -> Call:
    params = {"elements": ctx.input(op, 0).elements, "out_min": 0.0, "out_max": high}
    return _unary(op, ctx, "td_clamp_f32", "td_clamp_f32", params)


def _unary(op: Op, ctx: Context, kernel: str, struct: str, params: Mapping[str, object]) -> Call:
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


def _demand_output(output: Tensor, scale: float, zero: int) -> None:
    """The output's quantization is fixed by the operator."""
    if not math.isclose(scale_of(output), scale, rel_tol=1e-3) or output.zero_points[0] != zero:
        raise Refused(f"its output's scale and zero point are not {scale:g} and {zero}")
