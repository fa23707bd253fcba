"""ONNX sources: channels first, quantized, and what is refused. onnx2tf and onnxruntime run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.convert.onnx_load import load_model
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import dequantize, prepare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, InputDescription

CHANNELS_FIRST = InputDescription(layout="channels-first")


def network() -> Any:
    """Channels first: convolution, pooling, flatten and a dense layer that sees the order."""
    rng = np.random.default_rng(1)

    def constant(name: str, *shape: int) -> Any:
        values = rng.normal(size=shape).astype(np.float32) / 4
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "v", "d"], ["g"], "gemm", transB=1),
        helper.make_node("Softmax", ["g"], ["y"], "softmax"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 5])],
        [
            constant("w", 4, 3, 3, 3), constant("b", 4),
            constant("v", 5, 48), constant("d", 5),
        ],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def images() -> Dataset:
    x = np.random.default_rng(0).normal(size=(32, 3, 8, 6)).astype(np.float32)
    return make_dataset(x, np.arange(32) % 5, (), Path("images.npz"))


def quantized(path: Path, out: Path) -> None:
    """A QDQ model of onnxruntime's own quantizer."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.samples = iter(images().x)

        def get_next(self) -> dict[str, np.ndarray] | None:
            x = next(self.samples, None)
            return None if x is None else {"x": x[np.newaxis]}

    quantize_static(
        path,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        extra_options={"WeightSymmetric": True},
    )


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("onnx")
    onnx.save(network(), folder / "net.onnx")
    quantized(folder / "net.onnx", folder / "qdq.onnx")
    return folder


def with_onnxruntime(path: Path) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x[np.newaxis]})[0] for x in images().x])


def outputs(artifact: Artifact) -> np.ndarray:
    graph = read_graph(artifact.path)
    with LiteRt(artifact.path) as predictor:
        x = prepare(images().x, graph.tensors[graph.inputs[0]], CHANNELS_FIRST)
        (out,) = predictor.predict([x])
    return dequantize(out, graph.tensors[graph.outputs[0]])


def converted(path: Path, recipe: str, out: Path) -> Artifact:
    return convert(
        load_source(path), load_recipe(recipe), out,
        calibration=images(), description=CHANNELS_FIRST,
    )  # fmt: skip


def test_float_is_what_onnxruntime_computes(models: Path, tmp_path: Path) -> None:
    artifact = converted(models / "net.onnx", "float32", tmp_path)
    assert np.abs(outputs(artifact) - with_onnxruntime(models / "net.onnx")).max() < 1e-5
    assert list(artifact.agreement) == ["y"] and artifact.agreement["y"] < 1e-5
    graph = read_graph(artifact.path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 6, 3)
    assert "TRANSPOSE" not in [op.name for op in graph.ops]


def test_integer_recipes(models: Path, tmp_path: Path) -> None:
    expected = with_onnxruntime(models / "net.onnx")
    for recipe in ("int8", "int8-per-tensor", "int8-mse", "int16x8"):
        artifact = converted(models / "net.onnx", recipe, tmp_path)
        assert np.abs(outputs(artifact) - expected).max() < 0.06, recipe
        scales = read_graph(artifact.path).ops[0].inputs[1]
        count = len(read_graph(artifact.path).tensors[scales].scales)
        assert count == (1 if recipe == "int8-per-tensor" else 4)


def test_a_quantized_model_keeps_its_ranges(models: Path, tmp_path: Path) -> None:
    artifact = converted(models / "qdq.onnx", "int8", tmp_path)
    difference = np.abs(outputs(artifact) - with_onnxruntime(models / "qdq.onnx"))
    assert difference.max() < 0.02
    ranges = {
        node.output[0]: node
        for node in onnx.load(models / "qdq.onnx").graph.node
        if node.op_type == "QuantizeLinear"
    }
    constants = {
        t.name: numpy_helper.to_array(t) for t in onnx.load(models / "qdq.onnx").graph.initializer
    }
    kept = {float(constants[n.input[1]]) for n in ranges.values()}
    mine = [t.scales[0] for t in read_graph(artifact.path).tensors if t.data is None]
    # The scale of an 8-bit range is the same whether it is computed here or by onnxruntime.
    assert sum(any(abs(m - k) < 1e-3 * k for k in kept) for m in mine) >= 4


