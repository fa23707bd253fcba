"""The kernels for the DSP extension, on an emulated Cortex-M4, against the portable ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from comparing import random_inputs
from random_layers import Layer
from shaped_layers import Layers, assert_same_on_board, build, kernels_of, run

from tinydeploy.compiler.lower.dsp_winograd import BIASED, SCALE, TRANSFORM
from tinydeploy.pipeline.interpreters import TfliteMicro

BOARD = "qemu-cortex-m4"


def products(m: Layers) -> list[Layer]:
    """All depths and channels modulo what the blocks take at a time, also beyond a round."""
    depths = (1, 3, 4, 7, 8, 12, 17, 32, 33, 60, 64)
    layers = [m.product(1, depth, 1 + i % 9) for i, depth in enumerate(depths)]
    layers += [m.product(2 + i % 6, depth, 1 + i % 5) for i, depth in enumerate(depths)]
    return [*layers, m.product(1, 300, 12), m.product(3, 257, 6), m.product(4, 128, 8)]


def deep(m: Layers) -> list[Layer]:
    """Sums too large for two channels in one register: rests of a round, pixels, channels."""
    layers = [m.product(1, depth, 9 + i) for i, depth in enumerate((1040, 1051, 1059, 1064))]
    layers += [m.product(2 + i % 2, 1029 + 4 * i, 5 - i % 3) for i in range(8)]
    layers += [m.window((3, 4, 120), (3, 3), channels=5), m.window((2, 4, 119), (3, 3), channels=6)]
    return layers


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


def threes(m: Layers) -> list[Layer]:
    """3x3 side by side: tiles whole, cut and single, one or several lines of them, all paddings;
    inputs that are less, equal and more than a round of the unrolled loop."""
    return [
        m.window((5, 8, 16), (3, 3), channels=16),
        m.window((9, 12, 32), (3, 3), channels=8),
        m.window((6, 17, 8), (3, 3), channels=6),
        m.window((7, 11, 4), (3, 3), channels=16, padding="VALID"),
        m.window((3, 9, 20), (3, 3), channels=10, batches=2),
        m.window((1, 15, 16), (3, 3), channels=12),
        m.window((11, 4, 64), (3, 3), channels=20),
        m.window((8, 8, 24), (3, 3), channels=30),
        m.window((5, 7, 12), (3, 3), channels=18),
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
        m.window((9, 1, 12), (3, 1)),
        m.window((1, 11, 8), (1, 5), (1, 2)),
        m.window((6, 5, 4), (1, 2)),
        m.window((20, 2, 4), (17, 1), padding="VALID"),
        m.window((9, 3, 4), (3, 1), dilation=2, padding="VALID"),
        m.window((7, 1, 8), (1, 1)),
        m.window((40, 1, 4), (19, 1)),
        m.window((6, 7, 4), (5, 5)),
        m.window((7, 6, 4), (2, 4), (2, 1)),
        m.window((6, 6, 4), (3, 3), dilation=2),
        m.window((5, 5, 6), (3, 3)),
    ]


def elementwise(m: Layers) -> list[Layer]:
    return [m.add((1, 5, n, 4), n % 2 == 0) for n in range(1, 9)]


def pools(m: Layers) -> list[Layer]:
    names = ("AVERAGE_POOL_2D", "MAX_POOL_2D")
    shapes = (((5, 6, 8), (2, 3), 1), ((7, 7, 4), (3, 3), 2), ((4, 4, 12), (4, 4), 4))
    return [m.pooling(name, *shape) for name in names for shape in shapes]


KINDS = {
    "products": (products, {"td_vector_s8_dsp", "td_matmul_s8_dsp"}),
    "convolutions": (convolutions, {"td_conv_s8_dsp", "td_strip_conv_s8_dsp"}),
    "threes": (threes, {"td_conv_s8_dsp"}),
    "depthwise": (depthwise, {"td_depthwise_s8_dsp", "td_taps_depthwise_s8_dsp"}),
    "elementwise": (elementwise, {"td_add_s8_dsp"}),
    "pools": (pools, {"td_average_pool_s8_dsp", "td_max_pool_s8_dsp"}),
}


@pytest.mark.qemu
@pytest.mark.parametrize(("optimize", "seed"), [("balanced", 1), ("speed", 2)])
def test_layers_compute_what_the_portable_kernels_do(
    optimize: str, seed: int, tmp_path: Path
) -> None:
    model = tmp_path / "model.tflite"
    build([kind for kind, _ in KINDS.values()], seed, model)
    kernels = kernels_of(model, BOARD, optimize)
    assert set(kernels) >= set().union(*(expected for _, expected in KINDS.values()))
    winograd = kernels.count("td_winograd_s8_dsp")
    assert winograd > 4 if optimize == "speed" else winograd == 0
    # The others have factors or sums that the fast kernels cannot hold, or a dilation.
    assert sum(kernel.endswith("_dsp") for kernel in kernels) > 0.7 * len(kernels)
    assert_same_on_board(model, BOARD, optimize, tmp_path, seed, samples=2)


@pytest.mark.qemu
def test_deep_layers(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    build([deep], 6, model)
    kernels = kernels_of(model, BOARD, "balanced")
    assert {"td_vector_s8_dsp", "td_matmul_s8_dsp", "td_conv_s8_dsp"} <= set(kernels)
    assert_same_on_board(model, BOARD, "balanced", tmp_path, 6)


def test_transformed_weights_and_inputs_give_the_sums_24_fold() -> None:
    """Winograd's F(4,3) in plain integers, as td_winograd_dsp.c computes it."""
    rng = np.random.default_rng(0)
    g, d = rng.integers(-128, 128, (100, 3)), rng.integers(-128, 128, (100, 6))
    inputs = np.array(
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ]
    )
    sums = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0]])
    sums = np.vstack([sums, [0, 1, -1, 8, -8, 1]])
    assert (abs(inputs).sum(axis=1) * 128 < 2**15).all()
    assert (abs(TRANSFORM).sum(axis=1) * 128 < 2**15).all()
    products = (g @ TRANSFORM.T) * (d @ inputs.T)
    expected = np.stack([(d[:, i : i + 3] * g).sum(axis=1) for i in range(4)], axis=1)
    np.testing.assert_array_equal(products @ sums.T, SCALE * expected)
    # Where all sums take position BIASED once, a bias there is added to each output.
    assert (sums[:, BIASED] == 1).all()


@pytest.mark.shared
@pytest.mark.qemu
@pytest.mark.parametrize(
    ("name", "board", "optimize"),
    [
        ("kws_ref_model", "qemu-cortex-m7", "balanced"),
        ("pretrainedResnet_quant", "qemu-cortex-m33", "balanced"),
        ("pretrainedResnet_quant", "qemu-cortex-m4", "speed"),
        ("ad01_int8", "qemu-cortex-m33", "speed"),
        ("str_ww_ref_model", "qemu-cortex-m7", "speed"),
    ],
)
def test_mlperf_tiny(name: str, board: str, optimize: str, shared: Path, tmp_path: Path) -> None:
    """Whole models on the cores that test_boards.py does not run."""
    model = shared / "models" / "mlperf_tiny" / f"{name}.tflite"
    inputs = random_inputs(model, 6)
    with TfliteMicro(model) as reference:
        expected = reference.predict(inputs)
    outputs = run(model, board, optimize, tmp_path, inputs)
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
