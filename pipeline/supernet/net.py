"""The nets of a family as Keras models, and the weights that they share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from tinydeploy.pipeline.supernet.space import Choice, Space, channels, resized


class BatchStatistics(keras.layers.BatchNormalization):
    """Batch normalization for training: always by the batch, which its statistics then hold.

    With TensorFlow's fused kernel, since Keras's separate ops take two thirds of a training step of
    such nets on a CPU. The weights are those of BatchNormalization.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize; `moving_mean` and `moving_variance` become those of this batch."""
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            keras.ops.convert_to_tensor(self.gamma),
            keras.ops.convert_to_tensor(self.beta),
            epsilon=self.epsilon,
            is_training=True,
        )
        self.moving_mean.assign(mean)
        self.moving_variance.assign(variance)
        return outputs


def build(
    space: Space,
    choice: Choice,
    shape: tuple[int, ...],
    classes: int,
    normalization: type = keras.layers.BatchNormalization,
) -> Any:
    """An untrained net: samples (N, *shape) float32 to the probabilities of `classes` classes.

    Batch normalization and ReLU follow every convolution; all blocks of a stage but its first add
    to what they are given, so that a net with fewer of them still makes sense. Layers of the same
    name in two nets of the family share their weights.
    """

    def activated(x: Any, convolution: Any) -> Any:
        name = convolution.name
        x = normalization(name=f"{name}_normalization")(convolution(x))
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    options = {"padding": "same", "use_bias": False}
    x = inputs = keras.Input(shape, name="sample")
    if choice.resolution != 1:
        x = keras.layers.Resizing(*resized(shape, choice.resolution), name="resized")(x)
    stem = channels(space.stem, choice.width)
    x = activated(x, keras.layers.Conv2D(stem, space.stem_kernel, 2, name="stem", **options))
    for s, (count, first_stride) in enumerate(space.stages, 1):
        outs = channels(count, choice.width)
        for b in range(1, choice.depth + 1):
            stride, name = first_stride if b == 1 else 1, f"stage{s}_block{b}"
            depthwise = keras.layers.DepthwiseConv2D(
                choice.kernel, stride, name=f"{name}_depthwise", **options
            )
            pointwise = keras.layers.Conv2D(outs, 1, name=f"{name}_pointwise", **options)
            y = activated(activated(x, depthwise), pointwise)
            x = y if b == 1 else keras.layers.Add(name=f"{name}_sum")([x, y])
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = keras.layers.Dense(classes, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name=choice.name.replace("-", "_"))


def named_weights(model: Any) -> dict[str, Any]:
    """All variables of a net, statistics too, as ``layer/weight``."""
    return {f"{layer.name}/{w.name}": w for layer in model.layers for w in layer.weights}


def part_of(values: Any, shape: tuple[int, ...]) -> Any:
    """What a smaller net takes of a weight: the first channels, the middle of a kernel.

    `values` is an array or a tensor of TensorFlow.
    """
    is_kernel = len(shape) == 4
    index = []
    for axis, (whole, left) in enumerate(zip(values.shape, shape, strict=True)):
        begin = (whole - left) // 2 if is_kernel and axis < 2 else 0
        index.append(slice(begin, begin + left))
    return values[tuple(index)]


def parts_for(model: Any, weights: Mapping[str, Any]) -> list[Any]:
    """What this net's trainable variables are, in order: parts of these weights of a supernet."""
    names = {id(w): name for name, w in named_weights(model).items()}
    return [part_of(weights[names[id(w)]], tuple(w.shape)) for w in model.trainable_variables]
