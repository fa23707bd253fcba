"""Scores of real models with real engines, and what data they refuse."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.data import Dataset, load_dataset, make_dataset
from tinydeploy.pipeline.evaluate import evaluate, guess_task
from tinydeploy.pipeline.interpreters import LiteRt, TfliteMicro
from tinydeploy.tflite import read_graph
from tinydeploy.types import Evaluation, InputDescription


def dataset(x: Any, y: Any) -> Dataset:
    return make_dataset(np.asarray(x), None if y is None else np.asarray(y), (), Path("data.npz"))


def score(model: Path, data: Dataset, **options: Any) -> Evaluation:
    """Through LiteRT's reference kernels."""
    with LiteRt(load_artifact(model).path, reference=True) as predictor:
        return evaluate(model, data, predictor, split="test", engine="litert", **options)


def single_output(path: Path) -> Path:
    """y = x0 + 2 x1, float32, without TensorFlow."""
    constant = schema.BufferT()
    constant.data = np.frombuffer(np.array([[1, 2]], np.float32).tobytes(), np.uint8)
    tensors = []
    for name, shape, buffer in (("x", [1, 2], 0), ("w", [1, 2], 1), ("y", [1, 1], 0)):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, shape, buffer
        tensor.type = schema.TensorType.FLOAT32
        tensors.append(tensor)
    op = schema.OperatorT()
    op.inputs, op.outputs = [0, 1, -1], [2]
    op.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    op.builtinOptions = schema.FullyConnectedOptionsT()
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.inputs, graph.outputs = tensors, [op], [0], [2]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT(), constant]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())
    return path


class Fixed:
    """A predictor whose outputs are known in advance."""

    def __init__(self, outputs: Any) -> None:
        self.outputs = np.asarray(outputs)

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        self.inputs = list(inputs)
        return [self.outputs]

    def close(self) -> None:
        pass


@pytest.fixture
def dscnn(root: Path) -> Path:
    return root / "tests" / "models" / "dscnn_int8.tflite"


@pytest.fixture
def autoencoder(root: Path) -> Path:
    return root / "tests" / "models" / "autoencoder_int8.tflite"


# ---------------------------------------------------------------- classify
def test_classification_counts_hits(dscnn: Path) -> None:
    outputs = np.zeros((4, 6), np.int8)
    outputs[0, 2] = outputs[1, 5] = outputs[2, 1] = outputs[2, 4] = 9  # row 3: all are equal
    data = dataset(np.zeros((4, 20, 10, 1), np.int8), [2, 4, 1, 0])
    result = evaluate(dscnn, data, Fixed(outputs), split="validation", engine="aot")
    assert result.correct == (1, 0, 1, 1) and result.value == 0.75 and result.samples == 4
    assert result.metric == "accuracy" and result.metrics == {"accuracy": 0.75}
    assert (result.split, result.engine) == ("validation", "aot")
    assert result.data_sha256 == data.sha256
    assert result.model_sha256 == read_graph(dscnn).sha256


def test_engines_agree_with_their_own_predictions(dscnn: Path) -> None:
    """Labels taken from the engine itself give an accuracy of one."""
    x = np.random.default_rng(0).integers(-128, 128, (30, 20, 10, 1)).astype(np.int8)
    with TfliteMicro(dscnn) as predictor:
        (outputs,) = predictor.predict([x])
        labels = outputs.argmax(axis=1)
        result = evaluate(dscnn, dataset(x, labels), predictor, split="", engine="tflm")
        assert result.value == 1.0
        wrong = evaluate(dscnn, dataset(x, (labels + 1) % 6), predictor, split="", engine="tflm")
        assert wrong.value == 0.0


def test_described_data_is_prepared(dscnn: Path) -> None:
    artifact = dataclasses.replace(
        load_artifact(dscnn), input=InputDescription(dtype="uint8", scale=1 / 255), recipe="int8"
    )
    predictor = Fixed(np.zeros((2, 6), np.int8))
    data = dataset(np.full((2, 20, 10), 255, np.uint8), [0, 1])
    evaluate(artifact, data, predictor, split="", engine="aot")
    tensor = read_graph(dscnn).tensors[read_graph(dscnn).inputs[0]]
    (given,) = predictor.inputs
    assert given.dtype == np.int8 and given.shape == (2, 20, 10, 1)
    assert (given == min(127, round(1 / tensor.scales[0]) + tensor.zero_points[0])).all()


