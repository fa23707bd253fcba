"""Outputs over inputs: kernels run with exactly the distance that overlap.py says is enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from apart import plan_apart
from comparing import random_inputs
from random_layers import LAYERS, Layer, LayerMaker

from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.compiler.native import NativePredictor
from tinydeploy.compiler.overlap import overlap_with
from tinydeploy.compiler.plan import Plan
from tinydeploy.compiler.program import Program
from tinydeploy.graph import Graph
from tinydeploy.tflite import read_graph

WITH_ORDER = ("conv", "depthwise", "fully_connected", "pool", "pad", "quantize")
ITEM_BYTES = {"int8": 1, "int16": 2, "float32": 4}


def deep(maker: LayerMaker) -> Layer:
    """A convolution that makes fewer channels of many, so that outputs grow slower than inputs."""
    h, w, c = maker.integer(2, 6), maker.integer(2, 6), maker.integer(6, 12)
    x = maker.tensor((1, h, w, c))
    channels = maker.integer(1, 5)
    weights, scales = maker.weights((channels, 3, 3, c), True, 0)
    bias = maker.bias(channels, scales)
    y = maker.product_output((1, h, w, channels), x, scales, 9 * c)
    inputs = [x, weights] + ([bias] if bias >= 0 else [])
    options = {"stride_h": 1, "stride_w": 1, "padding": 0}
    maker.model.op("CONV_2D", inputs, [y], dilation_h_factor=1, dilation_w_factor=1, **options)
    return [x], [y]


def dequantize(maker: LayerMaker) -> Layer:
    shape = (1, maker.integer(1, 300))
    x = maker.tensor(shape)
    y = maker.model.tensor(shape, "float32")
    maker.model.op("DEQUANTIZE", [x], [y])
    return [x], [y]


CASES = {**{name: LAYERS[name] for name in WITH_ORDER}, "deep": deep, "dequantize": dequantize}


def layers(name: str, dtype: str, folder: Path, target: Target) -> tuple[Path, Graph, Program]:
    seed = sum(map(ord, name + dtype))
    model = folder / "model.tflite"
    model.write_bytes(LayerMaker(seed, dtype).build(CASES[name], 16))
    graph = read_graph(model)
    return model, graph, specialise(lower(graph, target), target)


def outputs(graph: Graph, program: Program, plan: Plan, model: Path) -> list[np.ndarray]:
    return NativePredictor(graph, emit(graph, program, plan)).predict(random_inputs(model, 4))


def differing(a: list[np.ndarray], b: list[np.ndarray]) -> int:
    return sum(x.tobytes() != y.tobytes() for x, y in zip(a, b, strict=True))


# The kernels for cores without SIMD are for int8; float32 is what is dequantized to.
RUNS = [("", name, dtype) for name in CASES for dtype in ITEM_BYTES]
RUNS = [run for run in RUNS if run[1:] != ("dequantize", "float32")]
RUNS += [("cortex-m3", name, "int8") for name in ("conv", "deep", "fully_connected")]


@pytest.mark.parametrize(("core", "name", "dtype"), RUNS)
def test_the_distance_is_enough(core: str, name: str, dtype: str, tmp_path: Path) -> None:
    model, graph, program = layers(name, dtype, tmp_path, Target(core=core))
    squeezed = plan_apart(program, squeeze=True, unit=ITEM_BYTES[dtype])
    apart = outputs(graph, program, plan_apart(program, squeeze=False), model)
    assert differing(outputs(graph, program, squeezed, model), apart) == 0


# Not products, whose last channels are written behind their last read, nor PAD, whose single copies
# are taken to read behind their writes.
@pytest.mark.parametrize("name", ["conv", "depthwise", "pool"])
def test_a_smaller_distance_is_not(name: str, tmp_path: Path) -> None:
    model, graph, program = layers(name, "int8", tmp_path, Target())
    apart = outputs(graph, program, plan_apart(program, squeeze=False), model)
    closer = plan_apart(program, squeeze=True, slack=1, unit=1)
    assert differing(outputs(graph, program, closer, model), apart) > 0


def test_most_layers_overlap(tmp_path: Path) -> None:
    """The tests above would pass as well if nothing overlapped."""
    _, _, program = layers("deep", "int8", tmp_path, Target())
    sizes = program.tensor_bytes
    overlaps = [(overlap_with(call, 0), sizes[call.output]) for call in program.calls]
    assert all(isinstance(o, int) and o < size for o, size in overlaps)
