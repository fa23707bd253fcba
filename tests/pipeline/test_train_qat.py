"""Quantization-aware training, from Keras models of both versions to what a board runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.errors import ToolMissingError, UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.interpreters import LiteRt, TfliteMicro
from tinydeploy.pipeline.prepare import dequantize, prepare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.train.to_tf_keras import to_tf_keras
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription

PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
RECIPE = """name = "qat"
description = "Quantization-aware training, briefly."
activations = "int8"
weights = "int8"

[training]
method = "qat"
epochs = 12
batch = 16
learning_rate = 0.003
"""


def network(layers: Any) -> Any:
    """A separable CNN with a bypass in either version of Keras; `layers` is its module."""
    inputs = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_norm")(x))
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(y))
    x = layers.Add(name="add")([x, layers.Conv2D(4, 1, name="pointwise")(y)])
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Dropout(0.1, name="drop")(layers.Flatten(name="flat")(x))
    return inputs, layers.Dense(3, activation="softmax", name="classes")(x)


def samples(count: int = 160) -> Dataset:
    """Three classes: a bright third of the picture each."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, count)
    x = rng.integers(0, 120, (count, 8, 8, 1))
    for image, label in zip(x, y, strict=True):
        image[:, label * 3 : label * 3 + 2] += 90
    return make_dataset(x.astype(np.uint8), y, ("a", "b", "c"), Path("samples.npz"))


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same net in both versions of Keras, trained a little, and the recipe."""
    import keras
    import tf_keras

    out = tmp_path_factory.mktemp("nets")
    (out / "qat.toml").write_text(RECIPE)
    data = samples()
    np.savez(out / "data.npz", x=data.x, y=data.y)
    keras.utils.set_random_seed(1)
    model = keras.Model(*network(keras.layers), name="net")
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(data.x / np.float32(255), data.y, epochs=3, verbose=0)
    model.save(out / "three.keras")
    old = tf_keras.Model(*network(tf_keras.layers), name="net")
    old.set_weights(model.get_weights())
    old.save(out / "two.h5")
    return out


@pytest.fixture(scope="module")
def whole(nets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tinydeploy convert` makes of the Keras 3 net without an interruption."""
    out = tmp_path_factory.mktemp("whole")
    process = start(nets / "three.keras", out)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    assert " 12/12" in said and "judged" in said
    return out / "three-qat.tflite"


