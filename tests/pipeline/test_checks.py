"""What may leave the converter, and what may go to a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Graph, Op, Tensor
from tinydeploy.pipeline.checks import require_deployable, require_recipe
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.tflite import read_graph

RECIPES = ("float32", "int8", "int16x8")
NETWORKS = ("autoencoder", "branches", "dscnn", "resnet", "squeeze_excite", "streaming")


def model(tensors: list[Tensor], ops: list[Op], outputs: tuple[int, ...]) -> Graph:
    return Graph(tuple(tensors), tuple(ops), (0,), outputs, sha256="", size_bytes=0)


def dense(activation: Tensor, weights: Tensor, output: Tensor) -> Graph:
    op = Op(0, "FULLY_CONNECTED", (0, 1, -1), (2,))
    return model([activation, weights, output], [op], (2,))


X = Tensor(0, "x", (1, 2), "float32")
Y = Tensor(2, "y", (1, 3), "float32")
W = Tensor(1, "w", (3, 2), "float32", data=np.ones((3, 2), np.float32))
W8 = Tensor(1, "w", (3, 2), "int8", (0.1,), (0,), data=np.ones((3, 2), np.int8))
X8 = Tensor(0, "x", (1, 2), "int8", (0.1,), (0,))
Y8 = Tensor(2, "y", (1, 3), "int8", (0.1,), (0,))
X16 = Tensor(0, "x", (1, 2), "int16", (0.1,), (0,))
Y16 = Tensor(2, "y", (1, 3), "int16", (0.1,), (0,))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("recipe", RECIPES)
def test_models_are_what_their_recipe_says_and_nothing_else(
    root: Path, network: str, recipe: str
) -> None:
    graph = read_graph(root / "tests" / "models" / f"{network}_{recipe}.tflite")
    require_deployable(graph)
    require_recipe(graph, load_recipe("as-is"))
    require_recipe(graph, load_recipe(recipe))
    for other in set(RECIPES) - {recipe}:
        with pytest.raises(UnsupportedModelError, match=f"recipe '{other}' says") as caught:
            require_recipe(graph, load_recipe(other))
        assert "as-is" in caught.value.hint


def test_float_inputs_are_not_fully_integer(root: Path) -> None:
    graph = read_graph(root / "tests" / "models" / "dscnn_int8_float_io.tflite")
    require_deployable(graph)
    with pytest.raises(UnsupportedModelError, match=r"input .* is float32"):
        require_recipe(graph, load_recipe("int8"))


def test_a_float_layer_inside_is_named() -> None:
    graph = model(
        [X8, replace(Y, index=1), replace(Y, index=2), replace(Y8, index=3)],
        [
            Op(0, "DEQUANTIZE", (0,), (1,)),
            Op(1, "LOGISTIC", (1,), (2,)),
            Op(2, "QUANTIZE", (2,), (3,)),
        ],
        (3,),
    )
    require_deployable(graph)
    with pytest.raises(UnsupportedModelError, match=r"layer 0 \(DEQUANTIZE\).*'y' is float32"):
        require_recipe(graph, load_recipe("int8"))


def test_int8_activations_are_not_int16x8() -> None:
    recipe = load_recipe("int16x8")
    require_recipe(dense(X16, W8, Y16), recipe)
    narrow = replace(Y8, index=2)
    graph = model(
        [X16, W8, narrow, replace(Y16, index=3)],
        [Op(0, "FULLY_CONNECTED", (0, 1, -1), (2,)), Op(1, "QUANTIZE", (2,), (3,))],
        (3,),
    )
    with pytest.raises(UnsupportedModelError, match=r"layer 0 .*activation 'y' is int8"):
        require_recipe(graph, recipe)


def test_integers_without_a_scale_are_not_quantized() -> None:
    with pytest.raises(UnsupportedModelError, match="int8 without a scale"):
        require_recipe(dense(X8, replace(W8, scales=(), zero_points=()), Y8), load_recipe("int8"))


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (dense(X, W8, Y), "dynamic range quantization"),
        (dense(X, replace(W8, dtype="int4"), Y), "dynamic range quantization"),
        (dense(X, replace(W, dtype="float16"), Y), "float16"),
        (dense(replace(X, dtype="float64"), W, Y), "float64"),
        (
            model(
                [X, W8, Y, replace(W, index=3, data=None)],
                [Op(0, "DEQUANTIZE", (1,), (3,)), Op(1, "FULLY_CONNECTED", (0, 3, -1), (2,))],
                (2,),
            ),
            "weight-only quantization",
        ),
    ],
    ids=["hybrid", "hybrid-int4", "float16", "float64", "weight-only"],
)
def test_what_devices_compute_wrongly_is_refused(graph: Graph, reason: str) -> None:
    with pytest.raises(UnsupportedModelError, match=rf"layer 0 .*cannot run.*{reason}") as caught:
        require_deployable(graph)
    assert "int8" in caught.value.hint


def test_constants_that_are_no_numbers_are_refused() -> None:
    damaged = replace(W, data=np.array([[1, 2], [3, np.nan], [5, 6]], np.float32))
    with pytest.raises(UnsupportedModelError, match=r"layer 0 .*the constant 'w' holds NaN"):
        require_deployable(dense(X, damaged, Y))


def test_dequantized_results_are_no_weights() -> None:
    """A model that ends in DEQUANTIZE is not weight-only."""
    require_deployable(dense(X, W, Y))
    require_deployable(
        model([X8, W8, Y8, replace(Y, index=3)], [
            Op(0, "FULLY_CONNECTED", (0, 1, -1), (2,)), Op(1, "DEQUANTIZE", (2,), (3,)),
        ], (3,))
    )  # fmt: skip


def test_int4_only_where_it_is_computed_right() -> None:
    four = replace(W8, dtype="int4")
    several = replace(four, scales=(0.1, 0.2, 0.3), zero_points=(0, 0, 0))
    for recipe in (load_recipe("mixed"), load_recipe("int4-weights")):
        require_recipe(dense(X8, four, Y8), recipe)
        with pytest.raises(UnsupportedModelError, match="'w' is int4, which no kernel"):
            require_recipe(dense(X8, several, Y8), recipe)
        with pytest.raises(UnsupportedModelError, match="'w' is int4 without a scale"):
            require_recipe(dense(X8, replace(four, scales=(), zero_points=()), Y8), recipe)
    require_recipe(dense(X8, W8, Y8), load_recipe("int4-weights"))
    with pytest.raises(UnsupportedModelError, match="no layer has int4 weights"):
        require_recipe(dense(X8, W8, Y8), load_recipe("mixed"))
