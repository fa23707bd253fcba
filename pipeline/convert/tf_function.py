"""A TensorFlow function to `.tflite`: what Keras models and SavedModels have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.convert.converted import Converted, calibration_samples, require_changing
from tinydeploy.pipeline.convert.litert import compress
from tinydeploy.pipeline.convert.quiet import quiet
from tinydeploy.pipeline.data import Dataset
from tinydeploy.types import InputDescription, Recipe


def convert_function(
    function: Any,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
    name: str,
) -> Converted:
    """A frozen concrete function of batch one as `recipe` says; `name` is the source's.

    TensorFlow's converter quantizes where it can do what the recipe asks (int8 weights with a
    scale a channel, min-max ranges), litert-quantizer the rest.
    Raises UsageError for calibration samples that do not fit the input, UnsupportedModelError for
    a function that TensorFlow cannot convert.
    """
    require_changing(recipe, name)
    if recipe.activations == "float32":
        with quiet():
            return Converted(_run_converter(function, recipe, None, name))
    plain = (recipe.weights, recipe.granularity, recipe.ranges) == ("int8", "channel", "min-max")
    if recipe.quantizer == "litert" or not plain:
        with quiet():
            model = _run_converter(function, recipe, None, name)
        return compress(model, recipe, calibration, description, name=name)
    inputs = [
        Tensor(index=i, name=t.name, shape=tuple(t.shape), dtype="float32")
        for i, t in enumerate(function.inputs)
    ]
    samples = calibration_samples(inputs, recipe, calibration, description, name)
    with quiet():
        return Converted(_run_converter(function, recipe, samples, name), calibrated=True)


def frozen(infer: Callable[..., Any], specs: list[Any], name: str) -> Any:
    """`infer` as a concrete function of inputs `specs` with its weights as constants.

    `name` is the source's. Raises UnsupportedModelError for what TensorFlow cannot trace.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    try:
        concrete = tf.function(infer, input_signature=specs).get_concrete_function()
        return convert_variables_to_constants_v2(concrete)
    except (tf.errors.OpError, ValueError, TypeError, NotImplementedError) as error:
        raise _unsupported(name, error) from error


def convert_with_ranges(function: Any, name: str) -> bytes:
    """A frozen function with fake quantization in it, in int8 from its inputs to its outputs.

    Activations have the ranges of their fake quantization; weights that have none get a scale a
    channel. Raises UnsupportedModelError for a function that TensorFlow cannot convert.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.experimental_lower_to_saved_model = False
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return _converted(converter, name)


def _run_converter(function: Any, recipe: Recipe, samples: np.ndarray | None, name: str) -> bytes:
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
    return _converted(converter, name)


def _converted(converter: Any, name: str) -> bytes:
    try:
        return bytes(converter.convert())
    except Exception as error:  # ConverterError, RuntimeError of the calibrator, ValueError, ...
        raise _unsupported(name, error) from error


def _unsupported(name: str, error: Exception) -> UnsupportedModelError:
    """TensorFlow's error in the words of ours."""
    reason = " ".join(str(error).split())[:400]
    return UnsupportedModelError(
        f"TensorFlow cannot convert {name}: {reason}",
        hint="use layers that TensorFlow Lite has built-in operators for",
    )
