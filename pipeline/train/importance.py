"""How much the loss depends on each channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinydeploy.pipeline.train.cut import axes_of, plain_name
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.layout import PRODUCERS, Layout
from tinydeploy.pipeline.train.losses import task_loss

SAMPLES = 2048
"""Of the training set, evenly spaced; more hardly change the order of the channels."""


def importance(job: Job, model: Any, found: Layout) -> np.ndarray:
    """The first-order Taylor importance of every class of channels of `found`, at least 0.

    Removing a channel is to set the weights that read it to zero. To first order that changes the
    loss by the sum of gradient x weight over these weights, which is the gradient with respect to a
    gate on the channel; its square, averaged over batches, is the importance (Molchanov, Mallya,
    Tyree, Frosio and Kautz, "Importance Estimation for Neural Network Pruning", CVPR 2019,
    equations 8 and 9). It needs no batch normalization, and sums over all readers of a channel that
    an Add or a Concatenate hands on.
    """
    import tensorflow as tf

    readers = [
        (weight, axis % len(weight.shape), getattr(part, role))
        for part in found.parts.values()
        if part.kind in PRODUCERS
        for weight in part.layer.weights
        for axis, role in axes_of(part.kind, plain_name(weight.name))
        if role == "ins"
    ]
    weights = [_variable(weight) for weight, _, _ in readers]
    loss_of = task_loss(model, job.task)

    @tf.function(reduce_retracing=True)
    def changes(x: Any, y: Any) -> list[Any]:
        """For each reader the sum of gradient x weight along the axis of its inputs."""
        with tf.GradientTape() as tape:
            tape.watch(weights)  # those of frozen layers as well
            loss = loss_of(y, model(x, training=False))
        gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        return [
            tf.reduce_sum(g * w, [a for a in range(len(w.shape)) if a != axis])
            for g, w, (_, axis, _) in zip(gradients, weights, readers, strict=True)
        ]

    rows = np.unique(np.linspace(0, len(job.x) - 1, min(SAMPLES, len(job.x))).astype(int))
    batch = min(job.training.batch, len(rows))
    size = 1 + max((int(p.outs.max(initial=0)) for p in found.parts.values()), default=0)
    total = np.zeros(size)
    for start in range(0, len(rows) - batch + 1, batch):
        chosen = rows[start : start + batch]
        x = job.x[chosen]
        y = job.targets[chosen]
        change = np.zeros(size)
        for (_, _, classes), values in zip(readers, changes(x, y), strict=True):
            np.add.at(change, classes, np.asarray(values, np.float64))
        total += change**2
    return total / max(1, len(rows) // batch)


def _variable(weight: Any) -> Any:
    """TensorFlow's variable behind one of Keras 3, or of tf_keras."""
    return weight if callable(weight.value) else weight.value
