"""Random single layers for comparing engines, many in one model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from build_model import ACTIVATION, PADDING, ModelBuilder

Layer = tuple[list[int], list[int]]


class LayerMaker:
    """Adds random layers of one data type to a model; parameters reach to their limits."""

    def __init__(self, seed: int, dtype: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.model = ModelBuilder()

    def choose(self, *options: object) -> object:
        return options[self.rng.integers(len(options))]

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def shape(self, rank: int, largest: int = 6) -> tuple[int, ...]:
        return tuple(self.integer(1, largest) for _ in range(rank))

    def scale(self) -> float | None:
        if self.dtype not in ("int8", "int16"):
            return None
        return float(np.float32(2.0 ** self.rng.uniform(-9, -2)))

    def zero(self) -> int:
        if self.dtype != "int8":
            return 0
        return int(self.choose(-128, 127, 0, self.integer(-128, 127)))  # type: ignore[call-overload]

    def tensor(self, shape: tuple[int, ...], like: int | None = None) -> int:
        """An activation, with the quantization of `like` or its own."""
        if like is not None:
            index = self.model.tensor(shape, self.dtype)
            self.model.tensors[index].quantization = self.model.tensors[like].quantization
            return index
        return self.model.tensor(shape, self.dtype, self.scale(), self.zero())

    def scale_of(self, index: int) -> float:
        quantization = self.model.tensors[index].quantization
        return 1.0 if quantization is None else float(quantization.scale[0])

    def weights(
        self, shape: tuple[int, ...], per_channel: bool, dimension: int
    ) -> tuple[int, np.ndarray]:
        """Constant weights and their scales, one or one a channel."""
        if self.dtype == "float32":
            data = self.rng.normal(size=shape).astype(np.float32)
            return self.model.tensor(shape, "float32", data=data), np.ones(1, np.float32)
        limit = int(self.choose(127, 127, 20))  # type: ignore[call-overload]
        data = self.rng.integers(-limit, limit + 1, shape).astype(np.int8)
        count = shape[dimension] if per_channel else 1
        scales = (2.0 ** self.rng.uniform(-12, -4, count)).astype(np.float32)
        index = self.model.tensor(
            shape, "int8", scales, 0, data, quantized_dimension=dimension if per_channel else 0
        )
        return index, scales

    def bias(self, channels: int, scales: np.ndarray) -> int:
        if self.rng.random() < 0.15:
            return -1
        if self.dtype == "float32":
            data = self.rng.normal(size=channels).astype(np.float32)
            return self.model.tensor((channels,), "float32", data=data)
        dtype = {"int8": np.int32, "int16": np.int64}[self.dtype]
        data = self.rng.integers(-30000, 30001, channels).astype(dtype)
        return self.model.tensor((channels,), data.dtype.name, scales, 0, data)

    def product_output(self, shape: tuple[int, ...], x: int, scales: np.ndarray, depth: int) -> int:
        """An output whose scale fits the sums, so that results are spread over its range."""
        if self.dtype == "float32":
            return self.tensor(shape)
        spread = self.scale_of(x) * float(scales.mean()) * 60 * np.sqrt(depth)
        exponents = (-12, 12) if self.rng.random() < 0.2 else (-1.5, 2)
        factor = 2.0 ** self.rng.uniform(*exponents)
        if self.dtype == "int16":
            factor = max(factor, 2.0**-6)  # the reference's factor must stay below 2**7
        return self.model.tensor(shape, self.dtype, float(np.float32(spread * factor)), self.zero())

    def activation(self) -> int:
        return ACTIVATION[str(self.choose("NONE", "RELU", "RELU6", "RELU_N1_TO_1"))]

    def window(self, size: int, largest: int = 4) -> tuple[str, int, int, int, int]:
        """Padding, kernel, stride, dilation and output length along one dimension."""
        while True:
            padding = str(self.choose("SAME", "VALID"))
            kernel, stride = self.integer(1, largest), self.integer(1, 3)
            dilation = self.integer(1, 2) if stride == 1 else 1
            reach = (kernel - 1) * dilation + 1
            out = -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1
            if out >= 1 and (padding == "SAME" or reach <= size):
                return padding, kernel, stride, dilation, out

    def windows(self, h: int, w: int, dilated: bool = True) -> dict[str, int]:
        """Two dimensions with one padding."""
        while True:
            a, b = self.window(h), self.window(w)
            if a[0] == b[0] and (dilated or a[3] == b[3] == 1):
                return {
                    "padding": PADDING[a[0]],
                    "k_h": a[1],
                    "k_w": b[1],
                    "stride_h": a[2],
                    "stride_w": b[2],
                    "dilation_h_factor": a[3],
                    "dilation_w_factor": b[3],
                    "out_h": a[4],
                    "out_w": b[4],
                }

    def conv(self) -> Layer:
        n, (h, w), c = 1, self.shape(2, 8), self.integer(1, 9)
        channels = self.integer(1, 10)
        g = self.windows(h, w)
        if self.rng.random() < 0.3:
            g |= {"k_h": 1, "k_w": 1, "stride_h": 1, "stride_w": 1, "out_h": h, "out_w": w}
        x = self.tensor((n, h, w, c))
        shape = (channels, g["k_h"], g["k_w"], c)
        weights, scales = self.weights(shape, bool(self.rng.random() < 0.8), 0)
        bias = self.bias(channels, scales)
        depth = int(np.prod(shape[1:]))
        y = self.product_output((n, g["out_h"], g["out_w"], channels), x, scales, depth)
        inputs = [x, weights] + ([bias] if bias >= 0 else [])
        self.model.op(
            "CONV_2D", inputs, [y], fused_activation_function=self.activation(), **_cut(g)
        )
        return [x], [y]

    def depthwise(self) -> Layer:
        (h, w), c = self.shape(2, 8), self.integer(1, 9)
        multiplier = int(self.choose(1, 1, 2, 3))  # type: ignore[call-overload]
        g = self.windows(h, w)
        x = self.tensor((1, h, w, c))
        shape = (1, g["k_h"], g["k_w"], c * multiplier)
        weights, scales = self.weights(shape, True, 3)
        bias = self.bias(c * multiplier, scales)
        if bias < 0:  # the reference demands one
            data = np.zeros(c * multiplier, np.int32 if self.dtype == "int8" else np.int64)
            if self.dtype == "float32":
                data = data.astype(np.float32)
            bias = self.model.tensor((c * multiplier,), data.dtype.name, scales, 0, data)
        depth = g["k_h"] * g["k_w"]
        y = self.product_output((1, g["out_h"], g["out_w"], c * multiplier), x, scales, depth)
        self.model.op(
            "DEPTHWISE_CONV_2D",
            [x, weights, bias],
            [y],
            depth_multiplier=multiplier,
            fused_activation_function=self.activation(),
            **_cut(g),
        )
        return [x], [y]

    def fully_connected(self) -> Layer:
        rows, depth, channels = self.integer(1, 3), self.integer(1, 40), self.integer(1, 10)
        x = self.tensor((rows, depth))
        weights, scales = self.weights((channels, depth), bool(self.rng.random() < 0.4), 0)
        scales = scales[:1] if len(scales) == 1 else scales
        bias = self.bias(channels, scales * np.float32(self.scale_of(x)))
        y = self.product_output((rows, channels), x, scales, depth)
        self.model.op(
            "FULLY_CONNECTED", [x, weights, bias], [y], fused_activation_function=self.activation()
        )
        return [x], [y]

    def pool(self) -> Layer:
        (h, w), c = self.shape(2, 8), self.integer(1, 7)
        g = self.windows(h, w, dilated=False)
        x = self.tensor((1, h, w, c))
        y = self.tensor((1, g["out_h"], g["out_w"], c), like=x)
        self.model.op(
            str(self.choose("AVERAGE_POOL_2D", "MAX_POOL_2D")),
            [x],
            [y],
            padding=g["padding"],
            stride_h=g["stride_h"],
            stride_w=g["stride_w"],
            filter_height=g["k_h"],
            filter_width=g["k_w"],
            fused_activation_function=self.activation(),
        )
        return [x], [y]

    def mean(self) -> Layer:
        shape = self.shape(4)
        first = self.integer(0, 3)
        axes = np.arange(first, self.integer(first, 3) + 1).astype(np.int32)
        keep = bool(self.rng.random() < 0.5)
        out = tuple(1 if i in axes else d for i, d in enumerate(shape) if keep or i not in axes)
        x = self.tensor(shape)
        y = self.tensor(out)
        if self.dtype != "float32":
            self.model.tensors[y].quantization.scale = np.array(
                [self.scale_of(x) * 2.0 ** self.rng.uniform(-1, 1)], np.float32
            )
        axis = self.model.tensor(axes.shape, "int32", data=axes)
        self.model.op("MEAN", [x, axis], [y], keep_dims=keep)
        return [x], [y]

    def binary(self) -> Layer:
        name = str(self.choose("ADD", "MUL"))
        shape = self.shape(4, 4)
        kind = self.integer(0, 4)
        other = {
            0: shape,
            1: shape,
            2: (1,),
            3: shape[3:],
            4: tuple(1 if self.rng.random() < 0.5 else d for d in shape),
        }[kind]
        a, b = self.tensor(shape), self.tensor(other)
        inputs = [a, b]
        if self.rng.random() < 0.3 and self.dtype != "float32":
            limits = np.iinfo(self.dtype)
            data = self.rng.integers(limits.min, limits.max + 1, other).astype(self.dtype)
            quantization = self.model.tensors[b].quantization
            b = self.model.tensor(other, self.dtype, 1.0, 0, data)
            self.model.tensors[b].quantization = quantization
            inputs = [a]
        y = self.tensor(shape)
        if self.dtype != "float32":
            product = self.scale_of(a) * self.scale_of(b) * np.iinfo(self.dtype).max
            common = max(self.scale_of(a), self.scale_of(b)) if name == "ADD" else product
            self.model.tensors[y].quantization.scale = np.array(
                [common * 2.0 ** self.rng.uniform(-2, 2)], np.float32
            )
        operands = [a, b] if self.rng.random() < 0.5 else [b, a]
        self.model.op(name, operands, [y], fused_activation_function=self.activation())
        return inputs, [y]

    def softmax(self) -> Layer:
        x = self.tensor((self.integer(1, 3), self.integer(1, 30)))
        if self.dtype == "int8":
            scale = 2.0 ** self.rng.uniform(-9, 3)
            self.model.tensors[x].quantization.scale = np.array([scale], np.float32)
        y = self._fixed(tuple(self.model.tensors[x].shape))
        self.model.op("SOFTMAX", [x], [y], beta=float(self.choose(1.0, 1.0, 0.5)))  # type: ignore[arg-type]
        return [x], [y]

    def logistic(self) -> Layer:
        x = self.tensor((1, self.integer(1, 300)))
        y = self._fixed(tuple(self.model.tensors[x].shape))
        self.model.op("LOGISTIC", [x], [y])
        return [x], [y]

    def _fixed(self, shape: tuple[int, ...]) -> int:
        """An output with the quantization that SOFTMAX and LOGISTIC demand."""
        if self.dtype == "float32":
            return self.tensor(shape)
        scale, zero = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}[self.dtype]
        return self.model.tensor(shape, self.dtype, scale, zero)

    def relu(self) -> Layer:
        x = self.tensor((1, self.integer(1, 300)))
        name = str(self.choose("RELU", "RELU6"))
        y = self.tensor(tuple(self.model.tensors[x].shape), like=x if name == "RELU6" else None)
        self.model.op(name, [x], [y])
        return [x], [y]

    def quantize(self) -> Layer:
        """Between integer types and scales; from float32 into integers and back."""
        shape = (1, self.integer(1, 300))
        x = self.tensor(shape)
        if self.dtype != "float32":
            other = str(self.choose("int8", "int16"))
            zero = self.zero() if other == self.dtype else 0
            y = self.model.tensor(shape, other, self.scale(), zero)
            self.model.op("QUANTIZE", [x], [y])
            return [x], [y]
        dtype = str(self.choose("int8", "int16"))
        zero = self.integer(-128, 127) if dtype == "int8" else 0
        scale = float(np.float32(2.0 ** self.rng.uniform(-9, -4)))
        q = self.model.tensor(shape, dtype, scale, zero)
        y = self.tensor(shape)
        self.model.op("QUANTIZE", [x], [q])
        self.model.op("DEQUANTIZE", [q], [y])
        return [x], [q, y]

    def pad(self) -> Layer:
        shape = self.shape(self.integer(2, 4), 4)
        paddings = self.rng.integers(0, 3, (len(shape), 2)).astype(np.int32)
        x = self.tensor(shape)
        out = tuple(int(d + p.sum()) for d, p in zip(shape, paddings, strict=True))
        y = self.tensor(out, like=x)
        p = self.model.tensor(paddings.shape, "int32", data=paddings)
        self.model.op("PAD", [x, p], [y])
        return [x], [y]

    def concatenation(self) -> Layer:
        shape = list(self.shape(4, 4))
        axis = self.integer(0, 3)
        parts = [self.integer(1, 4) for _ in range(self.integer(1, 4))]
        first = self.tensor(tuple(shape))
        inputs = []
        for part in parts:
            inputs.append(self.tensor((*shape[:axis], part, *shape[axis + 1 :]), like=first))
        total = (*shape[:axis], sum(parts), *shape[axis + 1 :])
        y = self.tensor(total, like=first)
        self.model.op("CONCATENATION", inputs, [y], axis=axis - 4 * self.integer(0, 1))
        return inputs, [y]

    def view(self) -> Layer:
        shape = self.shape(4, 4)
        flat = int(np.prod(shape))
        x = self.tensor(shape)
        y = self.tensor((1, flat), like=x)
        new_shape = np.array([1, flat], np.int32)
        s = self.model.tensor((2,), "int32", data=new_shape)
        self.model.op("RESHAPE", [x, s], [y], new_shape=new_shape)
        return [x], [y]

    def build(self, layer: Callable[[LayerMaker], Layer], count: int) -> bytes:
        """A model of `count` layers side by side, each with its own inputs and outputs."""
        inputs: list[int] = []
        outputs: list[int] = []
        for _ in range(count):
            a, b = layer(self)
            inputs += a
            outputs += b
        return self.model.build(inputs, outputs)


def _cut(g: dict[str, int]) -> dict[str, int]:
    return {k: v for k, v in g.items() if k not in ("k_h", "k_w", "out_h", "out_w")}


LAYERS: dict[str, Callable[[LayerMaker], Layer]] = {
    "conv": LayerMaker.conv,
    "depthwise": LayerMaker.depthwise,
    "fully_connected": LayerMaker.fully_connected,
    "pool": LayerMaker.pool,
    "mean": LayerMaker.mean,
    "binary": LayerMaker.binary,
    "softmax": LayerMaker.softmax,
    "logistic": LayerMaker.logistic,
    "relu": LayerMaker.relu,
    "quantize": LayerMaker.quantize,
    "pad": LayerMaker.pad,
    "concatenation": LayerMaker.concatenation,
    "view": LayerMaker.view,
}