def start(net: Path, out: Path) -> subprocess.Popen[str]:
    """`tinydeploy convert` of a net, its cache in `out`."""
    command = [
        str(Path(sys.executable).with_name("tinydeploy")), "convert", str(net),
        "--recipe", str(net.with_name("qat.toml")),
        "--training", str(net.with_name("data.npz")),
        "--input-dtype", "uint8", "--input-scale", str(1 / 255), "--out", str(out),
    ]  # fmt: skip
    return subprocess.Popen(
        command,
        env={**os.environ, "TINYDEPLOY_CACHE": str(out / "cache")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def check_what_a_board_runs(path: Path) -> None:
    graph = read_graph(path)
    assert [op.name for op in graph.ops] == [
        "CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D", "ADD", "AVERAGE_POOL_2D", "RESHAPE",
        "FULLY_CONNECTED", "SOFTMAX",
    ]  # fmt: skip
    assert {t.dtype for t in graph.tensors if t.scales} == {"int8", "int32"}
    weights = [graph.tensors[op.inputs[1]] for op in graph.ops[:3]]
    weights.append(graph.tensors[graph.ops[6].inputs[1]])
    assert [len(set(t.scales)) for t in weights] == [4, 4, 4, 3]
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 8, 1)

    x = [prepare(samples().x, graph.tensors[graph.inputs[0]], PIXELS)]
    native = AotCompiler().native(path).predict(x)
    with TfliteMicro(path) as reference:
        np.testing.assert_array_equal(native[0], reference.predict(x)[0])
    with LiteRt(path) as predictor:
        (out,) = predictor.predict(x)
    accuracy = np.mean(dequantize(out, graph.tensors[graph.outputs[0]]).argmax(1) == samples().y)
    assert accuracy > 0.9


def test_a_keras_3_model(whole: Path, nets: Path) -> None:
    check_what_a_board_runs(whole)
    model = load_model(nets / "three.keras")
    before = np.asarray(model(samples().x / np.float32(255))).argmax(1) == samples().y
    assert before.mean() < 0.9  # so that what was reached above was learned


def test_one_of_tf_keras_that_is_killed_goes_on_and_ends_with_the_same_bytes(
    whole: Path, nets: Path, tmp_path: Path
) -> None:
    """The nets of both versions are the same: so is what comes out, and interrupted or not."""
    cut = start(nets / "two.h5", tmp_path)
    assert cut.stderr is not None
    for line in cut.stderr:
        if " 4/12" in line:
            break
    os.killpg(cut.pid, signal.SIGKILL)
    cut.communicate()
    assert cut.returncode == -signal.SIGKILL and not list(tmp_path.glob("*.tflite"))
    again = start(nets / "two.h5", tmp_path)
    said = again.communicate()[1]
    assert again.returncode == 0 and " 4/12" not in said and " 12/12" in said
    assert (tmp_path / "two-qat.tflite").read_bytes() == whole.read_bytes()


# ---------------------------------------------------------------- what is refused
def test_what_it_needs(nets: Path, whole: Path, tmp_path: Path) -> None:
    source, recipe = load_source(nets / "three.keras"), load_recipe("int8-qat")
    with pytest.raises(UsageError, match="'int8-qat' needs a training set"):
        convert(source, recipe, tmp_path / "out", calibration=samples())
    unlabelled = make_dataset(samples().x, None, (), Path("bare.npz"))
    with pytest.raises(UsageError, match=r"bare\.npz has no labels"):
        convert(source, recipe, tmp_path / "out", training=unlabelled, description=PIXELS)
    with pytest.raises(UsageError, match="cannot be trained") as caught:
        convert(load_source(whole), recipe, tmp_path / "out", training=samples())
    assert ".keras" in caught.value.hint and not (tmp_path / "out").exists()


def test_layers_and_packages_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of a training that could not begin."""
    import tf_keras

    layers = tf_keras.layers
    path, cache = tmp_path / "odd.h5", tmp_path / "cache"
    tf_keras.Sequential(
        [layers.Input((8, 8, 1)), layers.Reshape((8, 8)), layers.Conv1D(3, 8, name="line"),
         layers.Flatten(), layers.Dense(3)]
    ).save(path)  # fmt: skip
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(cache))
    for error, message, hint in (
        (UnsupportedModelError, r"odd\.h5 .* layer 'line' \(Conv1D\)", "int8"),
        (ToolMissingError, "tensorflow-model-optimization is not installed", "tinydeploy[qat]"),
    ):
        with pytest.raises(error, match=message) as caught:
            convert(
                load_source(path), load_recipe("int8-qat"), tmp_path / "out",
                training=samples(), description=PIXELS,
            )  # fmt: skip
        assert hint in caught.value.hint and not (tmp_path / "out").exists()
        assert not [p for p in cache.rglob("*") if p.is_file() and p.name != "lock"]
        (tmp_path / "tensorflow_model_optimization.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))


# ---------------------------------------------------------------- Keras 3 to tf_keras
def test_the_translation_computes_the_same() -> None:
    """Layers that are called twice, models within models, settings that have other names."""
    import keras
    import tf_keras

    layers = keras.layers
    inner = keras.Sequential([layers.Input((4, 4, 6)), layers.Conv2D(6, 1), layers.LeakyReLU(0.2)])
    first, shared = keras.Input((4, 4, 3)), layers.Conv2D(6, 1, activation="relu")
    second = layers.SeparableConv2D(3, 3, padding="same")(first)
    x = layers.Concatenate()([shared(first), shared(second), inner(shared(second))])
    x = layers.BatchNormalization()(layers.ZeroPadding2D(1)(x), training=False)
    ends = [layers.GlobalMaxPooling2D(name="a")(x), layers.Permute((2, 1, 3), name="b")(inner(
        layers.Conv2D(6, 3)(x)))]  # fmt: skip
    model = keras.Model(first, ends)
    for weight in model.weights:
        weight.assign(np.random.default_rng(len(weight.path)).uniform(0.1, 0.9, weight.shape))
    samples = np.random.default_rng(1).normal(size=(5, 4, 4, 3)).astype(np.float32)
    clone = to_tf_keras(model, samples)
    assert isinstance(clone, tf_keras.Model)
    for a, b in zip(model(samples), clone(samples), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert sum(np.prod(w.shape) for w in clone.weights) == model.count_params()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k: k.layers.RMSNormalization(name="rms"), r"'rms' \(RMSNormalization\).*no such"),
        (lambda k: lambda x: x * 2.0, r"\(Multiply\).*own layers"),
        (
            lambda k: k.layers.Dense(2, lora_rank=2, name="low"),
            r"'low' \(Dense\).*lora_rank = 2",
        ),
    ],
)
def test_what_cannot_be_translated_is_named(make: Any, message: str) -> None:
    import keras

    inputs = keras.Input((4,))
    model = keras.Model(inputs, make(keras)(keras.layers.Dense(3)(inputs)))
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        to_tf_keras(model, np.zeros((1, 4), np.float32))
    assert "int8" in caught.value.hint
