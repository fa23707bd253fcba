"""Cutting channels: a cut net computes what the whole one does without them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert.tf_function import frozen
from tinydeploy.pipeline.train.cut import axes_of, cut
from tinydeploy.pipeline.train.layout import PRODUCERS, layout
from tinydeploy.pipeline.train.work import alive, macs

LIBRARIES = ("keras", "tf_keras")


def library(name: str) -> Any:
    return pytest.importorskip(name)


def masked(model: Any, keep: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The whole net's weights, with zeros where a layer reads a channel that is not kept."""
    found = layout(model)
    stays = alive(found, keep)
    weights = []
    for layer in model.layers:
        part = found.parts.get(layer.name)
        for variable in layer.weights:
            values = variable.numpy()
            name = variable.name.split("/")[-1].split(":")[0]
            if part is not None and part.kind in PRODUCERS:
                for axis, role in axes_of(part.kind, name):
                    if role != "outs":
                        moved = np.moveaxis(values, axis, -1)
                        moved *= stays[getattr(part, role)]
            weights.append(values)
    return weights


def check_cut(model: Any, keep: Mapping[str, np.ndarray], rng: np.random.Generator) -> Any:
    """`cut` against the masked net, and `macs` with `keep` against the cut net's."""
    inputs = [rng.normal(size=(3, *t.shape[1:])).astype(np.float32) for t in model.inputs]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    before = model.get_weights()
    narrow = cut(model, keep)
    ours = narrow(inputs, training=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    model.set_weights(masked(model, keep))
    theirs = model(inputs, training=False)
    model.set_weights(before)
    if not isinstance(theirs, list):
        ours, theirs = [ours], [theirs]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.array(a), np.array(b), rtol=1e-4, atol=1e-5)
    assert macs(narrow) == macs(model, keep)
    return narrow


def randomized(model: Any, rng: np.random.Generator) -> Any:
    """Weights that make every channel matter, those of batch normalization included."""
    model.set_weights(
        [rng.uniform(0.3, 1.5, w.shape) * rng.choice([-1, 1]) if w.ndim == 1 else
         rng.normal(0, 0.5, w.shape) for w in model.get_weights()]
    )  # fmt: skip
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            layer.moving_variance.assign(np.abs(layer.moving_variance.numpy()))
    return model


