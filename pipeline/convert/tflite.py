"""`.tflite` models pass as they are; nothing can be compressed that is already converted."""

from __future__ import annotations

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.checks import require_recipe
from tinydeploy.pipeline.data import Dataset
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription, ModelSource, Recipe


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> bytes:
    """The model's own bytes, if they are what `recipe` asks for.

    Calibration and description have no part in it. Raises UnsupportedModelError for a model that
    cannot be read or would have to be changed.
    """
    model = source.path.read_bytes()
    try:
        require_recipe(read_graph(model), recipe)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{source.path.name}: {error}", hint=error.hint) from error
    return model
