"""Statistics of batch normalization that fit a net whose channels have changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinydeploy.pipeline.train.calls import kind_of

_NOISE = {
    "Dropout": "rate",
    "SpatialDropout1D": "rate",
    "SpatialDropout2D": "rate",
    "GaussianDropout": "rate",
    "AlphaDropout": "rate",
    "GaussianNoise": "stddev",
}


class Recalibration:
    """Call it to set a model's moving means and variances to those of `x` (N, *sample shape).

    Each layer sees what those before it make with the statistics of the same batch, as in training;
    means over the batches are kept. Samples that do not fill a batch are left out. The same weights
    give the same statistics, whatever they were before. Frozen layers keep theirs.
    """

    def __init__(self, model: Any, x: np.ndarray, batch: int = 256) -> None:
        import tensorflow as tf

        batch = min(batch, len(x))
        self._batches = [x[i : i + batch] for i in range(0, len(x) - batch + 1, batch)]
        self._kept = [
            variable
            for layer in _layers(model)
            if kind_of(layer) == "BatchNormalization" and layer.trainable
            for variable in (layer.moving_mean, layer.moving_variance)
        ]
        function = tf.function(lambda samples: model(samples, training=True))
        with _one_batch_counts(model):
            self._pass = function.get_concrete_function(
                tf.TensorSpec((batch, *x.shape[1:]), tf.float32)
            )

    def __call__(self) -> None:
        """Recalibrate."""
        import tensorflow as tf

        if not self._kept:
            return
        sums = [np.zeros(v.shape) for v in self._kept]
        for batch in self._batches:
            self._pass(tf.constant(batch))
            for total, variable in zip(sums, self._kept, strict=True):
                total += variable.numpy()
        for total, variable in zip(sums, self._kept, strict=True):
            variable.assign((total / len(self._batches)).astype(np.float32))


def _layers(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


@contextmanager
def _one_batch_counts(model: Any) -> Iterator[None]:
    """A function traced meanwhile forgets earlier batches, and drops and disturbs nothing."""
    before = []
    for layer in _layers(model):
        kind = kind_of(layer)
        name = "momentum" if kind == "BatchNormalization" else _NOISE.get(kind)
        if name is not None:
            before.append((layer, name, getattr(layer, name)))
            setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in before:
            setattr(layer, name, value)
