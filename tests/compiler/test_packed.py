"""The kernels for cores without SIMD, natively and on emulated cores, against the portable ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import random_inputs
from random_layers import Layer
from shaped_layers import Layers, assert_same_on_board, build, kernels_of

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.lower.packed import part_depth
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.compiler.native import NativePredictor
from tinydeploy.compiler.plan import plan_memory
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.tflite import read_graph

BOARDS = ("qemu-cortex-m3", "qemu-rv32")


def products(m: Layers) -> list[Layer]:
    """Rows and channels modulo a block, depths around a round of the unrolled loops."""
    depths = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 64)
    layers = [m.product(2 + i % 7, depth, 1 + i % 9) for i, depth in enumerate(depths)]
    layers += [m.product(1, depth, 1 + i % 9) for i, depth in enumerate(depths)]
    return [*layers, m.product(1, 300, 12), m.product(5, 257, 6)]


def parted(m: Layers) -> list[Layer]:
    """So deep that the largest weights leave their fields."""
    return [m.product(4, 700, 5), m.window((4, 4, 40), (3, 3), channels=6)]


def convolutions(m: Layers) -> list[Layer]:
    """Borders, strides, dilation, odd sizes, several images, fewer pixels than three."""
    return [
        m.window((5, 5, 4), (3, 3), channels=4),
        m.window((6, 7, 8), (3, 3), channels=3),
        m.window((7, 4, 5), (3, 3), (2, 1), channels=2),
        m.window((4, 9, 4), (3, 3), channels=5, padding="VALID"),
        m.window((1, 2, 4), (3, 3), channels=2),
        m.window((1, 1, 8), (3, 3), channels=9),
        m.window((9, 9, 4), (5, 5), (3, 2), channels=3),
        m.window((5, 4, 4), (4, 2), channels=4, batches=2),
        m.window((12, 10, 1), (10, 4), (2, 2), channels=6),
        m.window((6, 6, 4), (3, 3), channels=4, dilation=2),
        m.window((3, 3, 20), (1, 1), (2, 2), channels=7),
    ]


def depthwise(m: Layers) -> list[Layer]:
    """Planes of one strip and of several; 3x3 and other windows, with borders and without."""
    return [
        m.window((5, 5, 4), (3, 3)),
        m.window((25, 5, 6), (3, 3)),
        m.window((3, 30, 3), (3, 3)),
        m.window((16, 22, 2), (3, 3)),
        m.window((17, 9, 4), (3, 3), (2, 2)),
        m.window((18, 8, 8), (3, 3), (2, 2)),
        m.window((7, 9, 4), (3, 3), padding="VALID"),
        m.window((9, 12, 4), (3, 3), (1, 2)),
        m.window((4, 15, 4), (3, 3), batches=2),
        m.window((10, 8, 4), (3, 3), dilation=2),
        m.window((6, 17, 4), (5, 5)),
        m.window((7, 16, 4), (2, 4), (2, 1)),
        m.window((12, 1, 8), (5, 1), padding="VALID"),
    ]


def elementwise(m: Layers) -> list[Layer]:
    return [m.add((1, 5, n, 4), n % 2 == 0) for n in range(1, 9)]


KINDS = (products, parted, convolutions, depthwise, elementwise)
KERNELS = {"matmul", "vector", "conv", "depthwise", "add"}


def assert_chosen(kernels: list[str]) -> None:
    """All kernels, and most calls: other layers have factors or sums that they cannot hold."""
    packed = [kernel for kernel in kernels if kernel.endswith("_s8_packed")]
    assert {kernel.split("_")[1] for kernel in packed} >= KERNELS
    assert len(packed) > len(kernels) // 2


@pytest.mark.parametrize("seed", range(4))
def test_plain_c_computes_what_the_portable_kernels_do(seed: int, tmp_path: Path) -> None:
    """Every core but those with assembler takes the kernels as plain C, which runs here too."""
    model = tmp_path / "model.tflite"
    build(KINDS, seed, model)
    graph, target = read_graph(model), Target(core="none of ours")
    program = specialise(lower(graph, target), target)
    assert_chosen([call.kernel for call in program.calls])
    inputs = random_inputs(model, 20, seed)
    for x in inputs:
        x[0] = np.where(x[0] < 0, -128, 127)
    expected = AotCompiler().native(model).predict(inputs)
    packed = NativePredictor(graph, emit(graph, program, plan_memory(program)))
    for t, ours, theirs in zip(graph.outputs, packed.predict(inputs), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=f"tensor {t}")


@pytest.mark.qemu
@pytest.mark.parametrize("board", BOARDS)
def test_boards_compute_what_the_portable_kernels_do(board: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    seed = BOARDS.index(board)
    build(KINDS, seed, model)
    assert_chosen(kernels_of(model, board, "balanced"))
    assert_same_on_board(model, board, "balanced", tmp_path, seed)


def few(m: Layers) -> list[Layer]:
    """Small enough for 16 KB of RAM, which QEMU does not extend."""
    return [
        m.product(4, 17, 6),
        m.product(1, 33, 5),
        m.window((5, 5, 4), (3, 3), channels=5),
        m.window((7, 4, 3), (3, 3), (2, 1), channels=2),
        m.window((9, 9, 4), (3, 3)),
        m.window((6, 17, 2), (5, 5)),
        m.add((1, 5, 3, 4), False),
        m.add((1, 5, 3, 4), True),
    ]


@pytest.mark.qemu
def test_cortex_m0_computes_what_the_portable_kernels_do(tmp_path: Path) -> None:
    model, device = tmp_path / "model.tflite", find("qemu-cortex-m0")
    build([few], 1, model)
    assert_chosen(kernels_of(model, device.name, "balanced"))
    inputs = random_inputs(model, 4, 1)
    compiled = AotCompiler().compile(model, tmp_path / "source", device=device)
    built = PlatformioBuilder().build(compiled, model, device, tmp_path / "build")
    outputs, _ = QemuRunner().run(built, device, inputs)
    for ours, theirs in zip(outputs, AotCompiler().native(model).predict(inputs), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_parts_are_as_deep_as_their_sums_allow() -> None:
    limit = 2**20 // 128  # a sum of weights that just does not fit 21 bits with any inputs
    fits = np.full((2, 100), 81, np.int8)
    fits[1, 0] -= 1
    assert limit > 81 * 100 and part_depth(fits) == 100
    just = np.full((1, 128), 64, np.int8)
    assert limit == 64 * 128 and part_depth(just) == 64
    assert part_depth(np.full((1, 640), -128, np.int8)) == 59  # 11 parts of at most 63
    assert part_depth(np.zeros((3, 7), np.int8)) == 7


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_at_the_limit_of_their_fields(sign: int, tmp_path: Path) -> None:
    """All weights and inputs as large as can be, with the deepest part that 21 bits allow."""
    maker = Layers(0)
    rows, depth = 3, 64
    x = maker.model.tensor((rows, depth), "int8", 1.0, 0)
    data = np.full((4, depth), 127 * sign, np.int8)
    weights = maker.model.tensor((4, depth), "int8", 1.0, 0, data)
    y = maker.model.tensor((rows, 4), "int8", 2.0**13, 0)
    maker.model.op("FULLY_CONNECTED", [x, weights, -1], [y])
    model = tmp_path / "model.tflite"
    model.write_bytes(maker.model.build([x], [y]))
    graph, target = read_graph(model), Target(core="none of ours")
    program = specialise(lower(graph, target), target)
    assert program.calls[0].kernel == "td_matmul_s8_packed"
    assert program.calls[0].params["product"]["part_depth"] == depth
    columns = np.array(np.meshgrid([-128, 127], [-128, 127], [-128, 127])).reshape(3, -1)
    inputs = [np.repeat(columns.T[:, :, None], depth, axis=2).astype(np.int8)]
    inputs = [inputs[0].reshape(-1, *read_graph(model).tensors[x].shape)]
    packed = NativePredictor(graph, emit(graph, program, plan_memory(program)))
    expected = AotCompiler().native(model).predict(inputs)
    np.testing.assert_array_equal(packed.predict(inputs)[0], expected[0])
    assert len(np.unique(expected[0])) == 2
