"""Recipes: one way to compress each, as data in `recipes/NAME.toml`."""

from __future__ import annotations

from pathlib import Path

from tinydeploy.errors import UsageError
from tinydeploy.tomlfile import parse, read_toml
from tinydeploy.types import Recipe

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
    if quantized != (recipe.weights in ("int8", "int4")) or quantized != (
        recipe.calibration_samples > 0
    ):
        raise UsageError(
            f"{path}: activations = {recipe.activations!r}, weights = {recipe.weights!r}, "
            f"calibration_samples = {recipe.calibration_samples} do not go together",
            hint="integer activations need int8 or int4 weights and calibration samples, others "
            "have none",
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
    simple = (recipe.weights, recipe.granularity, recipe.ranges) == ("int8", "channel", "min-max")
    if recipe.quantizer == "tflite" and quantized and not simple:
        raise UsageError(
            f"{path}: quantizer = 'tflite' knows int8 weights, a scale a channel and min-max only",
            hint="use quantizer = 'litert'",
        )
    return recipe
