"""Cut channels out of a Keras model: the same net, narrower, with its weights sliced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinydeploy.pipeline.train.layout import (
    CONVS,
    DENSE,
    DEPTHWISE,
    PRODUCERS,
    SEPARABLE,
    TRANSPOSED,
    Layout,
    Part,
    layout,
)
from tinydeploy.pipeline.train.libraries import keras_of
from tinydeploy.pipeline.train.work import alive

# The axes of a weight along which its layer's channels lie: (axis, "ins", "outs" or "middle").
Axes = tuple[tuple[int, str], ...]
_OUTS: Axes = ((-1, "outs"),)


def cut(model: Any, keep: Mapping[str, np.ndarray]) -> Any:
    """The same net with only these channels of each group that is named in `keep`.

    `keep` holds sorted indices of a group's channels, at least one; groups that are not named stay
    whole. The new model computes what `model` does when each convolution or dense layer takes the
    removed channels of its input for zero. `model` stays as it is.
    Raises ValueError for a group that there is not or indices that it has not.
    """
    found = layout(model)
    _require_possible(found, keep)
    stays = alive(found, keep)

    def narrower(layer: Any) -> Any:
        config = layer.get_config()
        if part := found.parts.get(layer.name):
            config |= _settings(part, stays)
        return type(layer).from_config(config)

    made = keras_of(model).models.clone_model(model, clone_function=narrower)
    for old, new in zip(model.layers, made.layers, strict=True):
        part = found.parts.get(old.name)
        values = old.get_weights()
        if part is not None:
            names = [plain_name(w.name) for w in old.weights]
            values = [
                _sliced(v, axes_of(part.kind, n), part, stays)
                for n, v in zip(names, values, strict=True)
            ]
        new.set_weights(values)
    finalize(made)
    return made


def finalize(model: Any) -> None:
    """Let Normalization layers, which keep figures that follow from their weights, compute them."""
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
        if hasattr(layer, "layers"):
            finalize(layer)


def axes_of(kind: str, weight: str) -> Axes:
    """Which axes of a layer's weight run over channels; `kind` is the layer's class."""
    if (weight == "kernel" and kind in DEPTHWISE) or weight == "depthwise_kernel":
        return ((-2, "ins"),)
    if weight == "pointwise_kernel":
        return ((-2, "middle"), (-1, "outs"))
    if weight == "kernel" and kind in TRANSPOSED:
        return ((-1, "ins"), (-2, "outs"))
    if weight == "kernel" and kind in CONVS | DENSE:
        return ((-2, "ins"), (-1, "outs"))
    if kind in PRODUCERS | DEPTHWISE | SEPARABLE or kind in ("BatchNormalization", "PReLU"):
        return _OUTS
    return ()


def _sliced(values: np.ndarray, axes: Axes, part: Part, stays: np.ndarray) -> np.ndarray:
    for axis, role in axes:
        channels = getattr(part, role)
        if values.shape[axis] == len(channels):  # a PReLU may share its slope over channels
            values = np.compress(stays[channels], values, axis=axis)
    return values


def _settings(part: Part, stays: np.ndarray) -> dict[str, Any]:
    """What changes in a layer's configuration."""
    left = int(stays[part.outs].sum())
    if part.kind in DENSE:
        return {"units": left}
    if part.kind in PRODUCERS:
        return {"filters": left}
    if part.kind == "Reshape":
        *inner, last = part.layer.target_shape
        return {"target_shape": (*inner, last if last == -1 else left)}
    return {}


def _require_possible(found: Layout, keep: Mapping[str, np.ndarray]) -> None:
    sizes = {c.name: c.size for c in found.components}
    for name, indices in keep.items():
        if name not in sizes:
            raise ValueError(f"no group of channels is called {name!r}")
        given = np.asarray(indices)
        if (
            not len(given)
            or (np.diff(given) <= 0).any()
            or given[0] < 0
            or given[-1] >= sizes[name]
        ):
            raise ValueError(f"{name}: no sorted choice of its {sizes[name]} channels: {given}")


def plain_name(name: str) -> str:
    """A weight's name within its layer: "kernel" of tf_keras's `conv2d/kernel:0`."""
    return name.split("/")[-1].split(":")[0]
