"""Fake quantization of a tf_keras model, as the integer kernels of a board will round.

tensorflow-model-optimization says where a value is quantized; how its range is found is said here:
weights have a scale a channel (its own quantizers give dense and depthwise kernels one a tensor),
and the ranges of activations begin at what a calibration set shows, not at -6 and 6, which a short
training never leaves. Batch normalization keeps its statistics and learns its scale and offset
only: a few small batches say less about a trained net than all of its own training did.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tinydeploy.errors import ToolMissingError, UnsupportedModelError

_HINT = "use the recipe int8, which quantizes after training"
_PER_CHANNEL = ("Conv2D", "DepthwiseConv2D", "Dense")
_SAME_SCALE = ("AveragePooling1D", "AveragePooling2D")
"""Their outputs have the scale of their inputs in TensorFlow Lite: another would be a QUANTIZE."""

_LEAST = 1e-8
"""Of a channel whose weights are all zero: a range has to be of some width."""


class FakeQuantized:
    """A model with fake quantization in it; `model` is a functional tf_keras model."""

    def __init__(self, source: Any) -> None:
        """Quantize `source`, a tf_keras model with its trained weights, which stays as it is.

        Raises ToolMissingError without tensorflow-model-optimization, UnsupportedModelError naming
        the layer that it cannot quantize.
        """
        try:
            import tensorflow_model_optimization as tfmot
        except ImportError as error:
            raise ToolMissingError(
                "tensorflow-model-optimization is not installed",
                hint="pip install 'tinydeploy[qat]'",
            ) from error
        _require_supported(source)
        try:
            self.model = tfmot.quantization.keras.quantize_model(source)
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            raise _unsupported(source, error) from error
        wrappers = [layer for layer in self.model.layers if hasattr(layer, "quantize_config")]
        for wrapper in wrappers:
            if type(wrapper.layer).__name__ == "BatchNormalization":
                wrapper.layer.trainable = False
            if type(wrapper.layer).__name__ in _SAME_SCALE:
                wrapper._output_quantizers = []
        self._weights = [q for w in wrappers for q in _per_channel(w)]
        self._ranges = [q for layer in self.model.layers for q in _calibrated(layer)]

    def calibrate(self, samples: np.ndarray, batch: int) -> None:
        """Set the ranges of all activations to what `samples` (N, ...) show, unquantized."""
        import tensorflow as tf

        for quantizer in self._ranges:
            quantizer.observed = {}
        for start in range(0, len(samples), batch):
            self.model(tf.constant(samples[start : start + batch]), training=False)
        for quantizer in self._ranges:
            quantizer.observed = None

    def for_conversion(self) -> None:
        """From now on weights are as they are: the converter quantizes them, a scale a channel.

        It gives each channel the range that it had in training, its greatest absolute value; what
        it cannot do is find the scales of a dense layer's channels from fake quantization.
        """
        for quantizer in self._weights:
            quantizer.passing = True


def _per_channel(wrapper: Any) -> list[Any]:
    """Give the weights of a wrapped layer a scale a channel; their quantizers."""
    kind = type(wrapper.layer).__name__
    if kind not in _PER_CHANNEL:
        return []
    own = [_channel_quantizer(w.shape, kind) for w, _, _ in wrapper._weight_vars]
    wrapper._weight_vars = [
        (weight, quantizer, variables)
        for (weight, _, variables), quantizer in zip(wrapper._weight_vars, own, strict=True)
    ]
    return own


def _calibrated(layer: Any) -> list[Any]:
    """Let the ranges of a layer's activations, or those of the input, be set; their quantizers."""
    # A quantizer of the input is its layer's own, those of an activation are the activation's.
    holders = [layer] if hasattr(layer, "quantizer") else []
    if hasattr(layer, "quantize_config"):
        holders = layer._quantize_activations
        layer._output_quantizers = [_range_quantizer(q) for q in layer._output_quantizers]
    for holder in holders:
        holder.quantizer = _range_quantizer(holder.quantizer)
    return [*(h.quantizer for h in holders), *getattr(layer, "_output_quantizers", [])]


def _channel_quantizer(shape: Any, kind: str) -> Any:
    import tensorflow as tf
    from tensorflow_model_optimization.quantization.keras import quantizers

    channels = int(np.prod(shape[-2:] if kind == "DepthwiseConv2D" else shape[-1:]))

    class ChannelQuantizer(quantizers.Quantizer):
        passing = False

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return {}

        def __call__(self, inputs: Any, training: bool, weights: Any, **_: Any) -> Any:
            if self.passing:
                return inputs
            rows = tf.reshape(inputs, (-1, channels))
            limit = tf.maximum(tf.stop_gradient(tf.reduce_max(tf.abs(rows), axis=0)), _LEAST)
            rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
                rows, -limit, limit, num_bits=8, narrow_range=True
            )
            return tf.reshape(rounded, inputs.shape)

        def get_config(self) -> dict[str, Any]:
            return {}

    return ChannelQuantizer()


def _range_quantizer(inner: Any) -> Any:
    import tensorflow as tf
    from tensorflow_model_optimization.quantization.keras import quantizers

    class RangeQuantizer(quantizers.Quantizer):
        observed: dict[int, bool] | None = None

        def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
            return dict(inner.build(tensor_shape, name, layer))

        def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
            if self.observed is None:
                return inner(inputs, training, weights, **kwargs)
            low, high = weights["min_var"], weights["max_var"]
            first = id(low) not in self.observed
            self.observed[id(low)] = True
            least = tf.minimum(tf.reduce_min(inputs), 0.0 if first else low)
            most = tf.maximum(tf.reduce_max(inputs), 0.0 if first else high)
            low.assign(least)
            high.assign(most)
            return inputs

        def get_config(self) -> dict[str, Any]:
            return dict(inner.get_config())

    return RangeQuantizer()


def _require_supported(source: Any) -> None:
    """Name a layer whose activation tensorflow-model-optimization does not know."""
    from tensorflow_model_optimization.python.core.quantization.keras import (
        quantize_aware_activation,
    )

    aware = quantize_aware_activation.QuantizeAwareActivation
    known = aware._PRE_QUANT_ACTIVATIONS | aware._POST_QUANT_ACTIVATIONS
    for layer in source.layers:
        activation = getattr(layer, "activation", None)
        if activation is not None and getattr(activation, "__name__", "?") not in known:
            raise UnsupportedModelError(
                f"the activation {getattr(activation, '__name__', activation)!r} of the layer "
                f"{layer.name!r} cannot be trained quantized",
                hint=f"one of {', '.join(sorted(known))}; or {_HINT}",
            )


def _unsupported(source: Any, error: Exception) -> UnsupportedModelError:
    said = " ".join(str(error).split())
    named = re.search(r"Layer (\S+?):<class '(?:\S+\.)?(\w+)'>", said)
    if named:
        return UnsupportedModelError(
            f"the layer {named[1]!r} ({named[2]}) cannot be trained quantized", hint=_HINT
        )
    return UnsupportedModelError(
        f"{source.name} cannot be trained quantized: {said[:300]}", hint=_HINT
    )
