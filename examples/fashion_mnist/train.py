"""Train the example: a family of three depthwise-separable CNNs on Fashion-MNIST.

    python examples/fashion_mnist/train.py            # all three, about 15 minutes on two cores

Writes small.keras, medium.keras and large.keras, and prints parameters, multiply-accumulates and
accuracy. Seeded: another run, another machine or another number of threads reproduces the
accuracies to half a point. Only the 54,000 images of the training split are learned from, and
nothing is decided on the others: the last epoch's weights are the result.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import data
import keras
import numpy as np
import tensorflow as tf

CLASSES = len(data.NAMES)
SEED = 7
BATCH = 128
STEM_KERNEL = 5
PEAK_LEARNING_RATE = 1e-2
WARMUP_STEPS = 200
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True)
class Net:
    """A stem convolution (5x5, stride 2), then depthwise-separable blocks (channels, stride).

    Training images are shifted by up to `shift` pixels: a small net has no capacity for more.
    """

    stem: int
    blocks: tuple[tuple[int, int], ...]
    epochs: int
    shift: int


NETS = {
    "small": Net(stem=8, blocks=((20, 1), (32, 2), (48, 1)), epochs=20, shift=0),
    "medium": Net(stem=12, blocks=((32, 1), (48, 2), (64, 1)), epochs=16, shift=1),
    "large": Net(
        stem=24, blocks=((48, 1), (64, 2), (96, 1), (96, 1), (128, 1)), epochs=16, shift=1
    ),
}


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization whose training step is TensorFlow's fused kernel.

    Keras computes the moments with separate ops, which takes two thirds of a training step on a
    CPU. The weights are the same, so that they can be moved to a net of standard layers.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if not training:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        keep = self.momentum
        self.moving_mean.assign(self.moving_mean * keep + mean * (1 - keep))
        self.moving_variance.assign(self.moving_variance * keep + variance * (1 - keep))
        return outputs


def build(
    net: Net, name: str, normalization: type = keras.layers.BatchNormalization
) -> keras.Model:
    """The untrained net: (28, 28, 1) float32 in 0..1 to ten class probabilities.

    Batch normalization and ReLU follow every convolution.
    """

    def activated(x: Any, convolution: Any) -> Any:
        name = convolution.name
        x = normalization(momentum=0.9, name=f"{name}_normalization")(convolution(x))
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    options = {"padding": "same", "use_bias": False}
    x = inputs = keras.Input((28, 28, 1), name="image")
    x = activated(x, keras.layers.Conv2D(net.stem, STEM_KERNEL, 2, name="stem", **options))
    for i, (channels, stride) in enumerate(net.blocks, 1):
        x = activated(x, keras.layers.DepthwiseConv2D(3, stride, name=f"depthwise{i}", **options))
        x = activated(x, keras.layers.Conv2D(channels, 1, name=f"pointwise{i}", **options))
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", name="probabilities")(x)
    return keras.Model(inputs, outputs, name=name)


def macs(net: Net) -> int:
    """Multiply-accumulates of one inference (convolutions and the dense layer)."""
    side, channels = 14, net.stem
    total = side * side * STEM_KERNEL**2 * channels
    for out, stride in net.blocks:
        side //= stride
        total += side * side * channels * (9 + out)
        channels = out
    return total + channels * CLASSES


class Augmented(keras.utils.PyDataset):
    """Shuffled batches of images shifted and mirrored at random."""

    def __init__(self, x: np.ndarray, y: np.ndarray, shift: int, seed: int) -> None:
        super().__init__()
        self.shift = shift
        self.x, self.y, self.rng = x, y, np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self.x) // BATCH

    def on_epoch_end(self) -> None:
        self.order = self.rng.permutation(len(self.x))

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[index * BATCH : (index + 1) * BATCH]
        border = (self.shift, self.shift)
        padded = np.pad(self.x[rows], ((0, 0), border, border, (0, 0)))
        batch = np.empty((BATCH, 28, 28, 1), np.float32)
        shifts = self.rng.integers(0, 2 * self.shift + 1, (BATCH, 2))
        moves = zip(shifts, self.rng.random(BATCH) < 0.5, strict=True)
        for i, ((top, left), mirrored) in enumerate(moves):
            image = padded[i, top : top + 28, left : left + 28]
            batch[i] = image[:, ::-1] if mirrored else image
        return batch / np.float32(255), self.y[rows]


def train(
    net: Net,
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    other: Callable[[type], keras.Model] | None = None,
) -> keras.Model:
    """Train `net` on images (N, 28, 28, 1) uint8; the result carries no optimizer state.

    `other` builds another net from the class of its normalizations.
    """

    def built(normalization: type) -> keras.Model:
        return other(normalization) if other else build(net, name, normalization)

    keras.utils.set_random_seed(SEED)
    model = built(FusedBatchNormalization)
    batches = Augmented(x, y, net.shift, SEED)
    steps = net.epochs * len(batches)
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4, steps - WARMUP_STEPS, warmup_target=PEAK_LEARNING_RATE, warmup_steps=WARMUP_STEPS
    )
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,  # XLA is eight times slower on these nets on a CPU
    )
    model.fit(batches, epochs=net.epochs, verbose=2)
    clean = built(keras.layers.BatchNormalization)
    clean.set_weights(model.get_weights())
    return clean


def accuracy(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Share of images whose most probable class is the label."""
    probabilities = model.predict(x / np.float32(255), batch_size=500, verbose=0)
    return float(np.mean(np.argmax(probabilities, axis=1) == y))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="*", default=list(NETS), help=f"of {', '.join(NETS)}")
    parser.add_argument("--data", type=Path, default=data.DEBIAN, help="folder of the idx files")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if unknown := set(args.nets) - set(NETS):
        parser.error(f"no net is called {', '.join(sorted(unknown))}")
    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    x, y = data.load(args.data, "train")
    test = data.load(args.data, "t10k")
    validation = x[data.VALIDATION], y[data.VALIDATION]
    print("net     parameters       MACs  validation    test  seconds", flush=True)
    for name in args.nets:
        start = time.monotonic()
        model = train(NETS[name], name, x[data.TRAINING], y[data.TRAINING])
        model.save(args.out / f"{name}.keras")
        print(
            f"{name:7} {model.count_params():10,} {macs(NETS[name]):10,}"
            f"  {accuracy(model, *validation):10.4f}  {accuracy(model, *test):.4f}"
            f"  {time.monotonic() - start:7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
