"""Random single layers of the operators beside those of random_layers.py, one table for all.

Each function adds one layer of an operator to a maker's model and returns its inputs and outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from random_layers import Layer, LayerMaker

Function = Callable[[LayerMaker, str], Layer]


def pick(maker: LayerMaker, *options: int) -> int:
    return int(options[maker.rng.integers(len(options))])


def constant(maker: LayerMaker, values: object, dtype: str = "int32") -> int:
    data = np.array(values, dtype)
    return maker.model.tensor(data.shape, dtype, data=data)


def shape_of(maker: LayerMaker, tensor: int) -> tuple[int, ...]:
    return tuple(int(d) for d in maker.model.tensors[tensor].shape)


def rescale(maker: LayerMaker, tensor: int, scale: float) -> None:
    """Give a quantized tensor a scale near the one that spreads its values."""
    if maker.model.tensors[tensor].quantization is not None:
        near = scale * 2.0 ** maker.rng.uniform(-1, 1)
        maker.model.tensors[tensor].quantization.scale = np.array([near], np.float32)


def with_scale(maker: LayerMaker, shape: Sequence[int], scale: float, zero: int) -> int:
    if maker.dtype in ("float32", "int32", "bool"):
        return maker.tensor(tuple(shape))
    return maker.model.tensor(shape, maker.dtype, scale, zero)


# ---- one operand


def function(maker: LayerMaker, name: str) -> Layer:
    x = maker.tensor((1, maker.integer(1, 300)))
    y = maker.tensor(shape_of(maker, x))
    rescale(maker, y, maker.scale_of(x))
    options = {"alpha": float(maker.rng.uniform(-0.5, 1.5))} if name == "LEAKY_RELU" else {}
    maker.model.op(name, [x], [y], **options)
    return [x], [y]


def hard_swish(maker: LayerMaker, name: str) -> Layer:
    """The output's scale may not be below the input's / 128."""
    x = maker.tensor((1, maker.integer(1, 300)))
    y = maker.tensor(shape_of(maker, x))
    rescale(maker, x, 2.0 ** maker.rng.uniform(-9, -2))
    rescale(maker, y, maker.scale_of(x))
    maker.model.op(name, [x], [y])
    return [x], [y]


def tanh(maker: LayerMaker, name: str) -> Layer:
    x = maker.tensor((1, maker.integer(1, 300)))
    if maker.dtype == "int16" and maker.rng.random() < 0.5:
        maker.model.tensors[x].quantization.scale = np.array(
            [2.0 ** -pick(maker, 11, 12)], np.float32
        )
    y = with_scale(maker, shape_of(maker, x), {"int8": 1 / 128}.get(maker.dtype, 1 / 32768), 0)
    maker.model.op(name, [x], [y])
    return [x], [y]


def positive(maker: LayerMaker, name: str) -> Layer:
    """Of numbers above 0: LOG, SQRT, RSQRT of squares."""
    shape = (1, maker.integer(1, 200))
    x, y = maker.tensor(shape), maker.tensor(shape)
    if maker.dtype != "float32":
        if maker.dtype == "int8":
            maker.model.tensors[x].quantization.zeroPoint = np.array([-128], np.int64)
            source = x
        else:
            source = maker.tensor(shape, like=x)
            maker.model.op("ABS", [x], [source])
        rescale(maker, y, 1 / math.sqrt(maker.scale_of(x)) / np.iinfo(maker.dtype).max)
        maker.model.op(name, [source], [y])
        return [x], [y]
    square, offset = maker.tensor(shape), constant(maker, [0.001], "float32")
    safe = maker.tensor(shape)
    maker.model.op("MUL", [x, x], [square])
    maker.model.op("ADD", [square, offset], [safe])
    maker.model.op(name, [safe], [y])
    return [x], [y]


def cast(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(2, 8)
    x = maker.model.tensor(shape, maker.dtype)
    y = maker.model.tensor(shape, str(maker.choose("int8", "int16", "int32", "float32")))
    maker.model.op(name, [x], [y])
    return [x], [y]


# ---- two and three operands


def two_shapes(maker: LayerMaker) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Shapes of two operands that broadcast, and of their output."""
    shape = maker.shape(maker.integer(1, 4), 4)
    other = shape
    kind = maker.integer(0, 3)
    if kind == 1:
        other = (1,)
    elif kind == 2:
        other = shape[-1:]
    elif kind == 3:
        other = tuple(1 if maker.rng.random() < 0.5 else d for d in shape)
    return (shape, other, shape) if maker.rng.random() < 0.5 else (other, shape, shape)


