"""Quantization-aware training: the weights learn to live with int8 rounding.

The net is trained further from its trained weights with fake quantization in it
(tensorflow-model-optimization, on tf_keras), and converted here, with the ranges that it has then.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.convert.tf_function import convert_with_ranges, frozen
from tinydeploy.pipeline.train.fake_quantization import FakeQuantized
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.libraries import keras_of, set_seed
from tinydeploy.pipeline.train.losses import mean_loss, task_loss
from tinydeploy.pipeline.train.to_tf_keras import to_tf_keras
from tinydeploy.pipeline.train.tune import cosine, fit
from tinydeploy.store import write_atomic

_CALIBRATION = 300
_BATCH = 100
_COMPARED = 8
"""Samples that a translated model is compared on."""


def run(job: Job) -> Path:
    """`epochs` epochs with Adam, the learning rate falling along a cosine; a `.tflite` in int8.

    Ranges of activations begin at what 300 samples show. What comes out is what was trained or, if
    that has no smaller loss on the tenth held out, what was quantized and not trained.
    """
    import tf_keras

    learned, judged = job.held_out()
    source = job.model
    if keras_of(source) is not tf_keras:
        source = to_tf_keras(source, job.x[:_COMPARED])
    set_seed(job.training.seed)  # whatever the translation drew
    quantized = FakeQuantized(source)
    quantized.calibrate(_spread(learned.x, _CALIBRATION), _BATCH)
    model = quantized.model
    loss_of = task_loss(source, job.task)

    def loss() -> float:
        return mean_loss(model, loss_of, judged.x, judged.targets)

    before = loss()
    untrained = [v.numpy() for v in model.variables]
    epochs = job.training.epochs
    rate = cosine(learned, model, epochs)
    fit(learned, model, "qat", epochs, loss_of=loss_of, learning_rate=rate)
    after = loss()
    found = f"loss {before:.4f} -> {after:.4f} on the tenth held out"
    if not after < before:
        found += ": not better, so the weights stay as they were"
        for variable, value in zip(model.variables, untrained, strict=True):
            variable.assign(value)
    job.report("judged", 1, 1, found)
    quantized.for_conversion()
    path = job.folder / "trained.tflite"
    write_atomic(path, _tflite(model, job.name))
    return path


def _spread(x: np.ndarray, samples: int) -> np.ndarray:
    """At most so many samples, evenly spaced."""
    samples = min(samples, len(x))
    return x[np.arange(samples) * len(x) // samples]


def _tflite(model: Any, name: str) -> bytes:
    """The model in int8, inputs and outputs included, with a batch of one."""
    import tensorflow as tf

    (tensor,) = model.inputs
    shape = (1, *tuple(tensor.shape)[1:])

    def infer(x: Any) -> Any:
        return model(x, training=False)

    spec = tf.TensorSpec(shape, tf.float32, name="input")
    return convert_with_ranges(frozen(infer, [spec], name), name)
