"""The recipe `mixed`: int4 or int8 weights a layer, chosen by measured sensitivity."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.compression import Agreement, MixBudget
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph_stats import weight_bytes
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.convert.agreement import agreement
from tinydeploy.pipeline.convert.mix_search import Layers, Trial, choose
from tinydeploy.pipeline.convert.mixing import outputs_of, require_mix
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.prepare import as_float
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.registry.card import variant_card
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, ModelSource, Recipe, Task

MIXED = load_recipe("mixed")


def budget(**limits: float | int | str) -> Recipe:
    return replace(MIXED, mixed=MixBudget(**limits))  # type: ignore[arg-type]


def source(root: Path, name: str) -> ModelSource:
    return load_source(root / f"tests/models/{name}.tflite")


def samples(of: ModelSource, count: int = 60) -> Dataset:
    graph = read_graph(of.path)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    x = np.random.default_rng(3).normal(size=(count, *shape)).astype(np.float32)
    return make_dataset(x, None, (), Path("x.npz"))


Convert = Callable[..., Artifact]


@pytest.fixture
def made(root: Path, tmp_path: Path) -> Convert:
    def made(
        name: str, recipe: Recipe, task: Task = "classify", folder: str = "out", **options: bool
    ) -> Artifact:
        model = source(root, name)
        return convert(
            model, recipe, tmp_path / folder, calibration=samples(model), task=task, **options
        )

    return made


# ---------------------------------------------------------------- real models
def test_a_flash_budget_is_met_by_the_layers_that_are_named(made: Convert, root: Path) -> None:
    plain = made("resnet_float32", load_recipe("int8"))
    artifact = made("resnet_float32", budget(max_weight_share=0.8))
    graph = read_graph(artifact.path)
    mix = artifact.mix
    assert mix is not None and {layer.weights for layer in mix.layers} == {"int4", "int8"}
    for layer in mix.layers:
        op = graph.ops[layer.layer]
        weights = graph.tensors[op.inputs[1]]
        assert (op.name, weights.name, weights.dtype) == (layer.op, layer.name, layer.weights)
        assert layer.saved_bytes == weights.elements // 2
    assert mix.weight_bytes == weight_bytes(graph) <= 0.8 * mix.int8_weight_bytes
    assert artifact.size_bytes < plain.size_bytes
    # What is reported is what the file computes.
    model = source(root, "resnet_float32")
    tensor = read_graph(model.path).tensors[0]
    x = as_float(samples(model).x, tensor, None)
    assert mix.reached == agreement(
        outputs_of(model.path.read_bytes(), x), outputs_of(artifact.path.read_bytes(), x)
    )
    assert mix.samples == 60 and mix.judged_by == "classes"
    # And it lasts: in the description, and on the model's card.
    assert load_artifact(artifact.path) == artifact
    card = variant_card(artifact, graph, None, {})
    assert "calibrated on 60 of 60 samples" in card
    assert card.count(" | int4 | ") == sum(layer.weights == "int4" for layer in mix.layers)


def test_an_accuracy_budget_is_kept_and_the_same_bytes_come_twice(made: Convert) -> None:
    artifact = made("autoencoder_float32", budget(max_loss=0.01), "regress")
    mix = artifact.mix
    assert mix is not None and mix.judged_by == "outputs"
    assert mix.reached.error - mix.int8.error <= 0.01
    assert 0 < sum(layer.weights == "int4" for layer in mix.layers) < len(mix.layers)
    again = made("autoencoder_float32", budget(max_loss=0.01), "regress", "again")
    assert (again.sha256, again.mix) == (artifact.sha256, artifact.mix)


@pytest.mark.parametrize(
    ("name", "recipe", "message"),
    [
        ("resnet_int8", MIXED, "quantized already"),
        ("conv1d_float32", MIXED, "no layer can have int4 weights: that takes a CONV_2D or"),
        ("resnet_float32", budget(max_loss=0.0, judged_by="outputs"), r"least sensitive, layer \d"),
        ("resnet_float32", budget(max_weight_bytes=1500), r"still take [\d,]+ B, 1,500 B are"),
    ],
)
def test_what_does_not_apply_says_why_and_leaves_nothing(
    made: Convert, tmp_path: Path, name: str, recipe: Recipe, message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        made(name, recipe)
    assert name in caught.value.message and caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_the_mix_is_refused(made: Convert) -> None:
    artifact = made("resnet_float32", budget(max_weight_share=0.8))
    assert artifact.mix is not None
    other = replace(
        artifact.mix,
        layers=tuple(
            replace(layer, weights="int8" if layer.weights == "int4" else "int4")
            for layer in artifact.mix.layers
        ),
    )
    graph = read_graph(artifact.path)
    for wrong in (other, replace(other, layers=())):
        with pytest.raises(UnsupportedModelError, match=r"has int[48] weights where int[48] was"):
            require_mix(graph, wrong)


# ---------------------------------------------------------------- the choice
def nets() -> st.SearchStrategy[list[tuple[int, float]]]:
    """Layers: bytes that int4 saves, and the error that it adds."""
    return st.lists(st.tuples(st.integers(1, 900), st.floats(0, 0.1)), min_size=1, max_size=6)


def chosen(layers: list[tuple[int, float]], limits: MixBudget) -> tuple[Layers, int, float]:
    total = 1000 + sum(size for size, _ in layers)

    def measure(int4: Layers) -> Trial:
        # Together they cost more than alone, as in real nets.
        error = 0.01 + sum(layers[k][1] for k in int4) * (1 + 0.1 * len(int4))
        return Trial(Agreement(error), total - sum(layers[k][0] for k in int4))

    names = {k: f"layer {k}" for k in range(len(layers))}
    found = choose(names, measure, limits, "outputs")
    assert found.reached == measure(found.layers)
    return found.layers, total - found.reached.weight_bytes, found.reached.agreement.error - 0.01


@given(nets(), st.floats(0, 0.3))
@settings(max_examples=80, deadline=None)
def test_no_layer_more_fits_into_an_accuracy_budget(
    layers: list[tuple[int, float]], max_loss: float
) -> None:
    limits = MixBudget(max_loss=max_loss)
    try:
        int4, _, loss = chosen(layers, limits)
    except UnsupportedModelError:
        assert min(error for _, error in layers) * 1.1 > max_loss - 1e-9
        return
    assert loss <= max_loss + 1e-9
    for more in set(range(len(layers))) - int4:
        errors = sum(layers[k][1] for k in int4 | {more}) * (1.1 + 0.1 * len(int4))
        assert errors > max_loss - 1e-9


@given(nets(), st.floats(0.05, 1.0))
@settings(max_examples=80, deadline=None)
def test_a_flash_budget_takes_no_layer_too_many(
    layers: list[tuple[int, float]], share: float
) -> None:
    total = 1000 + sum(size for size, _ in layers)
    limit = max(int(share * total), 1)
    least = 1000
    limits = MixBudget(max_weight_bytes=limit)
    if limit < least or limit >= total:
        with pytest.raises(UnsupportedModelError, match=r"still take|no layer needs int4"):
            chosen(layers, limits)
        return
    int4, saved, _ = chosen(layers, limits)
    assert total - saved <= limit
    for spared in int4:
        assert total - saved + layers[spared][0] > limit


def test_both_budgets_hold_or_both_figures_are_told() -> None:
    layers = [(100, 0.001), (100, 0.002), (500, 0.05)]
    assert chosen(layers, MixBudget(max_loss=0.01, max_weight_bytes=1500))[0] == {0, 1}
    with pytest.raises(UnsupportedModelError) as caught:
        chosen(layers, MixBudget(max_loss=0.01, max_weight_bytes=1400))
    assert "within max_loss = 0.01 the weights take 1,500 B of 1,400 B" in caught.value.message


# ---------------------------------------------------------------- agreement
def test_agreement_is_a_share_of_the_variance_and_of_the_classes() -> None:
    want = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    got = want.copy()
    got[0] = [0.4, 0.6]
    found = agreement([want], [got])
    assert found.changed == 0.25
    assert found.error == pytest.approx((0.36 + 0.36) / (8 * 0.25))
    assert agreement([want], [want]) == Agreement(0.0, 0.0)
    assert agreement([want[:, :1]], [got[:, :1]]).changed is None
    assert agreement([want, want], [got, want]).changed is None
    assert [found.loss("classes"), found.loss("outputs")] == [0.25, found.error]
    constant = agreement([np.ones((3, 2))], [np.zeros((3, 2))])  # without any variance
    assert np.isfinite(constant.error) and constant.error > 1
