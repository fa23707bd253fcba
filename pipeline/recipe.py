"""Recipes: one way to compress each, as data in `recipes/NAME.toml`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tinydeploy import plugins
from tinydeploy.errors import UsageError
from tinydeploy.store import sha256_file
from tinydeploy.tomlfile import parse, read_toml
from tinydeploy.types import Recipe, Training

_FOLDER = Path(__file__).parent / "recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes that ship in the package."""
    return tuple(sorted(p.stem for p in _FOLDER.glob("*.toml")))


def load_recipe(name: str | Path) -> Recipe:
    """The recipe of that name, or of a `.toml` file given by its path.

    Raises UsageError for an unknown name, and with file and line for unknown keys, missing keys or
    values that make no sense.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _FOLDER / f"{name}.toml"
        if str(name) not in recipe_names():
            raise UsageError(
                f"no recipe is called {str(name)!r}", hint=f"known: {', '.join(recipe_names())}"
            )
    recipe = parse(Recipe, read_toml(path), path)
    if recipe.name != path.stem:
        raise UsageError(
            f"{path}: name = {recipe.name!r}", hint=f"a recipe is called like its file: {path.stem}"
        )
    quantized = recipe.activations in ("int8", "int16")
    if quantized != (recipe.weights in ("int8", "int4", "mixed")) or quantized != (
        recipe.calibration_samples > 0 or _trains_ranges(recipe)
    ):
        raise UsageError(
            f"{path}: activations = {recipe.activations!r}, weights = {recipe.weights!r}, "
            f"calibration_samples = {recipe.calibration_samples} do not go together",
            hint="integer activations need int8, int4 or mixed weights and calibration samples, "
            "others have none",
        )
    if recipe.calibration_samples < 0:
        raise UsageError(
            f"{path}: calibration_samples = {recipe.calibration_samples}", hint="300 is usual"
        )
    if recipe.activations == "int16" and recipe.weights == "int4":
        raise UsageError(
            f"{path}: activations = 'int16' with int4 weights",
            hint="int4 weights run with int8 activations only",
        )
    if not 50 < recipe.percentile <= 100:
        raise UsageError(
            f"{path}: percentile = {recipe.percentile}",
            hint="above 50, at most 100; 99.99 is usual",
        )
    if not 0 <= recipe.pruned < 1 or not (recipe.clusters == 0 or 2 <= recipe.clusters <= 256):
        raise UsageError(
            f"{path}: pruned = {recipe.pruned}, clusters = {recipe.clusters}",
            hint="pruned is a share below 1, clusters from 2 to 256",
        )
    if (recipe.pruned or recipe.clusters) and recipe.weights != "int8":
        raise UsageError(
            f"{path}: weights = {recipe.weights!r} are neither pruned nor clustered",
            hint='use weights = "int8"',
        )
    if (recipe.pruned or recipe.clusters) and not recipe.calibration_samples:
        raise UsageError(
            f"{path}: weights are pruned and clustered on calibration samples, and there are none",
            hint="calibration_samples = 300",
        )
    _require_budget(recipe, path)
    simple = (recipe.weights, recipe.granularity, recipe.ranges) == ("int8", "channel", "min-max")
    if recipe.quantizer == "tflite" and quantized and not simple:
        raise UsageError(
            f"{path}: quantizer = 'tflite' knows int8 weights, a scale a channel and min-max only",
            hint="use quantizer = 'litert'",
        )
    if recipe.training:
        _require_sound(recipe.training, path)
    if _trains_ranges(recipe) and (recipe.activations != "int8" or not simple):
        raise UsageError(
            f"{path}: method = 'qat' with activations = {recipe.activations!r}, weights = "
            f"{recipe.weights!r}, granularity = {recipe.granularity!r}, ranges = {recipe.ranges!r}",
            hint="it makes int8 activations and weights with a scale a channel, and finds their "
            "ranges itself: leave granularity and ranges out",
        )
    return _with_student(recipe, path)


def _trains_ranges(recipe: Recipe) -> bool:
    """Whether training finds the ranges of the activations: nothing is left to calibrate."""
    return recipe.training is not None and recipe.training.method == "qat"


def _require_sound(training: Training, path: Path) -> None:
    known = plugins.names("trainer")
    if training.method not in known:
        raise UsageError(
            f"{path}: [training] method = {training.method!r}", hint=f"known: {', '.join(known)}"
        )
    limits = {
        "epochs": (1, 10_000),
        "batch": (1, 65_536),
        "learning_rate": (1e-9, 10.0),
        "macs": (0.01, 1.0),
        "temperature": (0.1, 100.0),
        "teacher_weight": (0.0, 1.0),
        "seed": (0, 2**32 - 1),
    }
    for key, (least, most) in limits.items():
        value = getattr(training, key)
        if not least <= value <= most:
            raise UsageError(
                f"{path}: [training] {key} = {value}", hint=f"from {least:g} to {most:g}"
            )
    if training.method in ("channels", "slim") and training.macs == 1:
        raise UsageError(
            f"{path}: [training] macs = 1 removes no channels",
            hint="macs = 0.5 leaves half of the multiply-accumulates",
        )


def _with_student(recipe: Recipe, path: Path) -> Recipe:
    """The recipe with the student's file found from its own folder, and identified by its hash."""
    training = recipe.training
    if training is None or not (training.student or training.student_sha256):
        return recipe
    if training.method != "distill" or not training.student:
        raise UsageError(
            f"{path}: [training] method = {training.method!r}, student = {training.student!r}",
            hint='only method = "distill" has a student',
        )
    student = (path.parent / training.student).resolve()
    if not student.is_file():
        raise UsageError(
            f"{path}: the student {student} does not exist",
            hint="student is a Keras model file, found from the recipe's folder",
        )
    sha256 = sha256_file(student)
    if training.student_sha256 not in ("", sha256):
        raise UsageError(
            f"{path}: the student {student} has another sha256 than student_sha256",
            hint="delete the key student_sha256",
        )
    return replace(recipe, training=replace(training, student=str(student), student_sha256=sha256))


def _require_budget(recipe: Recipe, path: Path) -> None:
    """Mixed weights have a budget that makes sense, others have none."""
    budget = recipe.mixed
    if (recipe.weights == "mixed") != (budget is not None):
        raise UsageError(
            f"{path}: weights = {recipe.weights!r} with{'out' if budget is None else ''} [mixed]",
            hint='weights = "mixed" needs a table [mixed] with the budget, others have none',
        )
    if budget is None:
        return
    limits = (budget.max_loss, budget.max_weight_bytes, budget.max_weight_share)
    if all(limit is None for limit in limits):
        raise UsageError(
            f"{path}: [mixed] limits nothing",
            hint="give max_loss (0.01), max_weight_bytes or max_weight_share (0.7)",
        )
    loss, size, share = limits
    for name, value, sensible in (
        ("max_loss", loss, loss is None or 0 <= loss < 1),
        ("max_weight_bytes", size, size is None or size > 0),
        ("max_weight_share", share, share is None or 0 < share < 1),
    ):
        if not sensible:
            raise UsageError(
                f"{path}: [mixed] {name} = {value}",
                hint="max_loss is a share from 0 to below 1, max_weight_share one of int8's bytes "
                "between 0 and 1, max_weight_bytes above 0",
            )
    if recipe.activations != "int8":
        raise UsageError(
            f"{path}: activations = {recipe.activations!r} with mixed weights",
            hint="int4 weights run with int8 activations only",
        )
