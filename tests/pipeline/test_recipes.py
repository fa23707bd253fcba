"""Recipes are data: those in the package, and what a user may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.pipeline.recipe import load_recipe, recipe_names

INT8 = """name = "mine"
description = "A try"
activations = "int8"
weights = "int8"
calibration_samples = 20
"""


def test_every_recipe_of_the_package_is_valid() -> None:
    assert set(recipe_names()) == {
        "as-is", "clustered", "float32", "int16x8", "int4-weights", "int8", "int8-mse",
        "int8-per-tensor", "mixed", "pruned",
        "int8-percentile", "int8-qat", "slim", "pruned-channels", "distill",
    }  # fmt: skip
    for name in recipe_names():
        recipe = load_recipe(name)
        assert recipe.name == name and recipe.description.endswith(".")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="int4") as caught:
        load_recipe("int4")
    assert "int16x8" in caught.value.hint


def test_a_name_is_not_a_path() -> None:
    with pytest.raises(UsageError, match="no recipe is called"):
        load_recipe("../recipes/int8")


def test_a_recipe_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(INT8)
    assert load_recipe(path).calibration_samples == 20
    assert load_recipe(str(path)) == load_recipe(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("weights =", "wieghts =", r"mine.toml:4: wieghts: unknown key"),
        ('"int8"\nweights', '"int4"\nweights', r"mine.toml:3: activations: expected one of"),
        ("= 20", "= 2.5", r"calibration_samples: expected an integer"),
        ("= 20", "= 0", "do not go together"),
        ('"int8"\nweights = "int8"', '"int16"\nweights = "int4"', "'int16' with int4 weights"),
        (
            'activations = "int8"\nweights = "int8"\ncalibration_samples = 20',
            'activations = "float32"\nweights = "float32"\ncalibration_samples = -5',
            "calibration_samples = -5",
        ),
        ('weights = "int8"', 'weights = "float32"', "do not go together"),
        ('name = "mine"', 'name = "other"', "name = 'other'"),
        ('description = "A try"\n', "", "'description' is missing"),
        ("= 20", "= ", "not valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in INT8
    path.write_text(INT8.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe(path)


MIXED = """name = "mine"
description = "A try"
activations = "int8"
weights = "mixed"
calibration_samples = 20
[mixed]
max_weight_share = 0.7
"""


def test_a_budget_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MIXED)
    budget = load_recipe(path).mixed
    assert budget is not None and budget.max_weight_share == 0.7 and budget.max_loss is None
    assert budget.judged_by == "auto"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_weight_share = 0.7\n", "", "limits nothing"),
        ("[mixed]\nmax_weight_share = 0.7\n", "", "'mixed' without"),
        ('"mixed"', '"int8"', "'int8' with"),
        ("0.7", "1.5", "max_weight_share = 1.5"),
        ("share = 0.7", "bytes = 0", "max_weight_bytes = 0"),
        ("max_weight_share = 0.7", "max_loss = -0.1", "max_loss = -0.1"),
        ("max_weight_share", "weight_share", r"\[mixed\] weight_share: unknown key"),
        ("0.7", '0.7\njudged_by = "taste"', "judged_by: expected one of"),
        ('activations = "int8"', 'activations = "int16"', "int16"),
        ("[mixed]", 'quantizer = "tflite"\n[mixed]', "knows int8 weights"),
        ("[mixed]", "clusters = 16\n[mixed]", "neither pruned nor clustered"),
    ],
)
def test_budgets_that_make_no_sense(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    assert old in MIXED
    path.write_text(MIXED.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe(path)


QAT = """name = "mine"
description = "A try"
activations = "int8"
weights = "int8"
[training]
method = "qat"
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('weights = "int8"', 'weights = "int4"', "weights = 'int4'"),
        ('activations = "int8"', 'activations = "int16"', "activations = 'int16'"),
        ("[training]", 'granularity = "tensor"\n[training]', "granularity = 'tensor'"),
        ("[training]", 'ranges = "mse"\n[training]', "ranges = 'mse'"),
        ("[training]", "pruned = 0.3\n[training]", "calibration samples, and there are none"),
        ("[training]", "clusters = 16\n[training]", "calibration samples, and there are none"),
    ],
)
def test_what_quantization_aware_training_does_not_make(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(QAT)
    assert load_recipe(path).training is not None
    path.write_text(QAT.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe(path)
