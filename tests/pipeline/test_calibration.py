"""How many samples calibrated a model, and what another number would have changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.convert.calibration import range_change
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, Recipe

INT8 = load_recipe("int8")


def samples(shape: tuple[int, ...], loud: int, count: int = 40) -> Dataset:
    """Numbers between -1 and 1 but for the sample `loud`, which reaches 4."""
    x = np.random.default_rng(0).uniform(-1, 1, (count, *shape)).astype(np.float32)
    x[loud] *= 4 / np.abs(x[loud]).max()
    return make_dataset(x, None, (), Path("x.npz"))


def artifact(root: Path, out: Path, recipe: Recipe, loud: int) -> Artifact:
    source = load_source(root / "tests/models/resnet_float32.tflite")
    return convert(
        source, recipe, out, calibration=samples((10, 10, 3), loud), calibration_effect=True
    )


def test_half_of_the_samples_may_miss_the_loud_one(root: Path, tmp_path: Path) -> None:
    made = artifact(root, tmp_path, replace(INT8, calibration_samples=300), loud=1)
    assert made.calibration is not None
    assert (made.calibration.samples, made.calibration.available) == (40, 40)
    (half,) = made.calibration.effects
    assert half.samples == 20 and half.range_change == pytest.approx(0.75, abs=0.2)
    assert half.tensor in {t.name for t in read_graph(made.path).tensors}
    assert half.outputs.error > 0
    assert load_artifact(made.path) == made


def test_more_samples_may_find_it(root: Path, tmp_path: Path) -> None:
    recipe = replace(INT8, calibration_samples=20)
    made = artifact(root, tmp_path, recipe, loud=1)  # every second sample is used
    assert made.calibration is not None
    fewer, more = made.calibration.effects
    assert (fewer.samples, made.calibration.samples, more.samples) == (10, 20, 40)
    assert more.range_change > 1 > fewer.range_change


def test_nobody_measures_it_unasked(root: Path, tmp_path: Path) -> None:
    source = load_source(root / "tests/models/resnet_float32.tflite")
    data = samples((10, 10, 3), 0)
    plain = convert(source, INT8, tmp_path, calibration=data)
    assert plain.calibration is not None and plain.calibration.effects == ()
    assert convert(source, load_recipe("float32"), tmp_path, calibration=data).calibration is None
    quantized = load_source(root / "tests/models/resnet_int8.tflite")
    passed = convert(quantized, INT8, tmp_path, calibration=data, calibration_effect=True)
    assert passed.calibration is None and passed.data_sha256 == ""


def test_a_range_is_compared_by_its_ends(root: Path) -> None:
    graph = read_graph(root / "tests/models/resnet_int8.tflite")
    given = graph.tensors[graph.inputs[0]]
    assert range_change(graph, graph) == (0.0, "")
    # A zero point that moves by 51 of 255 steps moves both ends by a fifth of the range.
    moved = replace(given, zero_points=(given.zero_points[0] + 51,))
    tensors = tuple(moved if t is given else t for t in graph.tensors)
    assert range_change(graph, replace(graph, tensors=tensors)) == (pytest.approx(0.2), given.name)
