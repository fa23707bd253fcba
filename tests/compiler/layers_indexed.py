"""Random layers that copy from where, or to where, a tensor says."""

from __future__ import annotations

import numpy as np
from layer_kit import constant, shape_of
from random_layers import Layer, LayerMaker


def gather_nd(maker: LayerMaker, name: str) -> Layer:
    """By constant indices, or by the places of a tensor's maxima."""
    shape = maker.shape(maker.integer(1, 4), 5)
    x = maker.tensor(shape)
    if maker.rng.random() < 0.3:
        depth, where = 1, (maker.integer(1, 4), 1)
        scores = maker.tensor((where[0], shape[0]))
        found = maker.model.tensor(where[:1], "int32")
        indices = maker.model.tensor(where, "int32")
        maker.model.op("ARG_MAX", [scores, constant(maker, 1)], [found], output_type=2)
        maker.model.op("RESHAPE", [found, constant(maker, where)], [indices], new_shape=where)
        inputs = [x, scores]
    else:
        depth = maker.integer(1, len(shape))
        where = (*maker.shape(maker.integer(1, 2), 4), depth)
        values = [maker.rng.integers(0, d, where[:-1]) for d in shape[:depth]]
        indices, inputs = constant(maker, np.stack(values, -1)), [x]
    y = maker.tensor((*where[:-1], *shape[depth:]), like=x)
    maker.model.op(name, [x, indices], [y])
    return inputs, [y]


def embedding_lookup(maker: LayerMaker, name: str) -> Layer:
    rows, row, count = maker.integer(1, 9), maker.shape(maker.integer(1, 2), 5), maker.integer(1, 6)
    table = maker.weights((rows, *row), False, 0)[0]
    scores = maker.tensor((count, rows))
    found = maker.model.tensor((count,), "int32")
    maker.model.op("ARG_MAX", [scores, constant(maker, 1)], [found], output_type=2)
    y = maker.model.tensor((count, *row), "float32")
    if maker.dtype == "int8" and maker.rng.random() < 0.5:
        y = maker.tensor((count, *row), like=table)
    maker.model.op(name, [found, table], [y])
    return [scores], [y]


def update_slice(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 5)
    part = tuple(maker.integer(1, d) for d in shape)
    x = maker.tensor(shape)
    update, y = maker.tensor(part, like=x), maker.tensor(shape, like=x)
    if maker.rng.random() < 0.5:
        starts = maker.model.tensor((len(shape),), "int32")
        inputs = [x, update, starts]
    else:
        starts = constant(maker, [maker.integer(-1, d) for d in shape])
        inputs = [x, update]
    maker.model.op(name, [x, update, starts], [y])
    return inputs, [y]


def zeros_like(maker: LayerMaker, name: str) -> Layer:
    """Beside a view of its input, which would otherwise be read by nobody."""
    x = maker.tensor(maker.shape(3, 5))
    y, z = maker.tensor(shape_of(maker, x)), maker.tensor(shape_of(maker, x), like=x)
    maker.model.op(name, [x], [y])
    maker.model.op("RESHAPE", [x, constant(maker, shape_of(maker, x))], [z])
    return [x], [y, z]


def reduce_all(maker: LayerMaker, name: str) -> Layer:
    shape = maker.shape(maker.integer(1, 4), 3)
    axes = [i for i in range(len(shape)) if maker.rng.random() < 0.5] or [0]
    keep = bool(maker.rng.random() < 0.5)
    out = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
    x, y = maker.model.tensor(shape, "bool"), maker.model.tensor(out, "bool")
    maker.model.op(name, [x, constant(maker, axes)], [y], keep_dims=keep)
    return [x], [y]
