"""Make the small models of this folder: `python tests/models/make_models.py [FOLDER]`.

Every network is trained for a moment on seeded synthetic data, so that its activations have
sensible ranges, and converted with each recipe. Sizes are chosen so that also the float32 variants
fit a Cortex-M0 with 16 KB of RAM. Needs TensorFlow; nothing of tinydeploy.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import flatbuffers
import keras
import numpy as np
import tensorflow as tf
from keras import layers
from tensorflow.lite.python import schema_py_generated as schema

SEED = 20261124
SAMPLES = 256


# ---------------------------------------------------------------- building blocks
def conv(x: Any, filters: int, size: Any, strides: Any = 1, **options: Any) -> Any:
    """Convolution, batch normalization and ReLU (which the converter folds into one op)."""
    options = {"padding": "same", **options}
    x = layers.Conv2D(filters, size, strides, use_bias=False, **options)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def separable(x: Any, filters: int, size: Any, strides: Any = 1, **options: Any) -> Any:
    """Depthwise then pointwise convolution, each with batch normalization and ReLU."""
    options = {"padding": "same", **options}
    x = layers.DepthwiseConv2D(size, strides, use_bias=False, **options)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    return conv(x, filters, 1)


# ---------------------------------------------------------------- the four MLPerf Tiny topologies
def dscnn() -> keras.Model:
    """Depthwise-separable CNN in the shape of the keyword-spotting model."""
    inputs = keras.Input((20, 10, 1))
    x = conv(inputs, 12, (10, 4), 2)
    x = separable(x, 12, 3)
    x = separable(x, 16, 3)
    x = layers.AveragePooling2D((10, 5))(x)
    return keras.Model(inputs, layers.Dense(6, "softmax")(layers.Flatten()(x)))


def resnet() -> keras.Model:
    """Residual CNN: an identity block and a strided one with a 1x1 shortcut."""
    inputs = keras.Input((10, 10, 3))
    x = conv(inputs, 6, 3)
    y = layers.BatchNormalization()(layers.Conv2D(6, 3, padding="same")(conv(x, 6, 3)))
    x = layers.ReLU()(layers.Add()([x, y]))
    y = layers.BatchNormalization()(layers.Conv2D(10, 3, padding="same")(conv(x, 10, 3, 2)))
    x = layers.Conv2D(10, 1, 2, padding="same")(x)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5, "softmax")(x))


def autoencoder() -> keras.Model:
    """Fully connected autoencoder."""
    inputs = x = keras.Input((60,))
    for units in (24, 16, 4, 16, 24):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Dense(units)(x)))
    return keras.Model(inputs, layers.Dense(60)(x))


def streaming() -> keras.Model:
    """1-D depthwise-separable CNN over time, as the streaming wake word model: k x 1, VALID."""
    inputs = x = keras.Input((20, 1, 12))
    for filters, size in ((24, 3), (24, 5), (20, 6), (16, 9)):
        x = layers.DepthwiseConv2D((size, 1))(x)
        x = conv(x, filters, 1, padding="valid")
    return keras.Model(inputs, layers.Dense(3, "softmax")(layers.Flatten()(x)))


# ---------------------------------------------------------------- the other ops
def conv1d() -> keras.Model:
    """Conv1D layers, which become CONV_2D between RESHAPEs, and MEAN over time."""
    inputs = keras.Input((24, 4))
    x = layers.Conv1D(8, 5, strides=2, activation="relu")(inputs)
    x = layers.Conv1D(8, 3, padding="same", activation="relu6")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(4, "softmax")(x))


def squeeze_excite() -> keras.Model:
    """MEAN, FULLY_CONNECTED and LOGISTIC gate channels by a broadcast MUL; RELU6; SQUEEZE."""
    inputs = keras.Input((9, 7, 3))
    x = layers.Conv2D(12, 3, 2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="relu6")(gate)
    gate = layers.Conv2D(12, 1, activation="sigmoid")(gate)
    x = layers.Multiply()([x, gate])
    x = layers.DepthwiseConv2D((3, 2), depth_multiplier=2)(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(x)
    return keras.Model(inputs, Squeeze()(layers.Conv2D(4, 1, activation="sigmoid")(x)))


def branches() -> keras.Model:
    """PAD, RELU, max and average pooling, dilation, CONCATENATION; two outputs."""
    inputs = keras.Input((9, 8, 4))
    x = layers.ZeroPadding2D(((1, 0), (2, 1)))(layers.ReLU()(inputs))
    x = layers.DepthwiseConv2D(3, 2, activation="relu")(x)
    a = layers.MaxPooling2D(3, 1, padding="same")(x)
    b = layers.AveragePooling2D((2, 3), 1, padding="same")(x)
    c = layers.Conv2D(6, 3, dilation_rate=2, padding="same", activation="relu")(x)
    c = layers.Conv2D(3, 1, activation="relu")(c)
    # All branches stay within 0 to 6, so that RELU6 keeps the scale: TFLite-Micro's int8 RELU6
    # ignores a change of scale, LiteRT's does not.
    x = layers.ReLU(6.0)(layers.Concatenate()([a, b, c]))
    label = layers.Dense(3, "softmax", name="label")(layers.Flatten()(x))
    score = layers.Dense(1, "sigmoid", name="score")(
        layers.Flatten()(layers.MaxPooling2D((4, 5))(x))
    )
    return keras.Model(inputs, [label, score])


def two_inputs() -> keras.Model:
    """Two inputs joined by ADD, MUL and CONCATENATION, which has to requantize (QUANTIZE)."""
    image, vector = keras.Input((6, 6, 2), name="image"), keras.Input((8,), name="vector")
    x = layers.Flatten()(layers.Conv2D(4, 3, 2, activation="relu")(image))
    x = layers.Dense(8)(x)
    y = layers.Multiply()([x, layers.Rescaling(0.7, 0.1)(vector)])
    x = layers.Activation("sigmoid")(layers.Add()([x, vector]))
    return keras.Model([image, vector], layers.Dense(2)(layers.Concatenate()([x, y])))


@keras.saving.register_keras_serializable()
class Squeeze(layers.Layer):
    """Drop the two spatial axes of size one (SQUEEZE)."""

    def call(self, x: Any) -> Any:
        return tf.squeeze(x, [1, 2])


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    f.__name__: f
    for f in (
        dscnn,
        resnet,
        autoencoder,
        streaming,
        conv1d,
        squeeze_excite,
        branches,
        two_inputs,
    )
}
RECIPES = ("float32", "int8", "int16x8")
PER_TENSOR = ("autoencoder", "streaming")
"""Networks whose fully connected weights get one scale, as MLPerf Tiny's; the others' one a row."""


# ---------------------------------------------------------------- training and conversion
def synthetic(model: keras.Model, rng: np.random.Generator) -> tuple[list[Any], list[Any]]:
    """Noisy prototypes of some classes, and targets that fit each output."""
    classes = 6
    label = rng.integers(0, classes, SAMPLES)
    inputs = []
    for tensor in model.inputs:
        prototypes = rng.normal(0, 1.5, (classes, *tensor.shape[1:]))
        noise = rng.normal(0, 0.7, (SAMPLES, *tensor.shape[1:]))
        inputs.append((prototypes[label] + noise).astype(np.float32))
    targets = []
    for tensor in model.outputs:
        units = tensor.shape[-1]
        codes = np.eye(units)[np.arange(classes) % units] if units > 1 else rng.random((classes, 1))
        same = tensor.shape[1:] == model.inputs[0].shape[1:]
        targets.append(inputs[0] if same else codes[label].astype(np.float32))
    return inputs, targets


def train(model: keras.Model, rng: np.random.Generator) -> list[Any]:
    """A few epochs; returns the inputs, which serve for calibration as well."""
    inputs, targets = synthetic(model, rng)
    model.compile(keras.optimizers.Adam(0.01), ["mse"] * len(targets))
    model.fit(inputs, targets, batch_size=32, epochs=12, verbose=0, shuffle=False)
    return inputs


def convert(
    name: str, model: keras.Model, recipe: str, calibration: list[Any], float_io: bool = False
) -> bytes:
    """A `.tflite` with a batch of one."""
    names = [t.name for t in model.inputs]
    tensors = [keras.Input(batch_shape=(1, *t.shape[1:]), name=t.name) for t in model.inputs]
    single = keras.models.clone_model(model, tensors if len(tensors) > 1 else tensors[0])
    single.set_weights(model.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    if recipe != "float32":

        def samples() -> Iterator[dict[str, Any]]:
            for n in range(64):
                yield {k: x[n : n + 1] for k, x in zip(names, calibration, strict=True)}

        sets = tf.lite.OpsSet
        activations = tf.int8 if recipe == "int8" else tf.int16
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter._experimental_disable_per_channel_quantization_for_dense_layers = (
            name in PER_TENSOR
        )
        converter.target_spec.supported_ops = [
            sets.TFLITE_BUILTINS_INT8
            if recipe == "int8"
            else sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
        if not float_io:
            converter.inference_input_type = converter.inference_output_type = activations
    content = converter.convert()
    return with_squeeze(content) if name == "squeeze_excite" else content


def with_squeeze(content: bytes) -> bytes:
    """The same model with SQUEEZE for its RESHAPE: what the converter made of `tf.squeeze`."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    code = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.RESHAPE)
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SQUEEZE
    graph = model.subgraphs[0]
    (op,) = [op for op in graph.operators if model.operatorCodes[op.opcodeIndex] is code]
    op.inputs = op.inputs[:1]
    op.builtinOptionsType = schema.BuiltinOptions.SqueezeOptions
    op.builtinOptions = schema.SqueezeOptionsT()
    op.builtinOptions.squeezeDims = [1, 2]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def main() -> None:
    """Write every network in every recipe, and one with float32 inputs and outputs."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    tf.config.experimental.enable_op_determinism()
    for number, (name, build) in enumerate(NETWORKS.items()):
        keras.backend.clear_session()
        keras.utils.set_random_seed(SEED + number)
        model = build()
        calibration = train(model, np.random.default_rng(SEED + number))
        for recipe in RECIPES:
            content = convert(name, model, recipe, calibration)
            (folder / f"{name}_{recipe}.tflite").write_bytes(content)
        if name == "dscnn":
            content = convert(name, model, "int8", calibration, float_io=True)
            (folder / f"{name}_int8_float_io.tflite").write_bytes(content)


if __name__ == "__main__":
    main()
