"""The aot engine's native build computes what TFLite-Micro computes, in every tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import (
    FOLDER,
    MLPERF_TINY,
    SMALL,
    assert_equal,
    assert_lively,
    random_inputs,
    tflm_outputs,
)

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.graph import Graph
from tinydeploy.tflite import expose_intermediates, read_graph

_OPS = """
CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED AVERAGE_POOL_2D MAX_POOL_2D MEAN ADD MUL PAD RESHAPE
SQUEEZE SOFTMAX LOGISTIC RELU RELU6 CONCATENATION QUANTIZE DEQUANTIZE
"""
OPS_OF_THE_MAIN_JOB = set(_OPS.split())


def compare_every_tensor(
    model: Path, inputs: list[np.ndarray], scratch: Path, optimize: str = "balanced"
) -> None:
    """The model as it is, and once more with every activation among its outputs.

    The second has another memory plan (nothing may be overwritten), hence both.
    """
    graph = read_graph(model)
    exposed = scratch / "exposed.tflite"
    exposed.write_bytes(expose_intermediates(model.read_bytes()))
    names = tensor_names(graph, exposed)
    reference = tflm_outputs(exposed, inputs)
    compiler = AotCompiler()
    native = compiler.native(exposed, optimize=optimize).predict(inputs)
    for name, actual, expected in zip(names, native, reference, strict=True):
        assert_equal(actual, expected, name)
    assert any(len(np.unique(y)) > 16 for y in reference)
    plain = compiler.native(model, optimize=optimize).predict(inputs)
    for name, actual, expected in zip(names, plain, reference, strict=False):
        assert_equal(actual, expected, f"{name} of the model as it is")


def tensor_names(graph: Graph, exposed: Path) -> list[str]:
    """Of each output of the exposed model: the layer that makes it."""
    maker = {t: f"layer {op.index} {op.name}" for op in graph.ops for t in op.outputs}
    return [maker[t] for t in read_graph(exposed).outputs]


def test_the_small_models_use_every_op() -> None:
    """In int8 and in float32 (DEQUANTIZE and float QUANTIZE stand in the one with float I/O)."""
    graphs = {name: read_graph(FOLDER / f"{name}.tflite") for name in SMALL}
    used = {name: {op.name for op in graph.ops} for name, graph in graphs.items()}
    int8 = set().union(*(ops for name, ops in used.items() if "_int8" in name))
    assert int8 == OPS_OF_THE_MAIN_JOB
    float32 = set().union(*(ops for name, ops in used.items() if name.endswith("_float32")))
    assert float32 == OPS_OF_THE_MAIN_JOB - {"QUANTIZE", "DEQUANTIZE"}


@pytest.mark.parametrize("name", SMALL)
def test_small_models(name: str, tmp_path: Path) -> None:
    model = FOLDER / f"{name}.tflite"
    compare_every_tensor(model, random_inputs(read_graph(model), 40), tmp_path)


@pytest.mark.parametrize("optimize", ["size", "speed"])
@pytest.mark.parametrize("name", ["dscnn_int8", "resnet_int16x8"])
def test_optimize_levels_compute_the_same(name: str, optimize: str, tmp_path: Path) -> None:
    model = FOLDER / f"{name}.tflite"
    compare_every_tensor(model, random_inputs(read_graph(model), 10), tmp_path, optimize)


@pytest.mark.shared
@pytest.mark.parametrize("name", MLPERF_TINY.values(), ids=MLPERF_TINY.keys())
def test_mlperf_tiny(shared: Path, name: str, tmp_path: Path) -> None:
    model = shared / "models" / "mlperf_tiny" / f"{name}.tflite"
    compare_every_tensor(model, random_inputs(read_graph(model), 20), tmp_path)


@pytest.mark.shared
def test_keyword_spotting_on_recordings(shared: Path, tmp_path: Path) -> None:
    """100 recordings in every tensor; all 1,000 in the scores, which decide 901 times right."""
    model = shared / "models" / "mlperf_tiny" / "kws_ref_model.tflite"
    data = np.load(shared / "data" / "kws01.npz")
    compare_every_tensor(model, [data["x"][:100]], tmp_path)
    (scores,) = AotCompiler().native(model).predict([data["x"]])
    (expected,) = tflm_outputs(model, [data["x"]])
    np.testing.assert_array_equal(scores, expected)
    assert int((scores.argmax(axis=1) == data["y"]).sum()) == 901
    assert_lively(scores, "the score")
