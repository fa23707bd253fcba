"""A net that computes what any narrower one computes: masks in place of cuts.

`cut` takes the removed channels of a layer's input for zero. Here each convolution and dense layer
multiplies its input by zeros and ones from one variable, so that one compiled function serves all
widths of a net.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinydeploy.pipeline.train.cut import finalize
from tinydeploy.pipeline.train.layout import PRODUCERS, Layout, layout
from tinydeploy.pipeline.train.libraries import keras_of
from tinydeploy.pipeline.train.work import alive, macs_of

Widths = Mapping[str, int]
"""How many channels of each group are left, by the group's name."""

_BATCH = 32
_SAMPLES = 1024


@dataclass(frozen=True, eq=False)
class Masked:
    """`model` has the weights of the source, in the same order; `stays` masks its channels.

    `stays` is a float32 variable with a value for each class of the layout's channels. `order` has
    the channels of each group, those first that a narrower net keeps longest.
    """

    model: Any
    layout: Layout
    stays: Any
    order: Mapping[str, np.ndarray]

    def sizes(self) -> dict[str, int]:
        """The widths of the whole net."""
        return {name: len(channels) for name, channels in self.order.items()}

    def keep(self, widths: Widths) -> dict[str, np.ndarray]:
        """The channels that are left, for `cut`."""
        return {name: np.sort(self.order[name][:width]) for name, width in widths.items()}

    def mask(self, widths: Widths) -> np.ndarray:
        """The value of `stays` for these widths."""
        return np.asarray(alive(self.layout, self.keep(widths)), np.float32)

    def macs(self, widths: Widths) -> int:
        """Multiply-accumulates of the net that `cut` makes."""
        return macs_of(self.layout, alive(self.layout, self.keep(widths)))


def masked(model: Any) -> Masked:
    """A copy of a functional or sequential model whose channels can be masked; none is yet.

    Raises UnsupportedModelError for a subclassed model or a size that is not fixed.
    """
    import tensorflow as tf

    found = layout(model)
    stays = tf.Variable(alive(found, {}).astype(np.float32), trainable=False, name="stays")

    def with_mask(layer: Any) -> Any:
        part = found.parts.get(layer.name)
        kind = type(layer)
        if part is not None and part.kind in PRODUCERS and part.ins.any():
            kind = _masking(kind, part.ins, stays)
        return kind.from_config(layer.get_config())

    copy = keras_of(model).models.clone_model(model, clone_function=with_mask)
    copy.set_weights(model.get_weights())
    finalize(copy)
    order = {c.name: np.arange(c.size) for c in found.components}
    return Masked(copy, found, stays, order)


def _masking(kind: type, ins: np.ndarray, stays: Any) -> type:
    """A layer class whose inputs are masked. The variable is in a closure: no weight of a layer."""

    class Masking(kind):  # type: ignore[misc]
        def call(self, inputs: Any) -> Any:
            import tensorflow as tf

            return super().call(inputs * tf.cast(tf.gather(stays, ins), inputs.dtype))

    return Masking


def ranked(net: Masked, loss_of: Callable[[Any, Any], Any], x: np.ndarray, y: np.ndarray) -> Masked:
    """The same with the most needed channels of each group first.

    What a channel is needed for is estimated by the change of the loss if it were masked, to first
    order: the derivative by its mask, squared and summed over batches (Molchanov et al., Importance
    Estimation for Neural Network Pruning, CVPR 2019). The first 1024 samples are looked at.
    """
    import tensorflow as tf

    @tf.function(reduce_retracing=True)
    def slope(x: Any, y: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(net.stays)
            loss = loss_of(y, net.model(x, training=False))
        return tf.convert_to_tensor(tape.gradient(loss, net.stays))

    needed = np.zeros(net.stays.shape[0])
    for start in range(0, min(len(x), _SAMPLES), _BATCH):
        rows = slice(start, start + _BATCH)
        needed += np.square(slope(x[rows], y[rows]).numpy().astype(np.float64))
    order = {c.name: np.argsort(-needed[c.classes], kind="stable") for c in net.layout.components}
    return Masked(net.model, net.layout, net.stays, order)
