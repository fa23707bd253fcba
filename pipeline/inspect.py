"""What is in a `.tflite` model: layers, multiply-accumulates, bytes, TFLite-Micro's arena."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinydeploy import graph_stats
from tinydeploy.errors import TinydeployError
from tinydeploy.graph import Graph, Op, Tensor
from tinydeploy.pipeline.interpreters import tflm_arena
from tinydeploy.tflite import read_graph


@dataclass(frozen=True)
class Layer:
    """One operator.

    `weight_bytes` are the constants it reads (biases, shapes and paddings included);
    `activation_bytes` its other inputs and its outputs together: the RAM it needs while it runs.
    Shapes are those of the activations.
    """

    index: int
    op: str
    input_shapes: tuple[tuple[int, ...], ...]
    output_shapes: tuple[tuple[int, ...], ...]
    dtype: str
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True)
class Io:
    """An input or output of the model; `scale` and `zero_point` are None for float."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Inspection:
    """A whole model.

    `macs` counts positions in the padding, as is the convention; `parameters` are the elements of
    the weights and biases of layers with multiply-accumulates; `weight_bytes` all constants that
    operators read, shared ones once. `tflm_arena_bytes` is TFLite-Micro's own figure, with its
    `tflm_arena_origin`, split into `tflm_arena_head_bytes` (activations) and
    `tflm_arena_tail_bytes` (structs); all are None when it refuses the model, and `tflm_refusal`
    says why.
    """

    model: str
    sha256: str
    size_bytes: int
    inputs: tuple[Io, ...]
    outputs: tuple[Io, ...]
    macs: int
    parameters: int
    weight_bytes: int
    ops: Mapping[str, int]
    tflm_arena_bytes: int | None
    tflm_arena_head_bytes: int | None
    tflm_arena_tail_bytes: int | None
    tflm_arena_origin: str | None
    tflm_refusal: str
    layers: tuple[Layer, ...]


def inspect(model: Path) -> Inspection:
    """Read `model` and let TFLite-Micro allocate it in a process of its own.

    Raises UsageError when there is no such file, UnsupportedModelError when it cannot be read.
    """
    graph = read_graph(model)
    arena: Mapping[str, int | str] = {}
    refusal = ""
    try:
        arena = tflm_arena(model)
    except TinydeployError as error:
        refusal = error.message
    return Inspection(
        model=model.name,
        sha256=graph.sha256,
        size_bytes=graph.size_bytes,
        inputs=tuple(_io(graph.tensors[t]) for t in graph.inputs),
        outputs=tuple(_io(graph.tensors[t]) for t in graph.outputs),
        macs=graph_stats.total_macs(graph),
        parameters=graph_stats.parameters(graph),
        weight_bytes=graph_stats.weight_bytes(graph),
        ops=dict(Counter(op.name for op in graph.ops).most_common()),
        tflm_arena_bytes=_bytes(arena, "total"),
        tflm_arena_head_bytes=_bytes(arena, "head"),
        tflm_arena_tail_bytes=_bytes(arena, "tail"),
        tflm_arena_origin=str(arena["origin"]) if arena else None,
        tflm_refusal=refusal,
        layers=layers(graph),
    )


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Every operator, in order."""
    return tuple(_layer(op, graph) for op in graph.ops)


def _bytes(arena: Mapping[str, int | str], key: str) -> int | None:
    return int(arena[key]) if arena else None


def _io(tensor: Tensor) -> Io:
    quantized = len(tensor.scales) == 1
    return Io(
        name=tensor.name,
        shape=tensor.shape,
        dtype=tensor.dtype,
        scale=tensor.scales[0] if quantized else None,
        zero_point=tensor.zero_points[0] if quantized else None,
    )


def _layer(op: Op, graph: Graph) -> Layer:
    inputs = [graph.tensors[t] for t in op.inputs if t >= 0 and graph.tensors[t].data is None]
    outputs = [graph.tensors[t] for t in op.outputs]
    distinct = {t.index: t for t in (*inputs, *outputs)}
    return Layer(
        index=op.index,
        op=op.name,
        input_shapes=tuple(t.shape for t in inputs),
        output_shapes=tuple(t.shape for t in outputs),
        dtype=outputs[0].dtype,
        macs=graph_stats.macs(op, graph),
        weight_bytes=graph_stats.op_weight_bytes(op, graph),
        activation_bytes=sum(graph_stats.tensor_bytes(t) for t in distinct.values()),
    )
