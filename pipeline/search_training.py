"""Trainings as a setting of the search: what a Keras source may become before it is converted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib.util import find_spec

from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.search_space import recipe_of, usual
from tinydeploy.types import Recipe, Training

EPOCHS = 3
UNTRAINED = "none"

_SHARES: Mapping[str, tuple[float, ...]] = {
    "distill": (0.5, 0.25),
    "pruned-channels": (0.75, 0.5, 0.25),
    "slim": (0.5,),
}
"""Recipes that leave a share of the multiply-accumulates, and the shares that are tried."""
_LEAST_EPOCHS = {"slim": 2}


def trainings(epochs: int, progress: Callable[[str], None]) -> dict[str, Training]:
    """The values of the setting `trained` but "none": of the package's recipes, so many epochs.

    `RECIPE@SHARE`, and "qat" if tensorflow-model-optimization is installed.
    """
    found = {}
    for name, shares in _SHARES.items():
        training = _training_of(name)
        epochs_ = max(epochs, _LEAST_EPOCHS.get(name, 1))
        for share in shares:
            value = dataclasses.replace(training, epochs=epochs_, macs=share)
            found[f"{name}@{share:g}"] = value
    if find_spec("tensorflow_model_optimization"):
        found["qat"] = dataclasses.replace(_training_of("int8-qat"), epochs=epochs)
    else:
        progress("quantization-aware training is not tried: pip install 'tinydeploy[qat]'")
    return found


def _training_of(recipe: str) -> Training:
    training = load_recipe(recipe).training
    if training is None:
        raise TypeError(f"the recipe {recipe} does not train")
    return training


def short_name(trained: str) -> str:
    """A value of the setting as a part of names: `distill50` for `distill@0.5`."""
    name, _, share = trained.partition("@")
    return name + (f"{100 * float(share):.0f}" if share else "")


def with_training(settings: Mapping[str, str], training: Training | None) -> Recipe:
    """The recipe of a search's settings, with a training before it.

    Quantization-aware training finds the ranges itself, so that other settings do not apply.
    """
    if training is None:
        return recipe_of(settings)
    trained = settings["trained"]
    if training.method == "qat":
        recipe = dataclasses.replace(recipe_of(usual()), calibration_samples=0)
    else:
        recipe = recipe_of(settings)
    return dataclasses.replace(
        recipe,
        name=f"{short_name(trained)}-{recipe.name}",
        description=f"Found by search: {', '.join(settings.values())}.",
        training=training,
    )
