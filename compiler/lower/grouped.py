"""CONV_2D in groups, and TRANSPOSE_CONV."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import SUFFIX, Context, Refused, u16, zero_of
from tinydeploy.compiler.lower.product import lower_conv
from tinydeploy.compiler.lower.scale import bias_and_scale
from tinydeploy.compiler.lower.window import window
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op


def lower_conv_or_grouped(op: Op, ctx: Context) -> list[Call]:
    """CONV_2D; in groups where the weights see fewer channels than there are."""
    given, weights = ctx.input(op, 0), ctx.input(op, 1)
    if len(given.shape) != 4 or len(weights.shape) != 4 or weights.shape[3] == given.shape[3]:
        return lower_conv(op, ctx)
    dtype = _types(op, ctx)
    values = ctx.constant_input(op, 1, "weights")
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    w = window(op, ctx, (values.shape[1], values.shape[2]), dilation)
    groups, rest = divmod(w["in_c"], values.shape[3])
    if rest or w["out_c"] != values.shape[0] or w["out_c"] % groups:
        raise Refused(f"its weights {list(values.shape)} do not fit its images")
    return [_call(op, ctx, "td_grouped_conv", dtype, w, groups, values)]


def lower_transpose_conv(op: Op, ctx: Context) -> list[Call]:
    """TRANSPOSE_CONV: inputs are the output's shape, weights, images and biases."""
    if len(op.inputs) not in (3, 4):
        raise Refused(f"it has {len(op.inputs)} inputs")
    # The order of a convolution's inputs, which everything about scales expects.
    op = dataclasses.replace(op, inputs=(op.inputs[2], op.inputs[1], *op.inputs[3:]))
    dtype = _types(op, ctx)
    given, output = ctx.input(op, 0), ctx.tensor(op.outputs[0])
    values = ctx.constant_input(op, 1, "weights")
    if len(given.shape) != 4 or len(output.shape) != 4 or values.ndim != 4:
        raise Refused("its input, output and weights do not have 4 dimensions")
    out_c, k_h, k_w, in_c = values.shape
    if (given.shape[3], output.shape[3], given.shape[0]) != (in_c, out_c, output.shape[0]):
        raise Refused(f"its weights {list(values.shape)} do not fit its images")
    strides = (op.options["stride_h"], op.options["stride_w"])
    if min(strides) < 1 or op.options["padding"] not in ("SAME", "VALID"):
        raise Refused("a stride of it is 0, or its padding unknown")
    pads = [
        _padding(op.options["padding"], output.shape[1 + i], k, strides[i])
        for i, k in enumerate((k_h, k_w))
    ]
    w = u16(
        batches=given.shape[0],
        in_h=given.shape[1],
        in_w=given.shape[2],
        in_c=in_c,
        out_h=output.shape[1],
        out_w=output.shape[2],
        out_c=out_c,
        k_h=k_h,
        k_w=k_w,
        stride_h=strides[0],
        stride_w=strides[1],
        dilation_h=1,
        dilation_w=1,
        pad_top=pads[0],
        pad_left=pads[1],
    )
    return [_call(op, ctx, "td_transpose_conv", dtype, w, 1, values)]


def _padding(padding: str, size: int, kernel: int, stride: int) -> int:
    """Padding before the output by the convolution that leads back to the input."""
    if padding == "VALID":
        return 0
    return max((-(-size // stride) - 1) * stride + kernel - size, 0) // 2


def _call(
    op: Op,
    ctx: Context,
    kernel: str,
    dtype: str,
    w: dict[str, int],
    groups: int,
    weights: np.ndarray,
) -> Call:
    flat = weights.reshape(weights.shape[0], -1)
    params: dict[str, Any] = {
        "window": w,
        **u16(groups=groups),
        "in_zero": zero_of(ctx.input(op, 0)) if dtype == "int8" else 0,
        "weights": Data("weights", np.ascontiguousarray(weights)),
        **bias_and_scale(op, ctx, dtype, flat),
    }
    if dtype == "int8":
        params["bias"] = Data("weights", _plain_bias(op, ctx, flat.shape[0]))
    return Call(
        kernel=f"{kernel}_{SUFFIX[dtype]}",
        struct=f"td_grouped_{SUFFIX[dtype]}",
        params=params,
        operands=(ctx.operand(op.inputs[0]),),
        output=op.outputs[0],
        op_index=op.index,
        comment=f"{w['k_h']}x{w['k_w']}, {w['in_c']} -> {w['out_c']} in {groups} groups",
    )


def _plain_bias(op: Op, ctx: Context, channels: int) -> np.ndarray:
    """Biases as they are: these kernels subtract the zero point from every input they use."""
    if len(op.inputs) < 3 or op.inputs[2] < 0:
        return np.zeros(channels, np.int32)
    return ctx.constant_input(op, 2, "biases").reshape(-1).astype(np.int32)


def _types(op: Op, ctx: Context) -> str:
    dtype = ctx.data_type(op)
    expected = "float32" if dtype == "float32" else "int8"
    if ctx.input(op, 1).dtype != expected:
        raise Refused(f"{dtype} activations with {ctx.input(op, 1).dtype} weights")
    return dtype
