"""Random layers that compute element by element."""

from __future__ import annotations

import math

import numpy as np
from layer_kit import constant, pick, rescale, shape_of, with_scale
from random_layers import Layer, LayerMaker


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