def binary(maker: LayerMaker, name: str) -> Layer:
    first, second, out = two_shapes(maker)
    a, b, y = maker.tensor(first), maker.tensor(second), maker.tensor(out)
    sa, sb = maker.scale_of(a), maker.scale_of(b)
    largest = np.iinfo(maker.dtype).max if maker.dtype in ("int8", "int16") else 1
    if maker.dtype == "int16" and name == "SQUARED_DIFFERENCE":
        rescale(maker, b, sa)
        rescale(maker, y, (sa * largest) ** 2 / largest)
    elif name == "SQUARED_DIFFERENCE":
        rescale(maker, y, (max(sa, sb) * largest) ** 2 / largest)
    else:
        rescale(maker, y, max(sa, sb))
    options = {} if name in PLAIN_PAIRS else {"fused_activation_function": maker.activation()}
    maker.model.op(name, [a, b], [y], **options)
    return [a, b], [y]


PLAIN_PAIRS = ("MAXIMUM", "MINIMUM", "SQUARED_DIFFERENCE", "FLOOR_DIV", "FLOOR_MOD")


def extremum(maker: LayerMaker, name: str) -> Layer:
    first, second, out = two_shapes(maker)
    a = maker.tensor(first)
    b, y = maker.tensor(second, like=a), maker.tensor(out, like=a)
    maker.model.op(name, [a, b], [y])
    return [a, b], [y]


def divide(maker: LayerMaker, name: str) -> Layer:
    """By constants that are not 0."""
    first, second, out = two_shapes(maker)
    a, y = maker.tensor(first), maker.tensor(out)
    if maker.dtype in ("int8", "int16"):
        zero = maker.zero()
        q = maker.rng.integers(-128, 128, second)
        data = np.where(q == zero, q + (1 if zero < 127 else -1), q).astype(maker.dtype)
        b = maker.model.tensor(second, maker.dtype, maker.scale(), zero, data)
        # Below a factor of 64 TFLite-Micro shifts small quotients by more than 31 bits, which C
        # leaves open.
        rescale(maker, y, maker.scale_of(a) / maker.scale_of(b) / 160)
    elif maker.dtype == "int32":
        data = maker.rng.integers(1, 1000, second).astype(np.int32)
        b = maker.model.tensor(second, "int32", data=data)
    else:
        data = (maker.rng.uniform(0.1, 5, second) * maker.rng.choice([-1, 1], second)).astype("f4")
        b = maker.model.tensor(second, "float32", data=data)
    options = {} if name in PLAIN_PAIRS else {"fused_activation_function": maker.activation()}
    maker.model.op(name, [a, b], [y], **options)
    return [a], [y]


