"""The kernels for the DSP extension, on an emulated Cortex-M4, against the portable ones.

Many layers side by side in one firmware; the portable kernels run natively, where test_layers.py
compares them with TFLite-Micro.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from build_model import ACTIVATION, PADDING
from comparing import random_inputs
from random_layers import Layer, LayerMaker

from tinydeploy.compiler.aot import AotCompiler, target_of
from tinydeploy.compiler.lower import lower
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.tflite import read_graph

BOARD = "qemu-cortex-m4"


class Layers(LayerMaker):
    """Layers of given shapes; scales, zero points, weights, biases and clamps are random."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, "int8")

    def window(  # type: ignore[override]
        self,
        image: tuple[int, int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        channels: int = 0,
        padding: str = "SAME",
        dilation: int = 1,
        batches: int = 1,
    ) -> Layer:
        """CONV_2D with so many output channels, DEPTHWISE_CONV_2D with none given."""
        size = [
            -(-n // s) if padding == "SAME" else (n - (k - 1) * dilation - 1) // s + 1
            for n, k, s in zip(image, kernel, stride, strict=False)
        ]
        out = channels or image[2]
        x = self.tensor((batches, *image))
        shape = (channels, *kernel, image[2]) if channels else (1, *kernel, out)
        weights, scales = self.weights(shape, True, 0 if channels else 3)
        bias = self.bias(out, scales)
        if bias < 0:
            data = np.zeros(out, np.int32)
            bias = self.model.tensor((out,), "int32", scales, 0, data)
        depth = int(np.prod(kernel)) * (image[2] if channels else 1)
        y = self.product_output((batches, *size, out), x, scales, depth)
        self.model.op(
            "CONV_2D" if channels else "DEPTHWISE_CONV_2D",
            [x, weights, bias],
            [y],
            padding=PADDING[padding],
            stride_h=stride[0],
            stride_w=stride[1],
            dilation_h_factor=dilation,
            dilation_w_factor=dilation,
            fused_activation_function=self.clamp(),
            **({} if channels else {"depth_multiplier": 1}),
        )
        return [x], [y]

    def product(self, rows: int, depth: int, channels: int) -> Layer:
        """FULLY_CONNECTED."""
        x = self.tensor((rows, depth))
        weights, scales = self.weights((channels, depth), bool(self.rng.random() < 0.5), 0)
        bias = self.bias(channels, scales * np.float32(self.scale_of(x)))
        y = self.product_output((rows, channels), x, scales, depth)
        self.model.op(
            "FULLY_CONNECTED", [x, weights, bias], [y], fused_activation_function=self.clamp()
        )
        return [x], [y]

    def add(self, shape: tuple[int, ...], equal_scales: bool) -> Layer:
        """ADD of two tensors of one shape."""
        a = self.tensor(shape)
        b = self.tensor(shape, like=a if equal_scales else None)
        y = self.tensor(shape)
        largest = max(self.scale_of(a), self.scale_of(b))
        scale = np.float32(largest * 2.0 ** self.rng.uniform(-1, 2))
        self.model.tensors[y].quantization.scale = np.array([scale], np.float32)
        self.model.op("ADD", [a, b], [y], fused_activation_function=self.clamp())
        return [a, b], [y]

    def clamp(self) -> int:
        return ACTIVATION[str(self.choose("NONE", "RELU", "RELU", "RELU6", "RELU_N1_TO_1"))]


def products(m: Layers) -> list[Layer]:
    """All depths and channels modulo what the blocks take at a time, also beyond a round."""
    depths = (1, 3, 4, 7, 8, 12, 17, 32, 33, 60, 64)
    layers = [m.product(1, depth, 1 + i % 9) for i, depth in enumerate(depths)]
    layers += [m.product(2 + i % 6, depth, 1 + i % 5) for i, depth in enumerate(depths)]
    return [*layers, m.product(1, 300, 12), m.product(3, 257, 6), m.product(4, 128, 8)]


def convolutions(m: Layers) -> list[Layer]:
    """Borders, strides, odd sizes, several images; whole groups of input channels and others."""
    return [
        m.window((5, 5, 4), (3, 3), channels=4),
        m.window((6, 7, 8), (3, 3), channels=3),
        m.window((7, 4, 12), (3, 3), (2, 1), channels=2),
        m.window((4, 9, 4), (3, 3), channels=5, padding="VALID"),
        m.window((2, 2, 4), (3, 3), channels=2),
        m.window((1, 1, 8), (3, 3), channels=2),
        m.window((9, 9, 4), (5, 5), (3, 2), channels=3),
        m.window((6, 5, 8), (1, 1), (2, 2), channels=6),
        m.window((5, 4, 4), (4, 2), channels=4, batches=2),
        m.window((8, 1, 4), (9, 1), channels=4),
        m.window((7, 7, 3), (3, 3), channels=4),
        m.window((9, 8, 3), (3, 3), (2, 2), channels=7),
        m.window((12, 10, 1), (10, 4), (2, 2), channels=6),
        m.window((6, 6, 1), (3, 3), channels=2, padding="VALID"),
        m.window((6, 5, 5), (2, 3), (1, 2), channels=3, batches=2),
        m.window((5, 5, 2), (1, 1), (2, 2), channels=3),
        m.window((7, 3, 6), (3, 3), channels=4),
        m.window((6, 6, 4), (3, 3), channels=4, dilation=2),
        m.window((3, 3, 20), (1, 1), channels=7),
    ]


def depthwise(m: Layers) -> list[Layer]:
    """3x3 with both strides, lines along rows and columns; other windows; one-sided images."""
    return [
        m.window((5, 5, 4), (3, 3)),
        m.window((9, 3, 8), (3, 3)),
        m.window((3, 10, 4), (3, 3)),
        m.window((8, 7, 4), (3, 3), (2, 2)),
        m.window((7, 8, 8), (3, 3), (2, 2)),
        m.window((7, 9, 4), (3, 3), padding="VALID"),
        m.window((8, 8, 4), (3, 3), (2, 2), padding="VALID"),
        m.window((7, 6, 4), (3, 3), (1, 2)),
        m.window((9, 9, 4), (3, 3), (3, 3)),
        m.window((1, 1, 4), (3, 3)),
        m.window((2, 2, 8), (3, 3), (2, 2)),
        m.window((4, 5, 4), (3, 3), batches=2),
        m.window((12, 1, 8), (5, 1), padding="VALID"),
        m.window((15, 1, 4), (15, 1), padding="VALID"),
        m.window((10, 1, 4), (4, 1), (3, 1)),
        m.window((6, 7, 4), (5, 5)),
        m.window((7, 6, 4), (2, 4), (2, 1)),
        m.window((6, 6, 4), (3, 3), dilation=2),
        m.window((5, 5, 6), (3, 3)),
    ]


def elementwise(m: Layers) -> list[Layer]:
    return [m.add((1, 5, n, 4), n % 2 == 0) for n in range(1, 9)]


KINDS = {
    "products": (products, {"td_vector_s8_dsp", "td_matmul_s8_dsp"}),
    "convolutions": (convolutions, {"td_conv_s8_dsp", "td_strip_conv_s8_dsp"}),
    "depthwise": (depthwise, {"td_depthwise_s8_dsp"}),
    "elementwise": (elementwise, {"td_add_s8_dsp"}),
}


def build(kinds: list[str], seed: int, path: Path) -> None:
    """One model with the layers of several kinds side by side."""
    maker = Layers(seed)
    inputs: list[int] = []
    outputs: list[int] = []
    for kind in kinds:
        for x, y in KINDS[kind][0](maker):
            inputs += x
            outputs += y
    path.write_bytes(maker.model.build(inputs, outputs))


def run(model: Path, optimize: str, folder: Path, inputs: list[np.ndarray]) -> list[np.ndarray]:
    """The outputs of firmware on the emulated board."""
    device = dataclasses.replace(find(BOARD), ram_bytes=4 << 20, flash_bytes=4 << 20)
    compiled = AotCompiler().compile(model, folder / "source", device=device, optimize=optimize)
    built = PlatformioBuilder().build(compiled, model, device, folder / "build")
    outputs, _ = QemuRunner().run(built, device, inputs)
    return outputs


@pytest.mark.qemu
@pytest.mark.parametrize(("optimize", "seed"), [("balanced", 1), ("speed", 2)])
def test_layers_compute_what_the_portable_kernels_do(
    optimize: str, seed: int, tmp_path: Path
) -> None:
    model = tmp_path / "model.tflite"
    build(list(KINDS), seed, model)
    target = target_of(find(BOARD), optimize)
    kernels = [call.kernel for call in specialise(lower(read_graph(model), target), target).calls]
    assert set(kernels) >= set().union(*(expected for _, expected in KINDS.values()))
    # The others have factors or sums that the fast kernels cannot hold, or a dilation.
    assert sum(kernel.endswith("_dsp") for kernel in kernels) > 0.7 * len(kernels)

    inputs = random_inputs(model, 4, seed)
    for x in inputs:  # the first sample: extremes only
        x[0] = np.where(x[0] < 0, -128, 127)
    expected = AotCompiler().native(model).predict(inputs)
    graph = read_graph(model)
    producer = {t: op.index for op in graph.ops for t in op.outputs}
    assert sum(len(np.unique(y)) > 4 for y in expected) > len(expected) // 2
    for t, ours, theirs in zip(
        graph.outputs, run(model, optimize, tmp_path, inputs), expected, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs, err_msg=f"layer {producer[t]}")
