"""Random graphs of several layers: chains and branches, several inputs and outputs.

Every layer takes tensors that exist, so that the planner meets lifetimes of all kinds, views, and
layers that write in place. Integer graphs keep scales in range by giving most outputs a scale near
their input's.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from layer_kit import constant, rescale, shape_of
from random_layers import LayerMaker

LARGEST = 400  # elements of a tensor


class GraphMaker:
    """Adds layers to one model until there are enough."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.maker = LayerMaker(seed, dtype)
        self.rng = self.maker.rng
        self.live: list[int] = []
        self.used: set[int] = set()
        self.inputs: list[int] = []

    def build(self, layers: int) -> bytes:
        """A model of `layers` layers; what no layer uses becomes an output, and some more."""
        for _ in range(self.maker.integer(1, 3)):
            h, w, c = self.maker.shape(3, 6)
            self.inputs.append(self.maker.tensor((1, h, w, c)))
        self.live = list(self.inputs)
        for _ in range(layers):
            step = STEPS[self.rng.integers(len(STEPS))]
            made = step(self)
            if made is not None:
                self.live.append(made)
        produced = [t for t in self.live if t not in self.inputs]
        outputs = [t for t in produced if t not in self.used or self.rng.random() < 0.15]
        return self.maker.model.build(self.inputs, outputs)

    def take(self) -> int:
        """A tensor to read, rather a late one."""
        at = len(self.live) - 1 - min(int(self.rng.exponential(2.0)), len(self.live) - 1)
        self.used.add(self.live[at])
        return self.live[at]

    def shape(self, tensor: int) -> tuple[int, ...]:
        return shape_of(self.maker, tensor)

    def like(self, x: int, shape: tuple[int, ...]) -> int:
        """A new tensor with the quantization of x."""
        return self.maker.tensor(shape, like=x)

    def near(self, x: int, shape: tuple[int, ...], factor: float = 1.0) -> int:
        """A new tensor with a scale near factor times that of x, kept within a range."""
        y = self.maker.tensor(shape)
        rescale(self.maker, y, min(max(self.maker.scale_of(x) * factor, 2.0**-10), 2.0**-2))
        return y


def conv(g: GraphMaker) -> int:
    x, m = g.take(), g.maker
    _, h, w, c = g.shape(x)
    window, channels = m.windows(h, w), m.integer(1, 6)
    kernel = (channels, window["k_h"], window["k_w"], c)
    weights, scales = m.weights(kernel, True, 0)
    out = (1, window["out_h"], window["out_w"], channels)
    y = m.product_output(out, x, scales, math.prod(kernel[1:]))
    sizes = ("k_h", "k_w", "out_h", "out_w")
    options = {k: v for k, v in window.items() if k not in sizes}
    m.model.op("CONV_2D", [x, weights], [y], fused_activation_function=m.activation(), **options)
    if m.dtype == "float32":
        return y
    near = g.near(x, out)  # back into the range of scales
    m.model.op("QUANTIZE", [y], [near])
    return near


def pair(g: GraphMaker) -> int | None:
    a = g.take()
    same = [t for t in g.live if g.shape(t) == g.shape(a)]
    b = same[g.rng.integers(len(same))]
    g.used.add(b)
    name = str(g.maker.choose("ADD", "SUB", "MUL"))
    largest = np.iinfo(g.maker.dtype).max if g.maker.dtype != "float32" else 1
    scales = g.maker.scale_of(a), g.maker.scale_of(b)
    factor = scales[1] * largest if name == "MUL" else max(scales) / scales[0]
    y = g.near(a, g.shape(a), factor)
    if g.maker.dtype != "float32" and max(scales) / g.maker.scale_of(y) > 2.0**10:
        return None
    g.maker.model.op(name, [a, b], [y], fused_activation_function=g.maker.activation())
    return y


def pool(g: GraphMaker) -> int:
    x, m = g.take(), g.maker
    _, h, w, c = g.shape(x)
    window = m.windows(h, w, dilated=False)
    y = g.like(x, (1, window["out_h"], window["out_w"], c))
    m.model.op(
        str(m.choose("AVERAGE_POOL_2D", "MAX_POOL_2D")),
        [x],
        [y],
        padding=window["padding"],
        stride_h=window["stride_h"],
        stride_w=window["stride_w"],
        filter_height=window["k_h"],
        filter_width=window["k_w"],
    )
    return y


def function(g: GraphMaker) -> int:
    x = g.take()
    y = g.near(x, g.shape(x))
    name = str(g.maker.choose("LEAKY_RELU", "RELU", "ABS"))
    options = {"alpha": 0.25} if name == "LEAKY_RELU" else {}
    g.maker.model.op(name, [x], [y], **options)
    return y


def reshape(g: GraphMaker) -> int:
    x = g.take()
    shape = tuple(int(d) for d in g.rng.permutation(g.shape(x)[1:]))
    y = g.like(x, (1, *shape))
    new_shape = np.array((1, *shape), np.int32)
    g.maker.model.op("RESHAPE", [x, constant(g.maker, new_shape)], [y], new_shape=new_shape)
    return y


def transpose(g: GraphMaker) -> int:
    x = g.take()
    order = [0, *(1 + g.rng.permutation(3))]
    y = g.like(x, tuple(g.shape(x)[i] for i in order))
    g.maker.model.op("TRANSPOSE", [x, constant(g.maker, order)], [y])
    return y


def pad(g: GraphMaker) -> int:
    x = g.take()
    if math.prod(g.shape(x)) > LARGEST:
        return pool(g)
    paddings = np.array([[0, 0], *g.rng.integers(0, 2, (3, 2))], np.int32)
    y = g.like(x, tuple(int(d + p.sum()) for d, p in zip(g.shape(x), paddings, strict=True)))
    g.maker.model.op("PAD", [x, constant(g.maker, paddings)], [y])
    return y


def join(g: GraphMaker) -> int:
    x = g.take()
    if 2 * math.prod(g.shape(x)) > LARGEST:
        return pool(g)
    axis = g.maker.integer(1, 3)
    shape = list(g.shape(x))
    shape[axis] *= 2
    y = g.like(x, tuple(shape))
    g.maker.model.op("CONCATENATION", [x, x], [y], axis=axis)
    return y


def split(g: GraphMaker) -> int | None:
    x = g.take()
    axis = g.maker.integer(1, 3)
    shape = list(g.shape(x))
    if shape[axis] % 2:
        return None
    shape[axis] //= 2
    halves = [g.like(x, tuple(shape)) for _ in range(2)]
    g.maker.model.op("SPLIT", [constant(g.maker, axis), x], halves, num_splits=2)
    g.live.append(halves[0])
    return halves[1]


def mean(g: GraphMaker) -> int:
    x = g.take()
    _, _, _, c = g.shape(x)
    y = g.near(x, (1, 1, 1, c))
    g.maker.model.op("MEAN", [x, constant(g.maker, [1, 2])], [y], keep_dims=True)
    return y


STEPS: list[Callable[[GraphMaker], int | None]] = [
    conv,
    conv,
    pair,
    pair,
    pool,
    function,
    function,
    reshape,
    transpose,
    pad,
    join,
    split,
    mean,
]