def choices(model: Any, rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {
        g.name: np.sort(rng.choice(g.size, rng.integers(1, g.size + 1), replace=False))
        for g in layout(model).components
    }


def random_net(k: Any, rng: np.random.Generator) -> Any:
    """A net of random layers, with residual sums, gates and joins."""
    L = k.layers
    one_d = bool(rng.integers(2))
    n = 1 if one_d else 2
    conv, depthwise = (getattr(L, f"{c}{n}D") for c in ("Conv", "DepthwiseConv"))
    separable, transpose = (
        getattr(L, c.format(n)) for c in ("SeparableConv{}D", "Conv{}DTranspose")
    )
    size = (12,) if one_d else (8, 7)
    inputs = x = k.Input((*size, int(rng.integers(1, 4))))
    if rng.integers(2):
        x = L.Rescaling(0.5, 0.1)(x)
    channels = lambda: int(rng.integers(2, 7))  # noqa: E731
    function = lambda: str(rng.choice(["relu", "tanh", "sigmoid", "linear"]))  # noqa: E731
    for _ in range(int(rng.integers(2, 5))):
        block = int(rng.integers(9))
        if block == 0:
            x = conv(channels(), 3, padding="same", activation=function())(x)
            x = L.BatchNormalization()(x)
        elif block == 1:
            x = depthwise(3, depth_multiplier=int(rng.integers(1, 3)), padding="same")(x)
            x = L.PReLU(shared_axes=[1] if rng.integers(2) else None)(L.BatchNormalization()(x))
        elif block == 2:
            x = separable(channels(), 3, depth_multiplier=int(rng.integers(1, 3)), padding="same")(
                x
            )
        elif block == 3:
            width = channels()
            x = L.Activation(function())(conv(width, 1)(x))
            y = L.BatchNormalization(scale=bool(rng.integers(2)))(conv(width, 3, padding="same")(x))
            merge = [L.Add, L.Subtract, L.Maximum, L.Average, L.Multiply][int(rng.integers(5))]
            x = L.ReLU()(merge()([x, y]))
        elif block == 4:
            y = getattr(L, f"MaxPooling{n}D")(3, 1, padding="same")(x)
            z = conv(channels(), 3, padding="same")(x)
            x = L.Concatenate()([y, z, x] if rng.integers(2) else [z, y])
        elif block == 5:
            x = conv(channels(), 1)(x)
            gate = getattr(L, f"GlobalAveragePooling{n}D")(keepdims=True)(x)
            gate = conv(x.shape[-1], 1, activation="sigmoid")(conv(2, 1, activation="relu")(gate))
            x = L.Multiply()([x, gate])
        elif block == 6:
            x = transpose(channels(), 3, padding="same")(x)
        elif block == 7:
            joined = L.Concatenate()([conv(2, 1)(x), conv(3, 1)(x)])
            x = L.Add()([joined, conv(5, 3, padding="same")(x)])
        else:
            x = L.LayerNormalization()(L.Dropout(0.2)(x))
    x = getattr(L, f"AveragePooling{n}D")(2)(x)
    x = L.Flatten()(x) if rng.integers(2) else getattr(L, f"GlobalMaxPooling{n}D")()(x)
    x = L.Dense(channels(), activation="relu")(x)
    return k.Model(inputs, L.Dense(3, activation="softmax")(x))


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_cut_net_computes_what_the_whole_does_without_the_channels(
    name: str, tmp_path: Path
) -> None:
    k = library(name)
    removed = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        model = randomized(random_net(k, rng), rng)
        keep = choices(model, rng)
        narrow = check_cut(model, keep, rng)
        removed += model.count_params() - narrow.count_params()
    path = tmp_path / "narrow.keras"
    narrow.save(path)
    again = k.models.load_model(path)
    x = rng.normal(size=(2, *model.inputs[0].shape[1:])).astype(np.float32)
    assert np.array_equal(np.array(narrow(x)), np.array(again(x)))
    assert removed > 500


@pytest.mark.parametrize("name", LIBRARIES)
def test_sequential_models_and_reshapes(name: str) -> None:
    k = library(name)
    L = k.layers
    model = k.Sequential(
        [
            k.Input((6, 6, 2)),
            L.Conv2D(5, 3, activation="relu", name="first"),
            L.Reshape((16, 5)),
            L.Conv1D(4, 3, activation="relu", name="second"),
            L.Permute((2, 1)),
            L.Dense(3, name="third"),
            L.Reshape((-1,)),
            L.Dense(2),
        ]
    )
    groups = layout(model).components
    # Permute moves the second convolution's channels away from the last axis: they stay.
    assert [(g.name, g.size) for g in groups] == [("first", 5), ("third", 3)]
    rng = np.random.default_rng(3)
    keep = {"first": np.array([0, 3, 4]), "third": np.array([1])}
    narrow = check_cut(randomized(model, rng), keep, rng)
    assert type(narrow) is type(model)
    assert [layer.output.shape[-1] for layer in narrow.layers] == [3, 3, 4, 14, 1, 4, 2]


@pytest.mark.parametrize("name", LIBRARIES)
def test_what_meets_in_an_add_is_one_group_and_what_meets_an_output_or_input_none(
    name: str,
) -> None:
    k = library(name)
    L = k.layers
    inputs = k.Input((4, 4, 3))
    x = L.Conv2D(6, 3, padding="same", name="a")(inputs)
    y = L.Conv2D(6, 1, name="b")(L.Conv2D(4, 1, name="inner")(x))
    x = L.Add()([x, y])
    z = L.Add()([L.Conv2D(3, 1, name="like_input")(x), inputs])
    z = L.GlobalAveragePooling2D()(z)
    model = k.Model(inputs, [L.Dense(2, name="out")(z), L.Flatten()(L.Conv2D(2, 1, name="c")(x))])
    assert [(g.name, g.size, g.producers) for g in layout(model).components] == [
        ("a", 6, ("a", "b")),
        ("inner", 4, ("inner",)),
    ]


@pytest.mark.parametrize("name", LIBRARIES)
def test_layers_that_are_not_known_keep_their_channels_whole(name: str) -> None:
    k = library(name)
    L = k.layers
    rng = np.random.default_rng(5)
    nested = k.Sequential([k.Input((8,)), L.Dense(4), L.Dense(3)], name="nested")
    shared = L.Dense(5, name="shared")
    inputs = k.Input((7, 6))
    x = L.LSTM(8, name="lstm")(L.Dense(4, name="before")(inputs))
    x = nested(L.Dense(8, name="to_nested")(x))
    softmax = L.Dense(6, activation="softmax", name="softmax")(x)
    free = L.Dense(6, activation="relu", name="free")(softmax)
    x = L.Concatenate()([shared(L.Dense(3)(free)), shared(L.Dense(3)(free))])
    inner = L.Conv2D(4, 1, groups=2, name="grouped")(L.Reshape((1, 1, 10))(x))
    model = k.Model(inputs, L.Dense(2)(L.Flatten()(inner)))
    assert [g.name for g in layout(model).components] == ["free"]
    check_cut(randomized(model, rng), {"free": np.array([1, 2, 5])}, rng)


def test_normalization_keeps_its_figures() -> None:
    k = library("keras")
    rng = np.random.default_rng(6)
    norm = k.layers.Normalization()
    norm.adapt(rng.normal(3, 2, (50, 4)))
    model = k.Sequential([k.Input((4,)), norm, k.layers.Dense(5, name="d"), k.layers.Dense(2)])
    check_cut(model, {"d": np.array([0, 2])}, rng)


def test_a_subclassed_model_and_impossible_choices_are_refused() -> None:
    k = library("keras")

    class Own(k.Model):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    with pytest.raises(UnsupportedModelError, match="neither a functional nor a sequential"):
        layout(Own(name="own"))
    model = k.Sequential([k.Input((4,)), k.layers.Dense(5, name="d"), k.layers.Dense(2)])
    for keep in ({"e": [0]}, {"d": []}, {"d": [1, 0]}, {"d": [5]}, {"d": [-1, 0]}):
        with pytest.raises(ValueError, match="channels"):
            cut(model, {n: np.array(i, int) for n, i in keep.items()})


@pytest.mark.parametrize("net", ["dscnn", "resnet", "autoencoder", "squeeze_excite"])
def test_macs_are_those_of_the_converted_model(net: str, root: Path) -> None:
    import tensorflow as tf

    from tinydeploy.graph_stats import total_macs
    from tinydeploy.tflite import read_graph

    model = nets(root)[net]()
    signature = [tf.TensorSpec((1, *t.shape[1:]), tf.float32) for t in model.inputs]
    function = frozen(lambda *x: model(x[0] if len(x) == 1 else list(x)), signature, net)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], function)
    assert macs(model) == total_macs(read_graph(converter.convert()))


def nets(root: Path) -> dict[str, Any]:
    import importlib.util

    spec = importlib.util.spec_from_file_location("nets", root / "tests/models/make_models.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return dict(module.NETWORKS)
