"""Cut one net out of a supernet: an ordinary Keras model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.supernet.space import Choice
from tinydeploy.pipeline.supernet.stored import Supernet


def extract(supernet: Supernet, choice: Choice) -> Any:
    """The net of a choice as a Keras 3 model that needs nothing else.

    Raises UsageError for a choice that the supernet does not have, UnsupportedModelError for a file
    whose weights are not what it says.
    """
    from tinydeploy.pipeline.supernet.net import build, named_weights, part_of

    about = supernet.about
    about.space.require(choice)
    net = build(about.space, choice, about.shape, about.classes)
    known = {**supernet.weights, **supernet.statistics[choice]}
    try:
        for name, variable in named_weights(net).items():
            variable.assign(part_of(known[name], tuple(variable.shape)))
    except (KeyError, ValueError) as error:
        raise UnsupportedModelError(
            f"the supernet's weights do not make up {choice.name}: {error}",
            hint="train it again: tinydeploy supernet train",
        ) from error
    return net


def net_path(folder: Path, name: str, choice: Choice) -> Path:
    """Where the net of a choice of the supernet `name` lies in a folder."""
    return folder / f"{name}-{choice.name}.keras"
