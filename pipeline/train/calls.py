"""The calls of layers that make up a functional or sequential model, of Keras 3 or tf_keras."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tinydeploy.errors import UnsupportedModelError

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class Call:
    """One call of `layer`; tensors are keys of what another call made, shapes have the batch."""

    layer: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]

    @property
    def is_input(self) -> bool:
        """Whether it is an input of the model."""
        return not self.inputs


def calls_of(model: Any) -> tuple[Call, ...]:
    """All calls, each after those that make its inputs.

    Raises UnsupportedModelError for a subclassed model, whose layers no graph connects.
    """
    graph = getattr(model, "_functional", None) or model
    nodes_by_depth = getattr(graph, "_nodes_by_depth", None)
    if not nodes_by_depth:
        raise UnsupportedModelError(
            f"{model.name!r} is neither a functional nor a sequential Keras model: how its layers "
            "are connected is not known",
            hint="build it as keras.Model(inputs, outputs) or keras.Sequential with an Input",
        )
    return tuple(
        _call(node)
        for depth in sorted(nodes_by_depth, reverse=True)
        for node in nodes_by_depth[depth]
    )


def outputs_of(model: Any) -> tuple[int, ...]:
    """The keys of the model's output tensors."""
    graph = getattr(model, "_functional", None) or model
    return tuple(id(t) for t in graph.outputs)


def _call(node: Any) -> Call:
    if hasattr(node, "operation"):  # Keras 3
        layer, inputs = node.operation, node.input_tensors
    else:
        layer, inputs = node.layer, node.keras_inputs
    inputs = [] if node.is_input else list(inputs)
    outputs = list(_flat(node.outputs))
    return Call(
        layer,
        tuple(id(t) for t in inputs),
        tuple(id(t) for t in outputs),
        tuple(tuple(t.shape) for t in inputs),
        tuple(tuple(t.shape) for t in outputs),
    )


def _flat(tensors: Any) -> Iterator[Any]:
    if isinstance(tensors, dict):
        tensors = list(tensors.values())
    if isinstance(tensors, list | tuple):
        for tensor in tensors:
            yield from _flat(tensor)
    else:
        yield tensors


def kind_of(layer: Any) -> str:
    """The class of a layer of Keras itself, "" for any other: a user's, a nested model."""
    library = type(layer).__module__.split(".")
    if library[0] not in ("keras", "tf_keras") or "layers" not in library:
        return ""
    return type(layer).__name__
