"""Width search in the manner of AutoSlim (Yu and Huang, arXiv:1903.11728, 2019).

First the source learns to be any narrower net as well: each step takes the whole net, the narrowest
and two at random (the sandwich rule); the whole net learns from the labels, the others its outputs
(in-place distillation). Then the channels that cost least are dropped until the share of
multiply-accumulates is reached, and what is left is cut out and trained further.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train.cut import cut
from tinydeploy.pipeline.train.epochs import run_epochs
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.libraries import adam, save, variables_of
from tinydeploy.pipeline.train.losses import gives_probabilities, task_loss
from tinydeploy.pipeline.train.masked import Masked, Widths, masked, ranked
from tinydeploy.pipeline.train.narrow import judge, least, narrow, require_reachable, slice_of
from tinydeploy.pipeline.train.recalibrate import Recalibration
from tinydeploy.pipeline.train.tune import cosine, fit

_RANDOM_WIDTHS = 2
_STATISTICS = 1024
"""Samples from which statistics of batch normalization are found."""


def run(job: Job) -> Path:
    """Half of the epochs make the net slimmable, the others train what is left of it.

    Raises UnsupportedModelError for a net of which the share `macs` cannot be reached.
    """
    training = job.training
    if training.epochs < 2 or training.macs >= 1:
        raise UnsupportedModelError(
            f"slim cannot work with epochs = {training.epochs}, macs = {training.macs}",
            hint="it trains twice, epochs = 2 or more, and leaves a share of the "
            "multiply-accumulates below 1, macs = 0.5",
        )
    first, last = stages(training.epochs)
    learned, held_out = job.held_out()
    net = masked(job.model)
    require_reachable(net, training.macs)
    net = ranked(net, task_loss(net.model, job.task), learned.x, learned.targets)
    make_slimmable(learned, net, first)
    recalibrate = Recalibration(net.model, learned.x[:_STATISTICS])
    widths = narrow(job, net, recalibrate, judge(net, held_out))
    job.model.set_weights(net.model.get_weights())
    small = cut(job.model, net.keep(widths))
    Recalibration(small, learned.x[:_STATISTICS])()
    fine_tune(job, small, "fine-tune", last)
    path: Path = save(small, job.folder / "trained.keras")
    return path


def stages(epochs: int) -> tuple[int, int]:
    """Epochs of the slimmable net, and of what is left of it."""
    return epochs // 2, epochs - epochs // 2


def make_slimmable(job: Job, net: Masked, epochs: int) -> list[float]:
    """Train a net so that it is of use at all widths; the mean loss of the whole net each epoch."""
    import tensorflow as tf

    sizes, share = net.sizes(), job.training.macs
    loss_of, soft_loss = task_loss(net.model, job.task), _soft_loss(net.model, job.task)
    optimizer = adam(net.model, cosine(job, net.model, epochs))
    weights = net.model.trainable_variables

    @tf.function(reduce_retracing=True)
    def sandwich(x: Any, y: Any, masks: Any) -> Any:
        net.stays.assign(masks[0])
        with tf.GradientTape() as tape:
            outputs = net.model(x, training=True)
            loss = loss_of(y, outputs)
        sums = tape.gradient(loss, weights)
        taught = tf.stop_gradient(outputs)
        for i in range(1, 2 + _RANDOM_WIDTHS):
            net.stays.assign(masks[i])
            with tf.GradientTape() as tape:
                soft = soft_loss(taught, net.model(x, training=True))
            sums = [
                s if g is None else s + g
                for s, g in zip(sums, tape.gradient(soft, weights), strict=True)
            ]
        optimizer.apply_gradients(zip(sums, weights, strict=True))
        return loss

    def step(x: Any, y: Any) -> Any:
        rng = np.random.default_rng([job.training.seed, int(optimizer.iterations.numpy())])
        narrowest = {n: least(s, share) for n, s in sizes.items()}
        random = [_some_widths(rng, sizes, narrowest) for _ in range(_RANDOM_WIDTHS)]
        masks = np.stack([net.mask(w) for w in (sizes, narrowest, *random)])
        return sandwich(tf.constant(x), tf.constant(y), tf.constant(masks))

    return run_epochs(job, "slimmable", variables_of(net.model, optimizer), step, epochs)


def _some_widths(rng: np.random.Generator, sizes: Widths, narrowest: Widths) -> dict[str, int]:
    return {
        name: int(rng.choice(np.arange(narrowest[name], size + 1, slice_of(size))))
        for name, size in sizes.items()
    }


def _soft_loss(model: Any, task: str) -> Callable[[Any, Any], Any]:
    """The mean loss of outputs against those of the whole net: cross-entropy, or squared error."""
    import tensorflow as tf

    if task != "classify":
        return lambda taught, outputs: tf.reduce_mean(tf.square(outputs - taught))
    probabilities, binary = gives_probabilities(model), model.outputs[0].shape[-1] == 1

    def entropy(taught: Any, outputs: Any) -> Any:
        if binary:
            p, q = (v if probabilities else tf.sigmoid(v) for v in (taught, outputs))
            p, q = (tf.concat([1 - v, v], -1) for v in (p, q))
        else:
            p, q = (v if probabilities else tf.nn.softmax(v) for v in (taught, outputs))
        logarithms = tf.math.log(tf.clip_by_value(q, 1e-7, 1.0))
        return -tf.reduce_mean(tf.reduce_sum(p * logarithms, -1))

    return entropy


def fine_tune(job: Job, model: Any, stage: str, epochs: int) -> list[float]:
    """Train a net on the job's samples, with a rate that falls to nothing; each epoch's loss."""
    return fit(job, model, stage, epochs, learning_rate=cosine(job, model, epochs))
