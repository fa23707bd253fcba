"""Keras models to `.tflite`, with TensorFlow's own converter."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.convert.quiet import quiet
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.prepare import as_float
from tinydeploy.types import InputDescription, ModelSource, Recipe


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> bytes:
    """A `.tflite` model with a batch of one, the same bytes each time on one machine.

    Integer recipes make a fully integer model, inputs and outputs included; weights of
    convolutions and dense layers have a scale a channel.
    Raises UsageError for calibration samples that do not fit the input, UnsupportedModelError for
    a model that TensorFlow cannot load or convert.
    """
    if recipe.activations == "any":
        raise UsageError(
            f"the recipe {recipe.name!r} is for .tflite models, {source.path.name} is none",
            hint="use float32, int8 or int16x8",
        )
    with quiet():
        function = _frozen_function(source.path, source.sha256)
        samples = None
        if recipe.activations != "float32":
            if calibration is None:
                raise UsageError(f"the recipe {recipe.name!r} needs a calibration set")
            samples = _calibration_samples(function, calibration, description, source)
        return _run_converter(function, recipe, samples, source)


@functools.lru_cache(maxsize=2)
def _frozen_function(path: Path, sha256: str) -> Any:
    """The model as a concrete function of batch one with its weights as constants.

    Kept for the next recipe of the same content (`sha256`): tracing takes longer than converting.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    model = load_model(path)
    signature = [
        tf.TensorSpec(_fixed_shape(t, path), t.dtype, name=f"input_{i}" if i else "input")
        for i, t in enumerate(model.inputs)
    ]

    def infer(*inputs: Any) -> Any:
        return model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)

    try:
        concrete = tf.function(infer, input_signature=signature).get_concrete_function()
        return convert_variables_to_constants_v2(concrete)
    except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
        raise _unsupported(path.name, error) from error


def _fixed_shape(tensor: Any, path: Path) -> tuple[int, ...]:
    shape = (1, *tuple(tensor.shape)[1:])
    if None in shape:
        raise UnsupportedModelError(
            f"the input {tensor.name!r} of {path.name} has the shape {tuple(tensor.shape)}",
            hint="build the model with a fixed size for every dimension but the batch",
        )
    return shape


def _calibration_samples(
    function: Any,
    calibration: Dataset,
    description: InputDescription | None,
    source: ModelSource,
) -> np.ndarray:
    """The calibration set as the model's float input, (N, *sample shape)."""
    if len(function.inputs) != 1:
        raise UnsupportedModelError(
            f"{source.path.name} has {len(function.inputs)} inputs; only models with one can be "
            "calibrated",
            hint="use the recipe float32, or bring a quantized .tflite",
        )
    shape = tuple(function.inputs[0].shape)
    tensor = Tensor(index=0, name="input", shape=shape, dtype="float32")
    try:
        return as_float(calibration.x, tensor, description)
    except UsageError as error:
        raise UsageError(
            f"calibration data {calibration.path}: {error}", hint=error.hint
        ) from error


def _run_converter(
    function: Any, recipe: Recipe, samples: np.ndarray | None, source: ModelSource
) -> bytes:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    # Nothing is left in a frozen function that a SavedModel would have to carry; going through one
    # takes ten times as long and leaves variables in the graph.
    converter.experimental_lower_to_saved_model = False
    if samples is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        ops, dtype = {
            "int8": (tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.int8),
            "int16": (
                tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
                tf.int16,
            ),
        }[recipe.activations]
        converter.target_spec.supported_ops = [ops]
        converter.inference_input_type = converter.inference_output_type = dtype

        def representative() -> Iterator[list[np.ndarray]]:
            for sample in samples:
                yield [sample[np.newaxis]]

        converter.representative_dataset = representative
    try:
        return bytes(converter.convert())
    except Exception as error:  # ConverterError, RuntimeError of the calibrator, ValueError, ...
        raise _unsupported(source.path.name, error) from error


def _unsupported(name: str, error: Exception) -> UnsupportedModelError:
    reason = " ".join(str(error).split())[:400]
    return UnsupportedModelError(
        f"TensorFlow cannot convert {name}: {reason}",
        hint="use layers that TensorFlow Lite has built-in operators for",
    )
