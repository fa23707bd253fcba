"""Multiply-accumulates of a Keras model, as it is or as it would be after a cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinydeploy.pipeline.train.layout import Layout, layout


def macs(model: Any, keep: Mapping[str, np.ndarray] | None = None) -> int:
    """Multiply-accumulates of one inference, of what `cut(model, keep)` makes if `keep` is given.

    Convolutions: output elements x kernel height x width x input channels, positions in the padding
    included; transposed ones from their input's positions; dense layers: output elements x input
    depth; recurrent layers: their matrices for every step. Other layers have none.
    Raises UnsupportedModelError for a subclassed model or a size that is not fixed.
    """
    found = layout(model)
    return macs_of(found, alive(found, keep or {}))


def macs_of(found: Layout, stays: np.ndarray) -> int:
    """The same from a layout; `stays[c]` says whether class c of channels is left."""
    total = 0
    for work in found.work:
        ins = 1 if work.ins is None else int(stays[work.ins].sum())
        outs = 1 if work.outs is None else int(stays[work.outs].sum())
        total += work.each * ins * outs
    return total


def alive(found: Layout, keep: Mapping[str, np.ndarray]) -> np.ndarray:
    """For every class of channels, whether it is left by `keep`: indices of a group's channels."""
    top = max((int(c.classes.max()) for c in found.components), default=0)
    for part in found.parts.values():
        top = max(top, *(int(a.max(initial=0)) for a in (part.ins, part.outs)))
    stays = np.ones(top + 1, bool)
    for component in found.components:
        if component.name in keep:
            stays[component.classes] = False
            stays[component.classes[keep[component.name]]] = True
    return stays
