"""The nets of bench/compression.py, trained on Fashion-MNIST (seeded)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/fashion_mnist"))

import data  # noqa: E402

# Depthwise-separable: stem channels (5x5, stride 2), then (channels, stride) of each block.
SEPARABLE = {
    "mobile": (32, ((96, 2), (128, 1), (192, 2), (256, 1), (256, 1))),
    "near-100k": (24, ((48, 1), (64, 2), (96, 1), (96, 1), (96, 1))),
    "small-1": (6, ((12, 1), (16, 2), (24, 1))),
    "small-2": (8, ((16, 1), (24, 2), (24, 1))),
    "small-3": (8, ((16, 1), (32, 2), (40, 1))),
}
LARGE = ("cnn", "resnet8", "mobile")
SMALL = ("small-1", "small-2", "small-3")
NAMES = (*LARGE, "near-100k", *SMALL)
EPOCHS = 4


def cnn(normalization: type) -> Any:
    """Two convolutions and a dense layer that holds nearly all weights: 110,000."""
    import keras
    from keras import layers

    x = inputs = keras.Input((28, 28, 1), name="image")
    for channels in (16, 32):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(normalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(64, activation="relu")(layers.Flatten()(x))
    outputs = layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs)


def resnet8(normalization: type) -> Any:
    """ResNet-8 with the widths of MLPerf Tiny (16, 32, 64), its first layer with stride 2."""
    import keras
    from keras import layers

    def convolved(x: Any, channels: int, kernel: int, stride: int) -> Any:
        x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False)(x)
        return normalization(momentum=0.9)(x)

    x = inputs = keras.Input((28, 28, 1), name="image")
    x = layers.ReLU()(convolved(x, 16, 3, 2))
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        y = layers.ReLU()(convolved(x, channels, 3, stride))
        y = convolved(y, channels, 3, 1)
        if stride > 1:
            x = convolved(x, channels, 1, stride)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(10, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs)


def trained(folder: Path, names: tuple[str, ...], progress: Callable[[str], None]) -> None:
    """Train those of `names` that are not in `folder` yet, about 10 minutes for all."""
    missing = [name for name in names if not (folder / f"{name}.keras").exists()]
    if not missing:
        return
    import train

    folder.mkdir(parents=True, exist_ok=True)
    x, y = data.load(data.DEBIAN, "train")
    for name in missing:
        progress(f"training {name}")
        stem, blocks = SEPARABLE.get(name, (0, ()))
        net = train.Net(stem=stem, blocks=blocks, epochs=EPOCHS, shift=0)
        build = {"cnn": cnn, "resnet8": resnet8}.get(name)
        model = train.train(net, name, x[data.TRAINING], y[data.TRAINING], build)
        model.save(folder / f"{name}.keras")
