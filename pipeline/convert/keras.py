"""Keras models to `.tflite`, with TensorFlow's own converter."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert.converted import Converted
from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.convert.quiet import quiet
from tinydeploy.pipeline.convert.tf_function import convert_function, frozen
from tinydeploy.pipeline.data import Dataset
from tinydeploy.types import InputDescription, ModelSource, Recipe


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> Converted:
    """A `.tflite` model with a batch of one, the same bytes each time on one machine.

    Integer recipes make a fully integer model, inputs and outputs included; weights of
    convolutions and dense layers have a scale a channel.
    Raises UsageError for calibration samples that do not fit the input, UnsupportedModelError for
    a model that TensorFlow cannot load or convert.
    """
    with quiet():
        function = _frozen_function(source.path, source.sha256, source.trusted)
    return convert_function(function, recipe, calibration, description, source.path.name)


@functools.lru_cache(maxsize=2)
def _frozen_function(path: Path, sha256: str, trusted: bool) -> Any:
    """The model as a concrete function of batch one with its weights as constants.

    Kept for the next recipe of the same content (`sha256`): tracing takes longer than converting.
    """
    import tensorflow as tf

    model = load_model(path, trusted=trusted)
    signature = [
        tf.TensorSpec(_fixed_shape(t, path), t.dtype, name=f"input_{i}" if i else "input")
        for i, t in enumerate(model.inputs)
    ]

    def infer(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    return frozen(infer, signature, path.name)


def _fixed_shape(tensor: Any, path: Path) -> tuple[int, ...]:
    shape = (1, *tuple(tensor.shape)[1:])
    if None in shape:
        raise UnsupportedModelError(
            f"the input {tensor.name!r} of {path.name} has the shape {tuple(tensor.shape)}",
            hint="build the model with a fixed size for every dimension but the batch",
        )
    return shape