def prelu(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(4, 4)
    x, y = maker.tensor(shape), maker.tensor(shape)
    slopes = shape if maker.rng.random() < 0.3 else (1, 1, shape[3])
    if maker.dtype == "float32":
        data = maker.rng.normal(size=slopes).astype(np.float32)
        a = maker.model.tensor(slopes, "float32", data=data)
    else:
        data = maker.rng.integers(-128, 128, slopes).astype(np.int8)
        zero = maker.integer(-128, 127)
        a = maker.model.tensor(slopes, "int8", float(maker.rng.uniform(0.001, 0.02)), zero, data)
    rescale(maker, y, maker.scale_of(x))
    maker.model.op(name, [x, a], [y])
    return [x], [y]


def compare(maker: LayerMaker, name: str) -> Layer:
    first, second, out = two_shapes(maker)
    a = maker.tensor(first)
    b = maker.tensor(second, like=a if maker.rng.random() < 0.5 else None)
    y = maker.model.tensor(out, "bool")
    maker.model.op(name, [a, b], [y])
    return [a, b], [y]


def logical(maker: LayerMaker, name: str) -> Layer:
    first, second, out = two_shapes(maker)
    inputs = [maker.model.tensor(s, "bool") for s in (first, second)]
    if name == "LOGICAL_NOT":
        inputs = [maker.model.tensor(out, "bool")]
    y = maker.model.tensor(out, "bool")
    maker.model.op(name, inputs, [y])
    return inputs, [y]


def select(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(4, 4)

    def part() -> tuple[int, ...]:
        return tuple(1 if maker.rng.random() < 0.3 else d for d in shape)

    c = maker.model.tensor(part(), "bool")
    a = maker.tensor(part())
    b = maker.tensor(part(), like=a)
    shapes = [shape_of(maker, t) for t in (c, a, b)]
    y = maker.tensor(np.broadcast_shapes(*shapes), like=a)
    maker.model.op(name, [c, a, b], [y])
    return [c, a, b], [y]


def add_n(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(3, 5)
    first = maker.tensor(shape)
    inputs = [first, *(maker.tensor(shape, like=first) for _ in range(maker.integer(1, 4)))]
    y = maker.tensor(shape)
    rescale(maker, y, maker.scale_of(first) * len(inputs))
    maker.model.op(name, inputs, [y])
    return inputs, [y]


# ---- moving


def slice_(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 6)
    begin = [maker.integer(0, d - 1) for d in shape]
    size = [maker.integer(1, d - b) for d, b in zip(shape, begin, strict=True)]
    written = [-1 if b + s == d and maker.rng.random() < 0.3 else s
               for d, b, s in zip(shape, begin, size, strict=True)]  # fmt: skip
    x = maker.tensor(shape)
    y = maker.tensor(tuple(size), like=x)
    maker.model.op(name, [x, constant(maker, begin), constant(maker, written)], [y])
    return [x], [y]


def strided_slice(maker: LayerMaker, name: str) -> Layer:
    while True:
        shape = maker.shape(maker.integer(1, 4), 6)
        begin = [maker.integer(-d, d - 1) for d in shape]
        end = [maker.integer(-d - 1, d + 1) for d in shape]
        step = [pick(maker, 1, 1, 2, 3, -1, -2) for _ in shape]
        masks = [maker.integer(0, 15) for _ in range(2)]
        shrink = maker.integer(0, 15) if maker.rng.random() < 0.3 else 0
        out = []
        for i, d in enumerate(shape):
            if shrink >> i & 1:
                step[i] = 1
                masks[0] &= ~(1 << i)
                masks[1] &= ~(1 << i)
                continue
            first = None if masks[0] >> i & 1 else begin[i]
            last = None if masks[1] >> i & 1 else end[i]
            out.append(len(range(d)[slice(first, last, step[i])]))
        if all(out):
            break
    x = maker.tensor(shape)
    y = maker.tensor(tuple(out), like=x)
    inputs = [x, *(constant(maker, v) for v in (begin, end, step))]
    options = {"begin_mask": masks[0], "end_mask": masks[1], "shrink_axis_mask": shrink}
    maker.model.op(name, inputs, [y], **options)
    return [x], [y]


def split(maker: LayerMaker, name: str) -> Layer:
    shape = list(maker.shape(maker.integer(1, 4), 5))
    axis = maker.integer(0, len(shape) - 1)
    count = maker.integer(1, 4)
    sizes = [maker.integer(1, 3)] * count
    if name == "SPLIT_V":
        sizes = [maker.integer(1, 3) for _ in range(count)]
    shape[axis] = sum(sizes)
    x = maker.tensor(tuple(shape))
    outputs = [maker.tensor((*shape[:axis], n, *shape[axis + 1 :]), like=x) for n in sizes]
    written = axis - len(shape) if maker.rng.random() < 0.3 else axis
    if name == "SPLIT":
        maker.model.op(name, [constant(maker, written), x], outputs, num_splits=count)
    else:
        inputs = [x, constant(maker, sizes), constant(maker, written)]
        maker.model.op(name, inputs, outputs, num_splits=count)
    return [x], outputs


def pack(maker: LayerMaker, name: str) -> Layer:
    part = maker.shape(maker.integer(1, 3), 5)
    axis, count = maker.integer(0, len(part)), maker.integer(1, 4)
    whole = (*part[:axis], count, *part[axis:])
    written = axis - len(whole) if maker.rng.random() < 0.3 else axis
    x = maker.tensor(part if name == "PACK" else whole)
    if name == "PACK":
        inputs = [x, *(maker.tensor(part, like=x) for _ in range(count - 1))]
        outputs = [maker.tensor(whole, like=x)]
        maker.model.op(name, inputs, outputs, values_count=count, axis=written)
        return inputs, outputs
    outputs = [maker.tensor(part, like=x) for _ in range(count)]
    maker.model.op(name, [x], outputs, num=count, axis=written)
    return [x], outputs


def transpose(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(2, 5), 5)
    order = maker.rng.permutation(len(shape))
    x = maker.tensor(shape)
    y = maker.tensor(tuple(shape[i] for i in order), like=x)
    maker.model.op(name, [x, constant(maker, order)], [y])
    return [x], [y]


def broadcast_to(maker: LayerMaker, name: str) -> Layer:
    out = maker.shape(maker.integer(1, 4), 4)
    given = tuple(1 if maker.rng.random() < 0.5 else d for d in out)[maker.integer(0, 1) :]
    x = maker.tensor(given or (1,))
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x, constant(maker, out)], [y])
    return [x], [y]


def fill(maker: LayerMaker, name: str) -> Layer:
    out = maker.shape(maker.integer(1, 4), 4)
    x = maker.tensor(())
    y = maker.tensor(out, like=x)
    maker.model.op(name, [constant(maker, out), x], [y])
    return [x], [y]


def expand_dims(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(3, 5)
    axis = maker.integer(0, 3)
    x = maker.tensor(shape)
    y = maker.tensor((*shape[:axis], 1, *shape[axis:]), like=x)
    maker.model.op(name, [x, constant(maker, [axis])], [y])
    return [x], [y]


def shape(maker: LayerMaker, name: str) -> Layer:
    x = maker.tensor(maker.shape(3, 5))
    y = maker.model.tensor((3,), "int32")
    z = maker.tensor(shape_of(maker, x), like=x)
    maker.model.op(name, [x], [y], out_type=2)
    maker.model.op("RESHAPE", [x, constant(maker, shape_of(maker, x))], [z])
    return [x], [y, z]


def depth_space(maker: LayerMaker, name: str) -> Layer:
    (b, h, w), c, block = maker.shape(3, 3), maker.integer(1, 4), maker.integer(1, 3)
    deep, wide = (b, h, w, c * block * block), (b, h * block, w * block, c)
    given, out = (deep, wide) if name == "DEPTH_TO_SPACE" else (wide, deep)
    x = maker.tensor(given)
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x], [y], block_size=block)
    return [x], [y]


