"""Layers of given shapes with random scales, weights and clamps, run on emulated boards.

For the kernels of one core: many layers side by side in one firmware. The portable kernels run
natively, where test_layers.py compares them with TFLite-Micro.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
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
        after: int = -1,
    ) -> Layer:
        """CONV_2D with so many output channels, DEPTHWISE_CONV_2D with none given.

        Its input is tensor `after`, or a new one.
        """
        size = [
            -(-n // s) if padding == "SAME" else (n - (k - 1) * dilation - 1) // s + 1
            for n, k, s in zip(image, kernel, stride, strict=False)
        ]
        out = channels or image[2]
        x = after if after >= 0 else self.tensor((batches, *image))
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

    def pooling(
        self, name: str, image: tuple[int, int, int], kernel: tuple[int, int], stride: int
    ) -> Layer:
        """AVERAGE_POOL_2D or MAX_POOL_2D."""
        x = self.tensor((1, *image))
        out = (1, *(-(-n // stride) for n in image[:2]), image[2])
        y = self.tensor(out, like=x)
        self.model.op(
            name,
            [x],
            [y],
            padding=PADDING["SAME"],
            stride_h=stride,
            stride_w=stride,
            filter_height=kernel[0],
            filter_width=kernel[1],
            fused_activation_function=self.clamp(),
        )
        return [x], [y]

    def clamp(self) -> int:
        return ACTIVATION[str(self.choose("NONE", "RELU", "RELU", "RELU6", "RELU_N1_TO_1"))]


def build(kinds: Iterable[Callable[[Layers], list[Layer]]], seed: int, path: Path) -> None:
    """One model with the layers of several kinds side by side."""
    maker = Layers(seed)
    inputs: list[int] = []
    outputs: list[int] = []
    for kind in kinds:
        for x, y in kind(maker):
            inputs += x
            outputs += y
    path.write_bytes(maker.model.build(inputs, outputs))


def kernels_of(model: Path, board: str, optimize: str) -> list[str]:
    """The kernel of each call that a board runs."""
    target = target_of(find(board), optimize)
    program = specialise(lower(read_graph(model), target), target)
    return [call.kernel for call in program.calls]


def run(
    model: Path, board: str, optimize: str, folder: Path, inputs: list[np.ndarray]
) -> list[np.ndarray]:
    """The outputs of firmware on an emulated board, with memory for all layers at once.

    Nothing is counted, which makes the emulator faster.
    """
    device = find(board)
    compiled = AotCompiler().compile(model, folder / "source", device=device, optimize=optimize)
    if compiled.arena_bytes > device.ram_bytes // 2:
        device = dataclasses.replace(device, ram_bytes=max(device.ram_bytes, 1 << 20))
    built = PlatformioBuilder().build(compiled, model, device, folder / "build")
    uncounted = dataclasses.replace(device, counts_instructions=False)
    outputs, _ = QemuRunner().run(built, uncounted, inputs)
    return outputs


def assert_same_on_board(
    model: Path, board: str, optimize: str, folder: Path, seed: int, samples: int = 4
) -> None:
    """A board computes what the native build does, also for inputs of extremes only."""
    inputs = random_inputs(model, samples, seed)
    for x in inputs:
        x[0] = np.where(x[0] < 0, -128, 127)
    expected = AotCompiler().native(model).predict(inputs)
    graph = read_graph(model)
    producer = {t: op.index for op in graph.ops for t in op.outputs}
    assert sum(len(np.unique(y)) > 4 for y in expected) > len(expected) // 2
    outputs = run(model, board, optimize, folder, inputs)
    for t, ours, theirs in zip(graph.outputs, outputs, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=f"layer {producer[t]}")