def test_one_output_is_held_against_the_threshold(tmp_path: Path) -> None:
    model = single_output(tmp_path / "model.tflite")
    x = np.array([[0.1, 0.1], [0.2, 0.2], [0.5, 0.5], [0, 0]], np.float32)  # 0.3 0.6 1.5 0
    data = dataset(x, [0, 1, 1, 1])
    assert score(model, data).correct == (1, 1, 1, 0)
    strict = dataclasses.replace(load_artifact(model), threshold=1.0)
    with LiteRt(model) as predictor:
        result = evaluate(strict, data, predictor, split="", engine="litert", task="classify")
    assert result.correct == (1, 0, 1, 0)


# ---------------------------------------------------------------- regress
def test_regression(tmp_path: Path) -> None:
    model = single_output(tmp_path / "model.tflite")
    data = dataset(np.array([[1, 1], [2, 0]], np.float32), np.array([2.0, 6.0]))  # 3 and 2
    result = score(model, data)
    assert result.metric == "rmse" and result.value == pytest.approx(np.sqrt((1 + 16) / 2))
    assert result.metrics["mae"] == pytest.approx(2.5) and result.correct == ()
    assert score(model, data, metric="mae", task="regress").value == pytest.approx(2.5)


def test_quantized_outputs_are_dequantized_before_they_are_compared(dscnn: Path) -> None:
    outputs = np.full((1, 6), 127, np.int8)  # softmax: scale 1/256, zero point -128
    data = dataset(np.zeros((1, 20, 10, 1), np.int8), np.full((1, 6), 0.5))
    result = evaluate(dscnn, data, Fixed(outputs), split="", engine="aot")
    assert result.metric == "rmse" and result.value == pytest.approx(255 / 256 - 0.5)


# ---------------------------------------------------------------- anomaly
def test_reconstruction_error_finds_what_is_far_off(autoencoder: Path) -> None:
    rng = np.random.default_rng(0)
    normal = rng.normal(0, 0.1, (20, 60)).astype(np.float32)
    odd = rng.normal(0, 3, (20, 60)).astype(np.float32)
    data = dataset(np.concatenate([normal, odd]), [0] * 20 + [1] * 20)
    result = score(autoencoder, data)
    assert result.metric == "auc" and result.value == 1.0
    flipped = score(autoencoder, dataset(data.x, [1] * 20 + [0] * 20))
    assert flipped.value == 0.0


def test_integer_samples_are_reconstructed_in_their_own_scale(autoencoder: Path) -> None:
    graph = read_graph(autoencoder)
    source, target = (graph.tensors[t] for t in (graph.inputs[0], graph.outputs[0]))
    x = np.zeros((2, 60), np.int8)
    value = source.scales[0] * (0 - source.zero_points[0])
    exact = round(value / target.scales[0]) + target.zero_points[0]
    outputs = np.full((2, 60), exact)
    outputs[0] += 10
    result = evaluate(
        autoencoder, dataset(x, [1, 0]), Fixed(outputs.astype(np.int8)), split="", engine="aot"
    )
    assert result.value == 1.0


def test_a_single_output_is_the_score(tmp_path: Path) -> None:
    model = single_output(tmp_path / "model.tflite")
    data = dataset(np.array([[0, 0], [3, 0], [1, 1], [4, 0]], np.float32), [0, 0, 1, 1])
    assert score(model, data, task="anomaly").value == pytest.approx((0.5 + 1 + 2) / 4)


# ---------------------------------------------------------------- which task
def test_the_task_follows_from_model_and_labels(
    dscnn: Path, autoencoder: Path, tmp_path: Path
) -> None:
    classes, rebuilt = read_graph(dscnn), read_graph(autoencoder)
    single = read_graph(single_output(tmp_path / "model.tflite"))
    assert guess_task(classes, np.array([0, 1])) == "classify"
    assert guess_task(classes, np.array([0.5, 1])) == "regress"
    assert guess_task(classes, np.zeros((2, 6), int)) == "regress"
    assert guess_task(rebuilt, np.array([0, 1])) == "anomaly"
    assert guess_task(rebuilt, np.array([0, 7])) == "classify"
    assert guess_task(single, np.array([0, 1])) == "classify"
    assert guess_task(single, np.array([0, 7])) == "regress"