def batch_space(maker: LayerMaker, name: str) -> Layer:
    while True:
        batch, c = maker.integer(1, 2), maker.integer(1, 4)
        block = [maker.integer(1, 3) for _ in range(2)]
        h, w = (b * maker.integer(1, 4) for b in block)
        # TFLite-Micro pads with whatever its uninitialized parameters hold.
        edges = maker.rng.integers(0, 3 if name == "BATCH_TO_SPACE_ND" else 1, (2, 2))
        inner = (h - edges[0].sum(), w - edges[1].sum())
        if min(inner) >= 1:
            break
    many = (batch * block[0] * block[1], h // block[0], w // block[1], c)
    wide = (batch, int(inner[0]), int(inner[1]), c)
    given, out = (many, wide) if name == "BATCH_TO_SPACE_ND" else (wide, many)
    x = maker.tensor(given)
    y = maker.tensor(out, like=x)
    maker.model.op(name, [x, constant(maker, block), constant(maker, edges)], [y])
    return [x], [y]


def mirror_pad(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    mode = maker.integer(0, 1)
    paddings = [[maker.integer(0, min(2, d - 1 + mode)) for _ in range(2)] for d in shape]
    x = maker.tensor(shape)
    y = maker.tensor(tuple(d + sum(p) for d, p in zip(shape, paddings, strict=True)), like=x)
    maker.model.op(name, [x, constant(maker, paddings)], [y], mode=mode)
    return [x], [y]


def gather(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    axis = maker.integer(0, len(shape) - 1)
    batch = maker.integer(0, axis) if maker.rng.random() < 0.3 else 0
    where = (*shape[:batch], *maker.shape(maker.integer(1, 2), 4))
    indices = constant(maker, maker.rng.integers(0, shape[axis], where))
    x = maker.tensor(shape)
    y = maker.tensor((*shape[:axis], *where[batch:], *shape[axis + 1 :]), like=x)
    maker.model.op(name, [x, indices], [y], axis=axis, batch_dims=batch)
    return [x], [y]


def reverse(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    x = maker.tensor(shape)
    y = maker.tensor(shape, like=x)
    maker.model.op(name, [x, constant(maker, [maker.integer(0, len(shape) - 1)])], [y])
    return [x], [y]


def resize(maker: LayerMaker, name: str) -> Layer:
    (h, w), c = maker.shape(2, 6), maker.integer(1, 4)
    size = [maker.integer(1, 12) for _ in range(2)]
    x = maker.tensor((maker.integer(1, 2), h, w, c))
    y = maker.tensor((shape_of(maker, x)[0], *size, c), like=x)
    corners = bool(maker.rng.random() < 0.4)
    centers = not corners and bool(maker.rng.random() < 0.5)
    options = {"align_corners": corners, "half_pixel_centers": centers}
    maker.model.op(name, [x, constant(maker, size)], [y], **options)
    return [x], [y]


# ---- reductions and rows


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


ALL = ("int8", "int16", "float32")
FLOAT = ("float32",)
NO_INT16 = ("int8", "float32")
WITH_INT32 = (*ALL, "int32")

# Each operator with its function and the types in which TFLite-Micro runs it.
MORE_LAYERS: dict[str, tuple[Function, tuple[str, ...]]] = {
    "ABS": (function, ALL),
    "ADD_N": (add_n, NO_INT16),
    "ARG_MAX": (arg, NO_INT16),
    "ARG_MIN": (arg, NO_INT16),
    "BATCH_TO_SPACE_ND": (batch_space, NO_INT16),
    "BROADCAST_TO": (broadcast_to, WITH_INT32),
    "CAST": (cast, (*WITH_INT32, "bool")),
    "CEIL": (function, FLOAT),
    "CUMSUM": (cumsum, NO_INT16),
    "DEPTH_TO_SPACE": (depth_space, NO_INT16),
    "DIV": (divide, (*NO_INT16, "int32")),
    "ELU": (function, NO_INT16),
    "EQUAL": (compare, (*NO_INT16, "int32", "bool")),
    "EXP": (function, FLOAT),
    "EXPAND_DIMS": (expand_dims, ALL),
    "FILL": (fill, (*NO_INT16, "int32")),
    "FLOOR": (function, FLOAT),
    "FLOOR_DIV": (divide, FLOAT),
    "FLOOR_MOD": (divide, FLOAT),
    "GATHER": (gather, NO_INT16),
    "GREATER": (compare, (*NO_INT16, "int32")),
    "GREATER_EQUAL": (compare, (*NO_INT16, "int32")),
    "HARD_SWISH": (hard_swish, NO_INT16),
    "L2_NORMALIZATION": (rows, NO_INT16),
    "L2_POOL_2D": (l2_pool, FLOAT),
    "LEAKY_RELU": (function, ALL),
    "LESS": (compare, (*NO_INT16, "int32")),
    "LESS_EQUAL": (compare, (*NO_INT16, "int32")),
    "LOG": (positive, FLOAT),
    "LOGICAL_AND": (logical, ("bool",)),
    "LOGICAL_NOT": (logical, ("bool",)),
    "LOGICAL_OR": (logical, ("bool",)),
    "LOG_SOFTMAX": (rows, NO_INT16),
    "MAXIMUM": (extremum, WITH_INT32),
    "MEAN": (reduction, ALL),
    "MINIMUM": (extremum, WITH_INT32),
    "MIRROR_PAD": (mirror_pad, NO_INT16),
    "NEG": (function, FLOAT),
    "NOT_EQUAL": (compare, (*NO_INT16, "int32", "bool")),
    "PACK": (pack, WITH_INT32),
    "PRELU": (prelu, ALL),
    "REDUCE_MAX": (reduction, NO_INT16),
    "REDUCE_MIN": (reduction, NO_INT16),
    "RESIZE_NEAREST_NEIGHBOR": (resize, ALL),
    "REVERSE_V2": (reverse, WITH_INT32),
    "ROUND": (function, FLOAT),
    "RSQRT": (positive, ALL),
    "SELECT_V2": (select, ALL),
    "SHAPE": (shape, ALL),
    "SLICE": (slice_, WITH_INT32),
    "SPACE_TO_BATCH_ND": (batch_space, NO_INT16),
    "SPACE_TO_DEPTH": (depth_space, NO_INT16),
    "SPLIT": (split, WITH_INT32),
    "SPLIT_V": (split, WITH_INT32),
    "SQRT": (positive, FLOAT),
    "SQUARE": (function, FLOAT),
    "SQUARED_DIFFERENCE": (binary, WITH_INT32),
    "STRIDED_SLICE": (strided_slice, WITH_INT32),
    "SUB": (binary, WITH_INT32),
    "SUM": (reduction, ALL),
    "TANH": (tanh, ALL),
    "TRANSPOSE": (transpose, ALL),
    "UNPACK": (pack, WITH_INT32),
}
