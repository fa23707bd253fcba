"""A small convolutional network whose weights need few bits: int4, pruned or clustered."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from build_model import PADDING, ModelBuilder

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def dense(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-127, 128, shape).astype(np.int8)


def four_bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(-7, 8, shape).astype(np.int8)


def pruned(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """80 % are 0, without any structure."""
    return (dense(rng, shape) * (rng.random(shape) < 0.2)).astype(np.int8)


def clustered(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """16 values a layer."""
    return rng.choice(rng.choice(np.arange(-127, 128), 16, replace=False), shape).astype(np.int8)


def pruned_and_clustered(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (clustered(rng, shape) * (rng.random(shape) < 0.2)).astype(np.int8)


DRAWS: dict[str, Draw] = {
    f.__name__: f for f in (dense, four_bits, pruned, clustered, pruned_and_clustered)
}


class Network:
    """Adds layers one behind the other."""

    def __init__(self, draw: Draw, int4: bool, seed: int) -> None:
        self.model = ModelBuilder()
        self.rng = np.random.default_rng(seed)
        self.draw, self.int4 = draw, int4
        self.at = self.model.tensor((1, 8, 8, 9), "int8", 0.05, -3)
        self.first = self.at

    def weights(self, values: np.ndarray, scales: np.ndarray, dimension: int) -> int:
        dtype, data = "int8", values
        if self.int4:
            nibbles = np.append(values.reshape(-1) & 15, np.zeros(values.size % 2, np.int8))
            dtype, data = "int4", (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)
        return self.model.tensor(
            values.shape, dtype, scales, 0, data, quantized_dimension=dimension
        )

    def layer(
        self,
        name: str,
        shape: tuple[int, ...],
        out: tuple[int, ...],
        dimension: int = 0,
        **options: int,
    ) -> None:
        """Its output's scale spreads the outputs of random inputs over their range."""
        channels = out[-1]
        count = channels if name != "FULLY_CONNECTED" else 1
        scales = self.rng.uniform(0.001, 0.003, count).astype(np.float32)
        values = self.draw(self.rng, shape)
        given = self.model.tensors[self.at].quantization.scale
        bias = self.rng.integers(-999, 999, channels).astype(np.int32)
        bias_tensor = self.model.tensor((channels,), "int32", given * scales, 0, bias)
        weights = self.weights(values, scales, dimension)
        depth = values.size // channels
        scale = float(given[0] * scales.mean() * values.std() * 1.5 * np.sqrt(depth))
        output = self.model.tensor(out, "int8", scale, 5)
        self.model.op(name, [self.at, weights, bias_tensor], [output], **options)
        self.at = output


def few_bits_model(kind: str, *, int4: bool = False, seed: int = 1) -> bytes:
    """3x3, 1x1, depthwise, dilated and strided convolutions, and two dense layers; odd sizes."""
    net = Network(DRAWS[kind], int4, seed)
    steps = {"stride_h": 1, "stride_w": 1}
    twice = {"stride_h": 2, "stride_w": 2}
    net.layer("CONV_2D", (34, 3, 3, 9), (1, 8, 8, 34), padding=PADDING["SAME"], **steps)
    net.layer("CONV_2D", (19, 1, 1, 34), (1, 8, 8, 19), padding=PADDING["SAME"], **steps)
    net.layer(
        "DEPTHWISE_CONV_2D",
        (1, 3, 3, 19),
        (1, 4, 4, 19),
        3,
        padding=PADDING["SAME"],
        depth_multiplier=1,
        **twice,
    )
    net.layer("CONV_2D", (23, 3, 3, 19), (1, 2, 2, 23), padding=PADDING["VALID"], **steps)
    net.layer("FULLY_CONNECTED", (33, 92), (1, 33))
    net.layer("FULLY_CONNECTED", (10, 33), (1, 10))
    return net.model.build([net.first], [net.at])
