"""Train the source further, as it is: the simplest trainer, and the pattern for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinydeploy.pipeline.train.epochs import run_epochs
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.libraries import adam, keras_of, save, variables_of
from tinydeploy.pipeline.train.losses import task_loss


def run(job: Job) -> Path:
    """`epochs` more epochs with Adam, its rate falling to 0; the last weights are the result."""
    epochs = job.training.epochs
    fit(job, job.model, "tune", epochs, learning_rate=cosine(job, job.model, epochs))
    path: Path = save(job.model, job.folder / "trained.keras")
    return path


def fit(
    job: Job,
    model: Any,
    stage: str,
    epochs: int,
    *,
    loss_of: Callable[[Any, Any], Any] | None = None,
    learning_rate: Any = None,
) -> list[float]:
    """Train `model` for the job's task on the job's samples; the mean loss of each epoch.

    `loss_of` (targets, outputs) and `learning_rate`, a number or a schedule, are the task's and the
    recipe's if they are not given.
    """
    optimizer = adam(model, learning_rate or job.training.learning_rate)
    step = step_of(model, optimizer, loss_of or task_loss(model, job.task))
    return run_epochs(job, stage, variables_of(model, optimizer), step, epochs)


def step_of(
    model: Any, optimizer: Any, loss_of: Callable[[Any, Any], Any]
) -> Callable[[Any, Any], Any]:
    """``step(x_batch, y_batch) -> loss``: one step of training."""
    import tensorflow as tf

    weights = model.trainable_variables

    @tf.function(reduce_retracing=True)
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = loss_of(y, model(x, training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return step


def cosine(job: Job, model: Any, epochs: int) -> Any:
    """The recipe's learning rate, falling to 0 along half a cosine (Loshchilov, Hutter; 2017)."""
    schedules = keras_of(model).optimizers.schedules
    return schedules.CosineDecay(job.training.learning_rate, steps_of(job, epochs))


def steps_of(job: Job, epochs: int) -> int:
    """Steps of so many epochs on the job's samples, a batch each."""
    return epochs * max(1, len(job.x) // min(job.training.batch, len(job.x)))
