"""Knowledge distillation: a smaller student learns the source's outputs and the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.train.cut import cut, finalize
from tinydeploy.pipeline.train.importance import importance
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.layout import layout
from tinydeploy.pipeline.train.libraries import keras_of, save
from tinydeploy.pipeline.train.logits import take_weights, without_softmax
from tinydeploy.pipeline.train.losses import mean_loss
from tinydeploy.pipeline.train.removal import narrowed, narrowest, require_removable
from tinydeploy.pipeline.train.tune import cosine, fit
from tinydeploy.pipeline.train.work import macs
from tinydeploy.types import Task

TRIAL = 5
"""A fifth of the epochs decides what weights the student begins with."""

_ROWS = 256

Loss = Callable[[Any, Any], Any]


def run(job: Job) -> Path:
    """Train a student on ``(1 - a) CE + a T^2 KL(teacher || student)``, both softened by T.

    `a` is `teacher_weight`, T `temperature` (Hinton, Vinyals and Dean, "Distilling the Knowledge in
    a Neural Network", 2015; T^2 keeps the gradients of both parts alike). For `regress` and
    `anomaly` both parts are squared errors. The student is the recipe's, else the source narrowed
    uniformly to `macs`, begun with the source's weights or fresh ones: whichever has the lower loss
    on a tenth held out after a fifth of the epochs.
    """
    students = _students(job)
    taught = _taught(job)
    loss_of = distillation_loss(job)
    epochs = job.training.epochs
    bare = {
        name: without_softmax(model) if job.task == "classify" else model
        for name, model in students.items()
    }
    chosen = next(iter(bare))
    if len(bare) > 1:
        first, last = taught.held_out()
        trial = max(1, epochs // TRIAL)
        found = {}
        for name, model in bare.items():
            start = model.get_weights()
            fit(
                first, model, f"try {name} weights", trial,
                loss_of=loss_of, learning_rate=cosine(first, model, trial),
            )  # fmt: skip
            found[name] = mean_loss(model, loss_of, last.x, last.targets)
            model.set_weights(start)
        chosen = min(found, key=lambda name: found[name])
        said = ", ".join(f"{name} {loss:.4f}" for name, loss in found.items())
        job.report(f"student begins with {chosen} weights", 1, 1, f"loss {said}")
    model = bare[chosen]
    fit(
        taught, model, "distill", epochs,
        loss_of=loss_of, learning_rate=cosine(taught, model, epochs),
    )  # fmt: skip
    student = students[chosen]
    if student is not model:
        take_weights(student, model)
    path: Path = save(student, job.folder / "trained.keras")
    return path


def distillation_loss(job: Job) -> Loss:
    """The mean loss of a batch: of targets (N, own targets and the teacher's outputs), outputs."""
    import tensorflow as tf

    a, t = job.training.teacher_weight, job.training.temperature

    def squared(y: Any, outputs: Any) -> Any:
        outputs = tf.reshape(outputs, (tf.shape(outputs)[0], -1))
        own, teachers = tf.split(y, 2, axis=1)
        return (1 - a) * tf.reduce_mean(tf.square(outputs - own)) + a * tf.reduce_mean(
            tf.square(outputs - teachers)
        )

    def entropy(y: Any, outputs: Any) -> Any:
        z, teachers = tf.reshape(outputs, (tf.shape(outputs)[0], -1)), y[:, 1:]
        if teachers.shape[1] == 1:  # a sigmoid is a softmax over (0, z)
            z, teachers = (tf.pad(v, [[0, 0], [1, 0]]) for v in (z, teachers))
        labels = tf.cast(y[:, 0], tf.int32)
        own = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, z)
        softened = tf.nn.log_softmax(teachers / t)
        apart = softened - tf.nn.log_softmax(z / t)
        divergence = tf.reduce_sum(tf.exp(softened) * apart, axis=1)
        return tf.reduce_mean((1 - a) * own + a * t**2 * divergence)

    return entropy if job.task == "classify" else squared


def _taught(job: Job) -> Job:
    """The job with the teacher's outputs beside each sample's own target."""
    teacher = without_softmax(job.model) if job.task == "classify" else job.model
    said = np.concatenate(
        [np.asarray(teacher(job.x[i : i + _ROWS])) for i in range(0, len(job.x), _ROWS)]
    ).reshape(len(job.x), -1)
    own = np.asarray(job.targets, np.float32).reshape(len(job.x), -1)
    # Not "anomaly", whose targets are its inputs.
    task: Task = "classify" if job.task == "classify" else "regress"
    return dataclasses.replace(job, task=task, y=np.concatenate([own, said], axis=1))


def _students(job: Job) -> dict[str, Any]:
    """The nets to choose from, by what they begin with."""
    if job.training.student:
        path = Path(job.training.student)
        student = load_model(path)
        _require_alike(job.model, student, path.name)
        return {"own": student}
    found, whole = layout(job.model), macs(job.model)
    share = job.training.macs
    require_removable(found, share, narrowest(found), whole)
    keep = narrowed(found, importance(job, job.model, found), share * whole)
    narrow = cut(job.model, keep)
    job.report("narrow", 1, 1, f"{macs(narrow) / whole:.2f} of the MACs left")
    return {"source": narrow, "fresh": fresh(narrow)}


def fresh(model: Any) -> Any:
    """The same net as it is before any training; what is adapted to data stays."""
    made = keras_of(model).models.clone_model(model)
    for old, new in zip(model.layers, made.layers, strict=True):
        if hasattr(old, "finalize_state"):
            new.set_weights(old.get_weights())
    finalize(made)
    return made


def _require_alike(teacher: Any, student: Any, name: str) -> None:
    for what in ("inputs", "outputs"):
        theirs, ours = ([tuple(t.shape)[1:] for t in getattr(m, what)] for m in (teacher, student))
        if theirs != ours:
            raise UnsupportedModelError(
                f"the {what} of the student {name} have the shapes {ours}, the source's {theirs}",
                hint="a student takes and gives what the source does",
            )
