"""The kernels for Helium, on an emulated Cortex-M55, against the portable ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_layers import Layer
from shaped_layers import Layers, assert_same_on_board, build, kernels_of

from tinydeploy.compiler.lower.layer import Layer as Weights
from tinydeploy.compiler.lower.mve import stream, upright

BOARD = "qemu-cortex-m55"


def products(m: Layers) -> list[Layer]:
    """Depths below, at and above whole vectors, also beyond an unrolled round; all remainders of
    channels; odd and even rows."""
    depths = (1, 3, 8, 15, 16, 17, 31, 32, 48, 64, 65, 80, 100)
    layers = [m.product(1, depth, 1 + i % 9) for i, depth in enumerate(depths)]
    layers += [m.product(2 + i % 6, depth, 1 + i % 5) for i, depth in enumerate(depths)]
    return [*layers, m.product(1, 300, 33), m.product(3, 257, 6), m.product(2, 160, 8)]


def convolutions(m: Layers) -> list[Layer]:
    """Borders, strides, strips that are split; images that are strips already; dilation."""
    return [
        m.window((9, 5, 16), (3, 3), channels=8),
        m.window((9, 5, 16), (3, 3), (2, 2), channels=5),
        m.window((31, 9, 2), (3, 3), channels=3),
        m.window((12, 10, 1), (10, 4), (2, 2), channels=6),
        m.window((7, 4, 12), (3, 3), (2, 1), channels=2, padding="VALID"),
        m.window((1, 1, 8), (3, 3), channels=2),
        m.window((9, 9, 2), (7, 7), (2, 2), channels=4),
        m.window((2, 20, 4), (1, 9), channels=4),
        m.window((4, 4, 33), (2, 2), channels=2, batches=3),
        m.window((5, 6, 1), (1, 1), (2, 3), channels=9),
        m.window((12, 3, 5), (4, 3), (2, 1), channels=4, padding="VALID"),
        m.window((20, 1, 3), (5, 1), channels=6, padding="VALID"),
        m.window((20, 1, 8), (5, 1), (2, 1), channels=7, padding="VALID"),
        m.window((20, 1, 8), (5, 1), (2, 1), channels=6),
        m.window((8, 8, 3), (3, 3), channels=4, dilation=2),
        m.window((9, 9, 16), (3, 3), channels=5, dilation=2, padding="VALID"),
        m.window((30, 1, 8), (3, 1), channels=8, dilation=4),
    ]


def depthwise(m: Layers) -> list[Layer]:
    """Channels around 16 and 4, lines that are split, windows of one group of words and of several,
    images of one column or row, dilation."""
    return [
        m.window((9, 5, 16), (3, 3)),
        m.window((5, 40, 17), (3, 3)),
        m.window((5, 41, 3), (3, 3), (2, 2)),
        m.window((6, 6, 37), (3, 3), batches=2),
        m.window((6, 6, 5), (4, 4), padding="VALID"),
        m.window((7, 7, 5), (2, 4), (3, 2)),
        m.window((9, 9, 18), (5, 2)),
        m.window((9, 9, 6), (8, 2), (2, 1)),
        m.window((1, 1, 9), (3, 3)),
        m.window((5, 5, 3), (1, 1), (2, 2)),
        m.window((30, 1, 40), (3, 1), padding="VALID"),
        m.window((30, 1, 41), (9, 1)),
        m.window((30, 1, 7), (16, 1), (2, 1), batches=2),
        m.window((2, 1, 7), (13, 1)),
        m.window((60, 1, 5), (3, 1), (3, 1)),
        m.window((1, 30, 21), (1, 10), (1, 2)),
        m.window((7, 1, 4), (3, 3)),
        m.window((1, 7, 4), (4, 1)),
        m.window((9, 9, 17), (5, 5), (2, 2)),
        m.window((9, 20, 16), (7, 7)),
        m.window((40, 1, 20), (17, 1)),
        m.window((3, 3, 4), (5, 5)),
        m.window((8, 8, 16), (3, 3), dilation=2),
        m.window((9, 9, 5), (3, 5), dilation=3),
        m.window((30, 1, 8), (7, 1), dilation=2),
        m.window((1, 30, 8), (1, 3), dilation=4),
    ]


def elementwise(m: Layers) -> list[Layer]:
    """ADD of every remainder, and of equal scales; pooling and means."""
    layers = [m.add((1, 5, n, 3), n % 2 == 0) for n in range(1, 9)]
    for name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        for image in ((5, 6, 1), (7, 7, 18), (4, 4, 32)):
            layers += [m.pooling(name, image, (3, 2), 2), m.pooling(name, image, image[:2], 9)]
    return [*layers, *(m.mean() for _ in range(8))]


KINDS = {
    products: {"td_vector_s8_mve", "td_matmul_s8_mve"},
    convolutions: {"td_conv_s8_mve", "td_patch_conv_s8_mve"},
    depthwise: {"td_depthwise_s8_mve", "td_depthwise_column_s8_mve"},
    elementwise: {"td_add_s8_mve", "td_average_pool_s8_mve", "td_max_pool_s8_mve"},
}


@pytest.mark.qemu
def test_layers_compute_what_the_portable_kernels_do(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    build(KINDS, 1, model)
    kernels = kernels_of(model, BOARD, "balanced")
    assert set(kernels) >= set().union(*KINDS.values())
    assert not any(kernel.endswith("_dsp") for kernel in kernels)
    # The others have factors above 1/2, or no channels to spread over lanes.
    assert sum("_mve" in kernel for kernel in kernels) > 0.8 * len(kernels)
    assert_same_on_board(model, BOARD, "balanced", tmp_path, 1, samples=2)


def test_a_stream_is_read_in_order() -> None:
    """Five channels of depth 18: two blocks of two groups, padded with zeros."""
    weights = np.arange(90, dtype=np.int8).reshape(5, 18)
    layer = Weights(
        weights=weights,
        bias=np.arange(5, dtype=np.int32) * 1000,
        multiplier=np.full(5, 2**30, np.int32) + np.arange(5, dtype=np.int32),
        right=np.arange(1, 6, dtype=np.int32),
        in_zero=0,
        out_zero=0,
        out_min=-128,
        out_max=127,
        window={},
        rows=1,
    )
    words = stream(layer)
    block = words[1].tobytes()
    assert words.shape == (2, 4 + 2 * 4 * 4 + 4 + 1)
    assert np.frombuffer(block[:16], np.int32).tolist() == [4000, 0, 0, 0]
    assert np.frombuffer(block[16:32], np.int8).tolist() == weights[4, :16].tolist()
    assert np.frombuffer(block[80:96], np.int8).tolist() == [*weights[4, 16:], *[0] * 14]
    assert np.frombuffer(block[144:160], np.int32).tolist() == [2**30 + 4, 0, 0, 0]
    assert np.frombuffer(block[160:], np.int8).tolist() == [-5, 0, 0, 0]
    first = np.frombuffer(words[0].tobytes()[16:32], np.int8)
    assert first.tolist() == weights[0, :16].tolist()


def test_windows_over_rows_are_turned() -> None:
    row = {
        "batches": 1,
        "in_h": 1,
        "in_w": 30,
        "in_c": 8,
        "out_h": 1,
        "out_w": 13,
        "out_c": 8,
        "k_h": 1,
        "k_w": 5,
        "stride_h": 1,
        "stride_w": 2,
        "dilation_h": 1,
        "dilation_w": 1,
        "pad_top": 0,
        "pad_left": 1,
    }
    turned = upright(row)
    assert (turned["in_h"], turned["in_w"], turned["k_h"], turned["k_w"]) == (30, 1, 5, 1)
    assert (turned["stride_h"], turned["out_h"], turned["pad_top"]) == (2, 13, 1)
    assert (turned["in_c"], turned["pad_left"], turned["batches"]) == (8, 0, 1)
    assert upright({**row, "in_h": 2}) == {**row, "in_h": 2}
