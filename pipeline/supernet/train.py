"""Train a supernet so that each of its nets is as good as one that was trained alone.

Every step trains the largest net on the labels, and the smallest and some others on the labels and
on what the largest says: the sandwich rule and in-place distillation of US-Nets (Yu and Huang,
2019), as BigNAS (Yu et al., 2020) uses them for once-for-all nets. All nets share their weights;
only what batch normalization subtracts and divides by is each net's own, and is computed on the
training samples in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinydeploy.pipeline.supernet.net import (
    BatchStatistics,
    build,
    named_weights,
    parts_for,
)
from tinydeploy.pipeline.supernet.space import Choice, Space
from tinydeploy.pipeline.train.epochs import run_epochs
from tinydeploy.pipeline.train.job import Job

RANDOM_NETS = 2
"""Nets of a step besides the largest and the smallest."""
TEACHER_WEIGHT = 0.5
"""How much of what smaller nets learn is what the largest says; the rest are the labels."""
WARM_UP = 0.05
"""Share of the steps in which the learning rate rises."""
STATISTICS_SAMPLES = 4096
_STATISTICS_BATCH = 512

Weights = dict[str, np.ndarray]


def _shared(space: Space, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """The variables that nets are made of, as large as the largest net's, by name."""
    largest = named_weights(build(space, space.largest, shape, classes, BatchStatistics))
    return {name: w for name, w in largest.items() if w.trainable}


def train(job: Job, space: Space, classes: int) -> tuple[Weights, dict[Choice, Weights]]:
    """The weights that nets share, and the statistics of each net of the family.

    `job.model` is not used. Can be interrupted, as `run_epochs` can.
    """
    shared = _shared(space, job.x.shape[1:], classes)
    optimizer = keras.optimizers.Adam(_rate(job))
    optimizer.build(list(shared.values()))
    step = _Step(job, space, classes, shared, optimizer)
    variables = [*shared.values(), *optimizer.variables]
    run_epochs(job, "supernet", variables, step, job.training.epochs)
    own = _statistics(job, space, classes, shared)
    return {name: w.numpy() for name, w in shared.items()}, own


def _rate(job: Job) -> Any:
    """A warm-up from a tenth of the learning rate, then half a cosine down to a tenth."""
    training = job.training
    steps = training.epochs * max(1, len(job.x) // training.batch)
    warm = max(1, int(WARM_UP * steps))
    return keras.optimizers.schedules.CosineDecay(
        training.learning_rate / 10,
        max(1, steps - warm),
        alpha=0.1,
        warmup_target=training.learning_rate,
        warmup_steps=warm,
    )


class _Step:
    """One step of training; which nets it takes follows from the seed and its number."""

    def __init__(
        self, job: Job, space: Space, classes: int, shared: dict[str, Any], optimizer: Any
    ) -> None:
        self.job, self.space, self.classes = job, space, classes
        self.shared, self.optimizer = shared, optimizer
        self.gradients: dict[Choice, Callable[..., Any]] = {}

    def __call__(self, x: np.ndarray, y: np.ndarray) -> Any:
        """Train on a batch; the loss of the largest net."""
        x, labels = tf.constant(x), tf.one_hot(tf.constant(y.astype(np.int32)), self.classes)
        loss, told, total = self._gradients(self.space.largest)(x, labels)
        target = TEACHER_WEIGHT * told + (1 - TEACHER_WEIGHT) * labels
        for choice in self._others():
            _, _, found = self._gradients(choice)(x, target)
            total = [a + b for a, b in zip(total, found, strict=True)]
        self._apply(total)
        return loss

    def _others(self) -> list[Choice]:
        number = int(self.optimizer.iterations.numpy())
        rng = np.random.default_rng([self.job.training.seed, 1, number])
        ends = (self.space.largest, self.space.smallest)
        left = [c for c in self.space.choices() if c not in ends]
        drawn = rng.permutation(len(left))[:RANDOM_NETS]
        smallest = [self.space.smallest] if self.space.smallest != self.space.largest else []
        return [*smallest, *(left[i] for i in drawn)]

    def _gradients(self, choice: Choice) -> Callable[..., Any]:
        """``(x, target probabilities) -> loss, probabilities, gradients`` of one net."""
        if choice not in self.gradients:
            self.gradients[choice] = self._traced(choice)
        return self.gradients[choice]

    def _traced(self, choice: Choice) -> Callable[..., Any]:
        net = build(self.space, choice, self.job.x.shape[1:], self.classes, BatchStatistics)
        shared = list(self.shared.values())

        @tf.function
        def gradients(x: Any, target: Any) -> Any:
            with tf.GradientTape() as tape:
                parts = parts_for(net, {n: w.value for n, w in self.shared.items()})
                statistics = [tf.zeros(w.shape) for w in net.non_trainable_variables]
                found, _ = net.stateless_call(parts, statistics, x, training=True)
                loss = -tf.reduce_mean(tf.reduce_sum(target * _log(found), axis=-1))
            values = [w.value for w in shared]
            zero = tf.UnconnectedGradients.ZERO
            return loss, found, tape.gradient(loss, values, unconnected_gradients=zero)

        return gradients  # type: ignore[no-any-return]

    @tf.function
    def _apply(self, gradients: Any) -> None:
        self.optimizer.apply_gradients(zip(gradients, self.shared.values(), strict=True))


def _log(probabilities: Any) -> Any:
    return tf.math.log(tf.clip_by_value(probabilities, 1e-7, 1.0))


def _statistics(
    job: Job, space: Space, classes: int, shared: dict[str, Any]
) -> dict[Choice, Weights]:
    """Mean and variance of what each net normalizes, over training samples."""
    x = job.x[:STATISTICS_SAMPLES]
    size = min(_STATISTICS_BATCH, len(x))
    batches = [x[i : i + size] for i in range(0, len(x) - size + 1, size)]
    weights = {name: w.value for name, w in shared.items()}
    found = {}
    for number, choice in enumerate(space.choices(), 1):
        net = build(space, choice, x.shape[1:], classes, BatchStatistics)
        parts = parts_for(net, weights)
        names = {id(w): name for name, w in named_weights(net).items()}
        start = [np.zeros(w.shape, np.float32) for w in net.non_trainable_variables]
        sums = [np.zeros(w.shape) for w in net.non_trainable_variables]
        for batch in batches:
            _, values = net.stateless_call(parts, start, batch, training=True)
            sums = [a + np.asarray(b, np.float64) for a, b in zip(sums, values, strict=True)]
        found[choice] = {
            names[id(w)]: (total / len(batches)).astype(np.float32)
            for w, total in zip(net.non_trainable_variables, sums, strict=True)
        }
        job.report("statistics", number, len(space.choices()), choice.name)
    return found
