"""Layers of a Keras 2 file that wait for each other: tf_keras would look for an order forever."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NESTED = frozenset({"Functional", "Model", "Sequential"})
"""As layers they have a call of their own already, so that theirs may be counted from 1."""


def waiting(model: Any) -> str:
    """A layer of a functional model whose inputs can never be there, or "".

    `model` is the value of ``config`` of a functional model; what is not as Keras writes it is left
    to Keras to refuse.
    """
    layers = {str(layer.get("name")): layer for layer in _dicts(model.get("layers"))}
    pending = {name: list(_calls(layer)) for name, layer in layers.items()}
    made = dict.fromkeys(layers, 0)

    def is_there(name: str, call: int) -> bool:
        kind = layers[name].get("class_name")
        if kind == "InputLayer":
            return True
        return made[name] >= (max(1, call) if kind in _NESTED else call + 1)

    progress = True
    while progress:
        progress = False
        for name, calls in pending.items():
            while calls and all(is_there(*read) for read in _reads(calls[0], layers)):
                calls.pop(0)
                made[name] += 1
                progress = True
    return next((name for name, calls in pending.items() if calls), "")


def _dicts(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def _calls(layer: dict[str, Any]) -> list[Any]:
    calls = layer.get("inbound_nodes")
    return calls if isinstance(calls, list) else []


def _reads(call: Any, layers: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The (layer, number of its call) whose outputs a call reads, as ``[name, 0, 0]``."""
    pending = [call]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending.extend(value.values())
        elif isinstance(value, list):
            if (
                len(value) >= 3
                and isinstance(value[0], str)
                and value[0] in layers
                and isinstance(value[1], int)
            ):
                yield value[0], value[1]
            pending.extend(value)
