"""What a model of each task is trained for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.types import Task

_LEAST = 1e-7
"""Probabilities are clipped to it before their logarithm."""
_ROWS = 256


def gives_probabilities(model: Any) -> bool:
    """Whether a classifier ends in a softmax (or sigmoid); it gives logits otherwise.

    A model whose last layer is a model ends as that one does.
    """
    last = model.layers[-1]
    while hasattr(last, "layers"):
        last = last.layers[-1]
    name = type(last).__name__
    activation = getattr(getattr(last, "activation", None), "__name__", "")
    return name == "Softmax" or activation in ("softmax", "sigmoid")


def require_labels(model: Any, y: np.ndarray, samples: int) -> None:
    """Raises UsageError unless `y` holds a class of the model's for each sample, counted from 0."""
    classes = max(2, math.prod(model.outputs[0].shape[1:]))
    hint = f"an integer from 0 to {classes - 1} for each sample"
    if y.size != samples:
        raise UsageError(
            f"training labels have the shape {y.shape} for {samples} samples",
            hint=f"{hint}; of one-hot labels: y.argmax(axis=1)",
        )
    if not np.array_equal(y, np.round(y)) or y.min() < 0 or y.max() >= classes:
        raise UsageError(
            f"training labels go from {y.min():g} to {y.max():g}; the model has {classes} classes",
            hint=hint,
        )


def require_targets(model: Any, targets: np.ndarray) -> None:
    """Raises UsageError unless each target (N, ...) has as many numbers as an output."""
    each, output = math.prod(targets.shape[1:]), math.prod(model.outputs[0].shape[1:])
    if each != output:
        raise UsageError(
            f"training targets have {each} numbers a sample, the model's output has {output}",
            hint="y holds what the model shall give, for the task anomaly x itself is that",
        )


def task_loss(model: Any, task: Task) -> Callable[[Any, Any], Any]:
    """The mean loss of a batch, as a function of targets and the model's outputs.

    `classify`: cross-entropy of labels (N,), of two classes if there is one output; `regress`:
    squared error; `anomaly`: squared error of the outputs against the inputs, their targets.
    """
    import tensorflow as tf

    if task != "classify":

        def squared(y: Any, outputs: Any) -> Any:
            return tf.reduce_mean(
                tf.square(outputs - tf.reshape(tf.cast(y, tf.float32), tf.shape(outputs)))
            )

        return squared
    probabilities = gives_probabilities(model)
    binary = model.outputs[0].shape[-1] == 1

    def entropy(y: Any, outputs: Any) -> Any:
        if binary:
            y = tf.reshape(tf.cast(y, tf.float32), tf.shape(outputs))
            if probabilities:
                p = tf.clip_by_value(outputs, _LEAST, 1 - _LEAST)
                return -tf.reduce_mean(y * tf.math.log(p) + (1 - y) * tf.math.log(1 - p))
            return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, outputs))
        outputs = tf.reshape(outputs, (tf.shape(outputs)[0], -1))
        logits = tf.math.log(tf.clip_by_value(outputs, _LEAST, 1.0)) if probabilities else outputs
        y = tf.cast(tf.reshape(y, [-1]), tf.int32)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))

    return entropy


def mean_loss(
    model: Any, loss_of: Callable[[Any, Any], Any], x: np.ndarray, targets: np.ndarray
) -> float:
    """The loss over samples, each counted once."""
    total = 0.0
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        outputs = model(x[rows], training=False)
        total += float(loss_of(targets[rows], outputs)) * len(outputs)
    return total / len(x)
