"""Pruning and clustering without training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.convert.layer_inputs import layer_inputs
from tinydeploy.pipeline.convert.weights import reconstructed, reduced
from tinydeploy.pipeline.data import make_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph

rng = np.random.default_rng(0)


def layer() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weights, scales, and inputs that are not independent."""
    codes = np.clip(np.rint(rng.normal(size=(6, 40)) * 25), -60, 60).astype(np.int8)
    x = rng.normal(size=(500, 8)) @ rng.normal(size=(8, 40)) + rng.random(40)
    return codes, rng.random(6) / 100 + 1e-3, np.append(x, np.ones((500, 1)), axis=1)


@pytest.mark.parametrize(("share", "clusters"), [(0.5, 0), (0.0, 8), (0.4, 8)])
def test_what_is_lost_is_made_up_for(share: float, clusters: int) -> None:
    codes, scales, x = layer()
    new, shift = reconstructed(codes, scales, x.T @ x / len(x), share, clusters)
    if share:
        assert (new == 0).mean() == pytest.approx(share, abs=0.05)
    if clusters:
        assert len(np.unique(new)) <= clusters
    # Against the same without making up: inputs that know nothing of each other.
    plain, _ = reconstructed(codes, scales, np.diag((x**2).mean(axis=0)), share, clusters)

    def error(weights: np.ndarray, bias: np.ndarray) -> float:
        difference = x[:, :-1] @ ((weights - codes.astype(float)) * scales[:, None]).T + bias
        return float((difference**2).mean())

    assert error(new, shift) < 0.7 * error(plain, np.zeros(len(codes)))


def test_nothing_asked_for_changes_nothing() -> None:
    codes, scales, x = layer()
    new, shift = reconstructed(codes, scales, x.T @ x / len(x), 0.0, 0)
    assert np.array_equal(new, codes) and np.abs(shift).max() < 1e-9


def test_moments_are_those_of_what_a_layer_multiplies(root: Path) -> None:
    """The moments predict the mean square of what the convolution itself computes."""
    model = (root / "tests/models/dscnn_int8.tflite").read_bytes()
    graph = read_graph(model)
    first = graph.ops[0]
    shape = graph.tensors[graph.inputs[0]].shape
    inputs = rng.integers(-128, 128, (4, *shape[1:])).astype(np.int8)
    moments = layer_inputs(model, graph, inputs)(first)
    weights = graph.tensors[first.inputs[1]]
    assert weights.data is not None
    size = weights.data[0].size
    assert moments.shape == (size + 1, size + 1) and moments[-1, -1] == pytest.approx(1)
    given = graph.tensors[first.inputs[0]]
    x = (inputs.astype(np.float64) - given.zero_points[0]) * given.scales[0]
    assert np.trace(moments[:-1, :-1]) <= (x**2).max() * size


@pytest.mark.parametrize("name", ["pruned", "clustered"])
def test_recipes_leave_an_ordinary_model(root: Path, tmp_path: Path, name: str) -> None:
    x = rng.normal(size=(40, 8, 8, 3)).astype(np.float32)
    source = load_source(root / "tests/models/resnet_float32.tflite")
    graph = read_graph(source.path)
    x = rng.normal(size=(40, *graph.tensors[graph.inputs[0]].shape[1:])).astype(np.float32)
    calibration = make_dataset(x, None, (), Path("x.npz"))
    plain = convert(source, load_recipe("int8"), tmp_path, calibration=calibration)
    made = convert(source, load_recipe(name), tmp_path, calibration=calibration)
    assert made.size_bytes == plain.size_bytes and made.sha256 != plain.sha256
    weights = [
        t.data
        for op in read_graph(made.path).ops
        if op.name == "CONV_2D"
        and (t := read_graph(made.path).tensors[op.inputs[1]]).data is not None
        and t.data.size >= 256
    ]
    assert weights
    for values in weights:
        assert values is not None
        if name == "pruned":
            assert (values == 0).sum() >= int(load_recipe(name).pruned * values.size)
        else:
            assert len(np.unique(values)) <= 16
    again = convert(source, load_recipe(name), tmp_path / "b", calibration=calibration)
    assert again.sha256 == made.sha256


def test_inputs_in_the_models_own_dtype(root: Path) -> None:
    model = (root / "tests/models/dscnn_int16x8.tflite").read_bytes()
    graph = read_graph(model)
    shape = graph.tensors[graph.inputs[0]].shape
    inputs = rng.integers(-1000, 1000, (6, *shape[1:])).astype(np.int16)
    assert len(reduced(model, inputs, 0.3, 0)) == len(model)


def test_256_values_are_all_that_int8_has(root: Path, tmp_path: Path) -> None:
    """A recipe with 256 values works from end to end, and is int8 under another name."""
    path = tmp_path / "many.toml"
    path.write_text(
        'name = "many"\ndescription = "256 values."\nactivations = "int8"\nweights = "int8"\n'
        "calibration_samples = 40\nclusters = 256\n"
    )
    source = load_source(root / "tests/models/resnet_float32.tflite")
    x = rng.normal(size=(40, *read_graph(source.path).tensors[0].shape[1:])).astype(np.float32)
    calibration = make_dataset(x, None, (), Path("x.npz"))
    made = convert(source, load_recipe(path), tmp_path, calibration=calibration)
    assert made.path.name == "resnet_float32-many.tflite"
    assert (
        made.sha256
        == convert(source, load_recipe("int8"), tmp_path, calibration=calibration).sha256
    )
