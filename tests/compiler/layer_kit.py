"""What the functions that make random layers share."""

from __future__ import annotations

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
