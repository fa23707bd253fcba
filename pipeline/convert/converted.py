"""What every converter returns, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tinydeploy.compression import Mix
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.prepare import as_float
from tinydeploy.types import InputDescription, Recipe


@dataclass(frozen=True)
class Converted:
    """A `.tflite` model as bytes.

    `calibrated` says whether the calibration set had a part in it. `agreement` holds the largest
    absolute difference of each output from the source framework's own, where they were compared;
    `mix` says how the weights of a "mixed" recipe were chosen.
    """

    model: bytes
    calibrated: bool = False
    agreement: Mapping[str, float] = field(default_factory=dict)
    mix: Mix | None = None


def require_changing(recipe: Recipe, name: str) -> None:
    """Raises UsageError for a recipe that leaves models as they are; `name` is the source's."""
    if recipe.activations == "any":
        raise UsageError(
            f"the recipe {recipe.name!r} is for .tflite models, {name} is none",
            hint="use float32, int8 or int16x8",
        )


def no_calibration(recipe: Recipe) -> UsageError:
    """What is said of a recipe without the calibration set that it needs."""
    return UsageError(
        f"the recipe {recipe.name!r} needs a calibration set",
        hint="--calibration FILE.npz: a few hundred representative samples as x (N, ...)",
    )


def calibration_samples(
    tensors: list[Tensor],
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
    name: str,
) -> np.ndarray:
    """The calibration set as the model's float input, (N, *sample shape).

    `tensors` are the model's inputs, `name` is the source's. Raises UsageError for a set that is
    missing or does not fit, UnsupportedModelError for a model with several inputs.
    """
    if calibration is None:
        raise no_calibration(recipe)
    if len(tensors) != 1:
        raise UnsupportedModelError(
            f"{name} has {len(tensors)} inputs; only models with one can be calibrated",
            hint="use the recipe float32, or bring a quantized .tflite",
        )
    try:
        return as_float(calibration.x, tensors[0], description)
    except UsageError as error:
        raise UsageError(
            f"calibration data {calibration.path}: {error}", hint=error.hint
        ) from error
