"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: everything with weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinydeploy.compiler.lower.context import SUFFIX, Context, Refused, zero_of
from tinydeploy.compiler.lower.scale import bias_and_scale
from tinydeploy.compiler.lower.window import reaches_outside, window
from tinydeploy.compiler.program import Call, Data
from tinydeploy.graph import Op, Tensor

_GROUP = 4  # channels a step of the portable kernels, see td_matmul_s8


def lower_conv(op: Op, ctx: Context) -> list[Call]:
    """CONV_2D: a matrix product where the window is one pixel, else gathered patches."""
    dtype = _types(op, ctx)
    weights = _weights(op, ctx, rank=4)
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    w = window(op, ctx, (weights.shape[1], weights.shape[2]), dilation)
    if weights.shape[3] != w["in_c"]:
        raise Refused("grouped convolution is not supported")
    return [_conv(op, ctx, dtype, w, weights)]


def lower_depthwise(op: Op, ctx: Context) -> list[Call]:
    """DEPTHWISE_CONV_2D; with one input channel it is a CONV_2D."""
    dtype = _types(op, ctx)
    weights = _weights(op, ctx, rank=4)
    dilation = (op.options["dilation_h_factor"], op.options["dilation_w_factor"])
    w = window(op, ctx, (weights.shape[1], weights.shape[2]), dilation)
    if weights.shape[0] != 1 or weights.shape[3] != w["out_c"] or w["out_c"] % w["in_c"]:
        raise Refused(f"its weights {list(weights.shape)} do not fit its images")
    if w["in_c"] == 1:
        return [_conv(op, ctx, dtype, w, np.moveaxis(weights, 3, 0))]
    flat = weights.reshape(-1, w["out_c"])
    taps, pixel = 4 * flat.shape[0], w["in_c"] * np.dtype(dtype).itemsize
    return [
        _call(
            op,
            ctx,
            "td_depthwise",
            dtype,
            {
                "window": w,
                "multiplier": w["out_c"] // w["in_c"],
                **_zero(ctx.input(op, 0)),
                "weights": Data("weights", np.ascontiguousarray(flat)),
                **bias_and_scale(op, ctx, dtype, flat.T),
            },
            f"{_size(w)} depthwise",
            scratch_bytes=taps + (pixel if reaches_outside(w) else 0),
            takes_scratch=True,
        )
    ]


def lower_fully_connected(op: Op, ctx: Context) -> list[Call]:
    """FULLY_CONNECTED: rows are what is left of the input at the weights' depth."""
    dtype = _types(op, ctx)
    weights = _weights(op, ctx, rank=2)
    if op.options.get("weights_format", "DEFAULT") != "DEFAULT":
        raise Refused("shuffled weights are not supported")
    channels, depth = weights.shape
    rows, rest = divmod(ctx.input(op, 0).elements, depth)
    if rest or ctx.tensor(op.outputs[0]).elements != rows * channels:
        raise Refused(f"its weights {list(weights.shape)} do not fit its input and output")
    return [_matmul(op, ctx, dtype, rows, weights, f"{depth} -> {channels}")]


def _conv(op: Op, ctx: Context, dtype: str, w: dict[str, int], weights: np.ndarray) -> Call:
    """A convolution with weights [out_c][k_h][k_w][in_c]."""
    rows = w["batches"] * w["out_h"] * w["out_w"]
    flat = weights.reshape(weights.shape[0], -1)
    if w["k_h"] == w["k_w"] == w["stride_h"] == w["stride_w"] == 1:
        return _matmul(op, ctx, dtype, rows, flat, f"{_size(w)}, {w['in_c']} -> {w['out_c']}")
    return _call(
        op,
        ctx,
        "td_conv",
        dtype,
        {"window": w, **_zero(ctx.input(op, 0)), "product": _product(op, ctx, dtype, rows, flat)},
        f"{_size(w)}, {w['in_c']} -> {w['out_c']}",
        scratch_bytes=flat.shape[1] * np.dtype(dtype).itemsize,
        takes_scratch=True,
    )


def _matmul(op: Op, ctx: Context, dtype: str, rows: int, weights: np.ndarray, comment: str) -> Call:
    return _call(op, ctx, "td_matmul", dtype, _product(op, ctx, dtype, rows, weights), comment)


def _product(op: Op, ctx: Context, dtype: str, rows: int, weights: np.ndarray) -> dict[str, Any]:
    """Initializer of struct td_matmul_*."""
    return {
        "rows": rows,
        "depth": weights.shape[1],
        "channels": weights.shape[0],
        "weights": Data("weights", in_groups(weights, _GROUP)),
        **bias_and_scale(op, ctx, dtype, weights),
    }


def in_groups(weights: np.ndarray, group: int) -> np.ndarray:
    """[channels][depth] as whole groups [group][depth][channel], then the remaining channels."""
    whole = weights.shape[0] // group * group
    grouped = weights[:whole].reshape(-1, group, weights.shape[1]).transpose(0, 2, 1)
    return np.concatenate([grouped.reshape(-1), weights[whole:].reshape(-1)])


def _call(
    op: Op,
    ctx: Context,
    kernel: str,
    dtype: str,
    params: dict[str, Any],
    comment: str,
    scratch_bytes: int = 0,
    takes_scratch: bool = False,
) -> Call:
    name = f"{kernel}_{SUFFIX[dtype]}"
    return Call(
        kernel=name,
        struct=name,
        params=params,
        operands=(ctx.activation(op),),
        output=op.outputs[0],
        op_index=op.index,
        comment=comment,
        scratch_bytes=scratch_bytes,
        takes_scratch=takes_scratch,
    )


def _types(op: Op, ctx: Context) -> str:
    """The activations' type; refuses weight-only, hybrid and float16 layers with the reason."""
    given, weights = ctx.input(op, 0).dtype, ctx.input(op, 1).dtype
    if given == "float32" and weights in ("int8", "int4", "uint8"):
        raise Refused(
            f"its weights are {weights} but its activations float32 (weight-only or dynamic-range "
            "quantization): quantize the activations too"
        )
    if "float16" in (given, weights):
        raise Refused("float16 is not supported: use float32 or int8")
    dtype = ctx.data_type(op)
    expected = {"float32": ["float32"], "int8": ["int8", "int4"]}.get(dtype, ["int8"])
    if weights == "int4" and op.name == "FULLY_CONNECTED" and len(ctx.input(op, 1).scales) > 1:
        raise Refused("its int4 weights have a scale a channel, which TFLite-Micro refuses too")
    if weights not in expected:
        raise Refused(f"{dtype} activations with {weights} weights are not supported")
    return dtype


def _weights(op: Op, ctx: Context, rank: int) -> np.ndarray:
    weights = ctx.constant_input(op, 1, "weights")
    if weights.ndim != rank:
        raise Refused(f"its weights have {weights.ndim} dimensions, not {rank}")
    return weights


def _zero(tensor: Tensor) -> dict[str, int]:
    """What positions outside the image hold; 0 without saying for int16 and float32."""
    return {"in_zero": zero_of(tensor)} if tensor.dtype == "int8" else {}


def _size(w: dict[str, int]) -> str:
    return f"{w['k_h']}x{w['k_w']}"
