"""Small nets and command lines for the tests of recipes that train."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

CLASSES = 3


def images(count: int, seed: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """(N, 8, 8, 1) float32 and labels: a bright row, column or square in noise."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, count)
    x = rng.normal(0, 0.3, (count, 8, 8, 1)).astype(np.float32)
    for image, label in zip(x, y, strict=True):
        at = int(rng.integers(1, 6))
        if label == 0:
            image[at] += 1
        elif label == 1:
            image[:, at] += 1
        else:
            image[at : at + 3, 2:5] += 1
    return x, y


def residual_net(library: Any) -> Any:
    """A small residual net with batch normalization and dropout, trained for a moment."""
    layers = library.layers
    library.utils.set_random_seed(11)
    inputs = library.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="stem")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.Conv2D(8, 1, name="pointwise")(y)
    x = layers.MaxPooling2D()(layers.ReLU()(layers.Add()([x, y])))
    x = layers.Conv2D(16, 3, activation="relu", name="wide")(x)
    x = layers.Dropout(0.1)(layers.Flatten()(x))
    model = library.Model(inputs, layers.Dense(CLASSES, activation="softmax")(x))
    model.compile(library.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(*images(400), batch_size=32, epochs=3, verbose=0)
    return model


def command(model: Path, recipe: Path, data: Path, out: Path) -> list[str]:
    """`tinydeploy convert` of a recipe that trains."""
    return [
        str(Path(sys.executable).with_name("tinydeploy")), "convert", str(model), "--recipe",
        str(recipe), "--training", str(data), "--calibration", str(data), "--out", str(out),
    ]  # fmt: skip


def run(arguments: list[str], cache: Path, kill_at: str = "") -> tuple[int, str]:
    """Exit code and standard error; killed for good once a line holds `kill_at`."""
    process = subprocess.Popen(
        arguments,
        env={**os.environ, "TINYDEPLOY_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if kill_at and kill_at in line:
            os.killpg(process.pid, signal.SIGKILL)
            break
    process.stderr.close()
    return process.wait(), "".join(lines)
