"""Small Keras models as files, and data for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.types import InputDescription

PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def network(layers: Any) -> Any:
    """A separable CNN in either version of Keras; `layers` is its module."""
    inputs = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x)))
    return inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))


def pixels() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    return make_dataset(x, np.arange(40) % 3, ("a", "b", "c"), Path("pixels.npz"))


def save_all(out: Path) -> None:
    """Files as users have them: both versions of Keras, and what must be refused."""
    import keras
    import tf_keras

    keras.utils.set_random_seed(1)
    model = keras.Model(*network(keras.layers))
    model.save(out / "three.keras")
    model.save(out / "three_h5.h5")
    with open(out / "expected.npy", "wb") as f:
        np.save(f, model.predict(pixels().x / np.float32(255), verbose=0))
    old = tf_keras.Model(*network(tf_keras.layers))
    old.set_weights(model.get_weights())
    old.save(out / "two.h5")
    old.save(out / "two_zip.keras")

    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(out / "lambda.keras")
    old_inputs = tf_keras.Input((4,))
    doubled = tf_keras.layers.Lambda(lambda x: x * 2)(old_inputs)
    tf_keras.Model(old_inputs, doubled).save(out / "lambda.h5")
    tf_keras.Model(old_inputs, tf_keras.layers.ReLU()(old_inputs * 2.0)).save(out / "operator.h5")
    model.save_weights(out / "weights.weights.h5")
    varying = keras.Input((None, 8, 1))
    keras.Model(varying, keras.layers.Conv2D(2, 3)(varying)).save(out / "varying.keras")
    pair = [keras.Input((4,)), keras.Input((4,))]
    keras.Model(pair, keras.layers.Add()(pair)).save(out / "pair.keras")