def test_the_same_bytes_twice(models: Path, tmp_path: Path) -> None:
    from tinydeploy.pipeline.convert import onnx as converter

    first = converted(models / "net.onnx", "int8", tmp_path / "a")
    converter._float_model.cache_clear()
    assert converted(models / "net.onnx", "int8", tmp_path / "b").sha256 == first.sha256


def changed(edit: Callable[[Any], None], path: Path) -> Path:
    model = network()
    edit(model)
    onnx.save(model, path)
    return path


def test_what_cannot_be_converted_is_named(tmp_path: Path) -> None:
    def foreign(model: Any) -> None:
        model.graph.node[1].op_type = "Strange"
        model.graph.node[1].domain = "com.example"
        model.opset_import.append(helper.make_opsetid("com.example", 1))

    path = changed(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(UnsupportedModelError, match=r"node 'relu' \(com.example.Strange\)"):
        converted(path, "float32", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_dimensions_must_be_fixed(tmp_path: Path) -> None:
    def varying(model: Any) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"

    with pytest.raises(UnsupportedModelError, match=r"dimension 2 of the input 'x'.*height"):
        load_model(changed(varying, tmp_path / "m.onnx"))


def test_inputs_must_be_float(tmp_path: Path) -> None:
    def whole(model: Any) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64

    with pytest.raises(UnsupportedModelError, match="the input 'x' is int64"):
        load_model(changed(whole, tmp_path / "m.onnx"))


def test_data_outside_the_folder_is_refused_unless_trusted(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    model = network()
    weights = next(t for t in model.graph.initializer if t.name == "w")
    (tmp_path / "secret.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    entry = weights.external_data.add()
    entry.key, entry.value = "location", "../secret.bin"
    (inside / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UnsupportedModelError, match=r"'w' is stored in '../secret") as caught:
        load_model(inside / "m.onnx")
    assert "--trust-source" in caught.value.hint
    trusted = load_model(inside / "m.onnx", trusted=True)
    (read,) = (t for t in trusted.graph.initializer if t.name == "w")
    assert read.raw_data == (tmp_path / "secret.bin").read_bytes()


def test_an_input_that_no_board_can_hold_is_refused(tmp_path: Path) -> None:
    def larger(model: Any) -> None:
        for dim in model.graph.input[0].type.tensor_type.shape.dim[1:]:
            dim.dim_value = 10**6

    with pytest.raises(UnsupportedModelError, match=r"the input 'x' is .*1000000"):
        load_model(changed(larger, tmp_path / "m.onnx"))


def test_a_fixed_batch_becomes_one(tmp_path: Path) -> None:
    def eight(model: Any) -> None:
        for value in (model.graph.input[0], model.graph.output[0]):
            value.type.tensor_type.shape.dim[0].dim_value = 8

    source = load_source(changed(eight, tmp_path / "m.onnx"))
    graph = read_graph(convert(source, load_recipe("float32"), tmp_path / "out").path)
    assert graph.tensors[graph.inputs[0]].shape[0] == 1


def test_damaged_files(tmp_path: Path) -> None:
    whole = network().SerializeToString()
    for cut in (1, 20, len(whole) // 2, len(whole) - 1):
        path = tmp_path / "cut.onnx"
        path.write_bytes(whole[:cut])
        with pytest.raises(UnsupportedModelError, match=r"cut\.onnx"):
            load_model(path)


def test_calibration_is_demanded(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs a calibration set"):
        convert(load_source(models / "net.onnx"), load_recipe("int8"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
