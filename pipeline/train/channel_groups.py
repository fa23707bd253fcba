"""Groups of channels that can only be removed together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinydeploy.pipeline.train.layout import layout


@dataclass(frozen=True)
class Group:
    """Channels 0 to `size` - 1 of the layers `producers`, each removed from all of them at once.

    `name` is the first of these layers, and its output i is channel i.
    """

    name: str
    size: int
    producers: tuple[str, ...]


def channel_groups(model: Any) -> tuple[Group, ...]:
    """The groups of a functional or sequential model of Keras 3 or tf_keras, in the net's order.

    Channels of the model's inputs and outputs, and those that meet a layer which mixes them in a
    way that is not known here, are in no group.
    Raises UnsupportedModelError for a subclassed model or a size that is not fixed.
    """
    return tuple(
        Group(c.producers[0], len(c.classes), c.producers) for c in layout(model).components
    )