def test_what_is_said_goes_before_what_is_guessed(autoencoder: Path) -> None:
    data = dataset(np.zeros((2, 60), np.int8), [0, 1])
    outputs = np.zeros((2, 60), np.int8)
    found = load_artifact(autoencoder)
    assert (found.recipe, found.metric, found.labels) == ("", "", ())
    said = dataclasses.replace(found, task="classify", metric="accuracy")
    for model, options, metric in (
        (found, {}, "auc"),
        (said, {}, "accuracy"),
        (said, {"task": "anomaly"}, "auc"),
        (found, {"task": "classify"}, "accuracy"),
    ):
        result = evaluate(model, data, Fixed(outputs), split="", engine="aot", **options)
        assert result.metric == metric


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("shape", "y", "options", "message"),
    [
        ((2, 20, 10, 1), None, {}, "holds no y"),
        ((2, 20, 10, 1), [0, 6], {}, "tells 6 classes apart"),
        ((2, 20, 10, 1), [-1, 2], {}, "goes from -1"),
        ((2, 20, 9, 1), [0, 1], {}, r"\(20, 9, 1\)"),
        ((2, 20, 10, 1), [0.5, 1.0], {"task": "classify"}, "not one class number"),
        ((2, 20, 10, 1), [0, 2], {"task": "anomaly"}, "no reconstruction"),
        ((2, 20, 10, 1), [0.5, 1.0], {}, r"the model's output \(6,\)"),
        ((2, 20, 10, 1), [0, 1], {"metric": "auc"}, "no metric of the task 'classify'"),
    ],
)
def test_data_that_does_not_fit(
    dscnn: Path, shape: tuple[int, ...], y: Any, options: dict[str, Any], message: str
) -> None:
    data = dataset(np.zeros(shape, np.int8), y)
    with pytest.raises(UsageError, match=message) as caught:
        evaluate(dscnn, data, Fixed(np.zeros((2, 6), np.int8)), split="", engine="aot", **options)
    assert caught.value.hint


def test_anomalies_are_labelled_0_and_1(autoencoder: Path) -> None:
    data = dataset(np.zeros((2, 60), np.int8), [0, 2])
    predictor = Fixed(np.zeros((2, 60), np.int8))
    with pytest.raises(UsageError, match="other values than 0 and 1"):
        evaluate(autoencoder, data, predictor, split="", engine="aot", task="anomaly")


def test_several_inputs_are_refused(root: Path) -> None:
    model = root / "tests" / "models" / "two_inputs_int8.tflite"
    with pytest.raises(UnsupportedModelError, match="2 inputs"):
        evaluate(model, dataset(np.zeros((1, 8), np.int8), [0]), Fixed([]), split="", engine="aot")


@pytest.mark.shared
def test_keyword_spotting(shared: Path) -> None:
    """MLPerf Tiny's keyword spotting on its 1,000 samples: the reference's 901."""
    model = shared / "models" / "mlperf_tiny" / "kws_ref_model.tflite"
    data = load_dataset(shared / "data" / "kws01.npz")
    for engine, hits in ((TfliteMicro, 901), (LiteRt, 902)):
        with engine(model) as predictor:
            result = evaluate(model, data, predictor, split="test", engine=engine.title)
        assert sum(result.correct) == hits and result.value == hits / 1000


def test_a_folder_a_class_is_asked_for(dscnn: Path, tmp_path: Path) -> None:
    x = np.zeros((2, *read_graph(dscnn).tensors[0].sample_shape), np.float32)
    few = make_dataset(x, np.array([0, 1]), ("a", "b"), tmp_path)
    known = dataclasses.replace(load_artifact(dscnn), labels=("z", "a", "b"))
    with LiteRt(dscnn) as predictor:
        with pytest.raises(UsageError, match="folders of 2 classes, the model tells 6 apart"):
            evaluate(dscnn, few, predictor, split="", engine="litert", task="classify")
        with pytest.raises(UsageError, match="'a' is number 0, in the model it is 1"):
            evaluate(known, few, predictor, split="", engine="litert", task="classify")
