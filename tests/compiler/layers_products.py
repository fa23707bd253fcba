"""Random layers that reduce, multiply or keep state."""

from __future__ import annotations

import math

import numpy as np
from layer_kit import constant, rescale, with_scale
from random_layers import Layer, LayerMaker


def reduction(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    axes = [i for i in range(len(shape)) if maker.rng.random() < 0.5] or [0]
    keep = bool(maker.rng.random() < 0.5)
    x = maker.tensor(shape)
    out = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
    y = maker.tensor(out, like=None if name in ("SUM", "MEAN") else x)
    count = math.prod(shape[i] for i in axes)
    if name in ("SUM", "MEAN"):
        rescale(maker, y, maker.scale_of(x) * (count if name == "SUM" else 1))
    written = [a - len(shape) if maker.rng.random() < 0.2 else a for a in axes]
    maker.model.op(name, [x, constant(maker, written)], [y], keep_dims=keep)
    return [x], [y]


def arg(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 6)
    axis = maker.integer(0, len(shape) - 1)
    x = maker.tensor(shape)
    y = maker.model.tensor((*shape[:axis], *shape[axis + 1 :]), "int32")
    written = axis - len(shape) if maker.rng.random() < 0.3 else axis
    maker.model.op(name, [x, constant(maker, written)], [y], output_type=2)
    return [x], [y]


def cumsum(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 6)
    axis = maker.integer(-len(shape), len(shape) - 1)
    x, y = maker.tensor(shape), maker.tensor(shape)
    rescale(maker, y, maker.scale_of(x) * shape[axis])
    options = {o: bool(maker.rng.random() < 0.5) for o in ("exclusive", "reverse")}
    maker.model.op(name, [x, constant(maker, axis)], [y], **options)
    return [x], [y]


def rows(maker: LayerMaker, name: str) -> Layer:
    shape = (*maker.shape(maker.integer(0, 2), 4), maker.integer(1, 40))
    x = maker.tensor(shape)
    if maker.dtype == "int8" and name == "LOG_SOFTMAX":
        maker.model.tensors[x].quantization.scale = np.array(
            [2.0 ** maker.rng.uniform(-9, 2)], np.float32
        )
    scale, zero = (1 / 16, 127) if name == "LOG_SOFTMAX" else (1 / 128, 0)
    y = with_scale(maker, shape, scale, zero)
    maker.model.op(name, [x], [y])
    return [x], [y]


def l2_pool(maker: LayerMaker, name: str) -> Layer:
    (h, w), c = maker.shape(2, 8), maker.integer(1, 5)
    g = maker.windows(h, w, dilated=False)
    x = maker.tensor((1, h, w, c))
    y = maker.tensor((1, g["out_h"], g["out_w"], c), like=x)
    maker.model.op(
        name,
        [x],
        [y],
        padding=g["padding"],
        stride_h=g["stride_h"],
        stride_w=g["stride_w"],
        filter_height=g["k_h"],
        filter_width=g["k_w"],
        fused_activation_function=maker.activation(),
    )
    return [x], [y]


def grouped(maker: LayerMaker, name: str) -> Layer:
    """CONV_2D in groups."""
    (h, w), groups, depth = maker.shape(2, 7), maker.integer(2, 3), maker.integer(1, 3)
    channels = groups * maker.integer(1, 3)
    g = maker.windows(h, w)
    x = maker.tensor((1, h, w, groups * depth))
    kernel = (channels, g["k_h"], g["k_w"], depth)
    weights, scales = maker.weights(kernel, bool(maker.rng.random() < 0.8), 0)
    bias = maker.bias(channels, scales)
    out = (1, g["out_h"], g["out_w"], channels)
    y = maker.product_output(out, x, scales, math.prod(kernel[1:]))
    sizes = ("k_h", "k_w", "out_h", "out_w")
    maker.model.op(
        name,
        [x, weights] + ([bias] if bias >= 0 else []),
        [y],
        fused_activation_function=maker.activation(),
        **{k: v for k, v in g.items() if k not in sizes},
    )
    return [x], [y]


def transpose_conv(maker: LayerMaker, name: str) -> Layer:
    c, channels = maker.integer(1, 5), maker.integer(1, 5)
    stride, kernel = (
        [maker.integer(1, 3) for _ in range(2)],
        [maker.integer(1, 4) for _ in range(2)],
    )
    size = [maker.integer(1, 5) for _ in range(2)]
    padding = maker.integer(0, 1)  # SAME, VALID
    out = [
        s * n if padding == 0 else (n - 1) * s + k + maker.integer(0, s - 1)
        for s, k, n in zip(stride, kernel, size, strict=True)
    ]
    x = maker.tensor((1, *size, c))
    weights, scales = maker.weights((channels, *kernel, c), bool(maker.rng.random() < 0.7), 0)
    bias = maker.bias(channels, scales)
    y = maker.product_output((1, *out, channels), x, scales, c * math.prod(kernel))
    inputs = [constant(maker, (1, *out, channels)), weights, x] + ([bias] if bias >= 0 else [])
    maker.model.op(
        name,
        inputs,
        [y],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        fused_activation_function=maker.activation() if maker.rng.random() < 0.5 else 0,
    )
    return [x], [y]


def batch_matmul(maker: LayerMaker, name: str) -> Layer:
    rows_, depth, columns = maker.integer(1, 6), maker.integer(1, 12), maker.integer(1, 6)
    batches = maker.shape(maker.integer(0, 2), 3)
    turned = [bool(maker.rng.random() < 0.5) for _ in range(2)]
    a = maker.tensor((*batches, *((depth, rows_) if turned[0] else (rows_, depth))))
    right = (depth, columns) if not turned[1] else (columns, depth)
    few = batches if maker.rng.random() < 0.5 else tuple(1 for _ in batches)
    b = maker.tensor((*few, *right))
    y = maker.tensor((*batches, rows_, columns))
    if maker.dtype != "float32":
        largest = np.iinfo(maker.dtype).max
        rescale(maker, y, maker.scale_of(a) * maker.scale_of(b) * largest / 2 * math.sqrt(depth))
    maker.model.op(name, [a, b], [y], adj_x=turned[0], adj_y=turned[1])
    return [a, b], [y]


def svdf(maker: LayerMaker, name: str) -> Layer:
    batches, inputs, units = maker.integer(1, 2), maker.integer(1, 8), maker.integer(1, 5)
    rank, memory = maker.integer(1, 3), maker.integer(1, 8)
    filters = units * rank
    x = maker.tensor((batches, inputs))
    y = maker.tensor((batches, units))
    feature, scales = maker.weights((filters, inputs), False, 0)
    state_shape = (batches, filters * memory)
    if maker.dtype == "float32":
        time = constant(maker, maker.rng.normal(size=(filters, memory)), "float32")
        bias = constant(maker, maker.rng.normal(size=units), "float32")
        state = maker.model.tensor(state_shape, "float32")
    else:
        kind = str(maker.choose("int8", "int16"))
        state_scale = float(scales[0]) * maker.scale_of(x) * (60 if kind == "int8" else 1)
        state = maker.model.tensor(state_shape, kind, state_scale, 0)
        limit = np.iinfo(kind).max if kind == "int8" else 2000
        data = maker.rng.integers(-limit, limit + 1, (filters, memory)).astype(kind)
        time_scale = float(2.0 ** maker.rng.uniform(-10, -4))
        time = maker.model.tensor(data.shape, kind, time_scale, 0, data)
        values = maker.rng.integers(-30000, 30001, units).astype(np.int32)
        bias = maker.model.tensor((units,), "int32", state_scale * time_scale, 0, values)
        spread = state_scale * time_scale * limit * np.iinfo(kind).max / 128
        rescale(maker, y, spread / 8)
    maker.model.tensors[state].isVariable = True
    activation = maker.activation() if maker.dtype == "float32" else 0
    inputs_ = [x, feature, time, bias, state]
    maker.model.op(name, inputs_, [y], rank=rank, fused_activation_function=activation)
    return [x], [y]


def lstm(maker: LayerMaker, name: str) -> Layer:
    batches, times = maker.integer(1, 2), maker.integer(1, 4)
    inputs, units = maker.integer(1, 6), maker.integer(1, 6)
    by_time = bool(maker.rng.random() < 0.4)
    lead = (times, batches) if by_time else (batches, times)
    x = maker.tensor((*lead, inputs))
    hidden = maker.tensor((batches, units))
    rescale(maker, x, 1 / 64 if maker.dtype == "int8" else 2.0**-13)
    rescale(maker, hidden, 1 / 128 if maker.dtype == "int8" else 2.0**-15)
    y = maker.tensor((*lead, units), like=hidden)
    if maker.dtype == "float32":
        cell = maker.model.tensor((batches, units), "float32")
    else:
        cell = maker.model.tensor((batches, units), "int16", 2.0 ** -maker.integer(9, 14), 0)
    for state in (hidden, cell):
        maker.model.tensors[state].isVariable = True
    tensors = [-1] * 24
    for i in range(8):
        shape_ = (units, inputs) if i < 4 else (units, units)
        tensors[1 + i], _ = maker.weights(shape_, False, 0)
        if maker.dtype != "float32":
            maker.model.tensors[tensors[1 + i]].quantization.scale = np.array(
                [2.0 ** maker.rng.uniform(-9, -6)], np.float32
            )
    for i in range(4):
        if maker.dtype == "float32":
            tensors[12 + i] = constant(maker, maker.rng.normal(size=units), "float32")
        else:
            kind = "int32" if maker.dtype == "int8" else "int64"
            values = maker.rng.integers(-3000, 3001, units).astype(kind)
            tensors[12 + i] = maker.model.tensor((units,), kind, 1e-4, 0, values)
    tensors[0], tensors[18], tensors[19] = x, hidden, cell
    clip = float(maker.choose(0.0, 0.0, 1.5))  # type: ignore[arg-type]
    options = {"cell_clip": clip, "time_major": by_time, "fused_activation_function": 4}
    maker.model.op(name, tensors, [y], **options)
    return [x], [y]


def variable(maker: LayerMaker, name: str) -> Layer:
    """A running extremum: the variable's value takes part before and after it is assigned."""
    shape_ = maker.shape(2, 5)
    x = maker.tensor(shape_)
    before, after, again = (maker.tensor(shape_, like=x) for _ in range(3))
    handle = maker.model.tensor((), "resource")
    shared = f"variable {len(maker.model.tensors)}"
    maker.model.op("VAR_HANDLE", [], [handle], shared_name=shared, container="")
    maker.model.op("READ_VARIABLE", [handle], [before])
    maker.model.op("MAXIMUM", [before, x], [after])
    maker.model.op("ASSIGN_VARIABLE", [handle, after], [])
    maker.model.op("READ_VARIABLE", [handle], [again])
    return [x], [before, again]
