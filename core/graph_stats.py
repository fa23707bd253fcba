"""Figures that follow from a graph alone: multiply-accumulates and bytes."""

from __future__ import annotations

from math import prod

from tinydeploy.graph import Graph, Op, Tensor

# Bits of an element as a model stores it.
DTYPE_BITS = {
    "float32": 32,
    "float16": 16,
    "float64": 64,
    "bool": 8,
    "int4": 4,
    "int8": 8,
    "uint8": 8,
    "int16": 16,
    "uint16": 16,
    "int32": 32,
    "uint32": 32,
    "int64": 64,
    "uint64": 64,
}


# Where the matrices of an operator stand among its inputs.
_RECURRENT = {"UNIDIRECTIONAL_SEQUENCE_LSTM": range(1, 9), "SVDF": range(1, 3)}


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements, as stored in the model (int4: two a byte)."""
    return (tensor.elements * DTYPE_BITS.get(tensor.dtype, 32) + 7) // 8


def macs(op: Op, graph: Graph) -> int:
    """Multiply-accumulates of one inference of `op`; 0 for ops without weights.

    CONV_2D: output elements x filter height x width x input channels; DEPTHWISE_CONV_2D: output
    elements x filter height x width; FULLY_CONNECTED: output elements x input depth;
    UNIDIRECTIONAL_SEQUENCE_LSTM: the weights of its four gates for every step of every sequence;
    SVDF: its feature and time weights for every sequence. Positions in the padding are counted, as
    is the convention.
    """
    if op.name in _RECURRENT:
        used = [op.inputs[i] for i in _RECURRENT[op.name] if i < len(op.inputs)]
        weights = sum(graph.tensors[t].elements for t in used if t >= 0)
        given = graph.tensors[op.inputs[0]].shape
        return weights * prod(given[:-1])
    if op.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED") or len(op.inputs) < 2:
        return 0
    shape = graph.tensors[op.inputs[1]].shape
    elements = graph.tensors[op.outputs[0]].elements
    if op.name == "DEPTHWISE_CONV_2D":
        return elements * shape[1] * shape[2] if len(shape) == 4 else 0
    return elements * prod(shape[1:])


def total_macs(graph: Graph) -> int:
    """Multiply-accumulates of one inference of the whole model, without those of loops."""
    return sum(macs(op, graph) for op in graph.ops)


def op_weight_bytes(op: Op, graph: Graph) -> int:
    """Bytes of the constants that `op` reads (weights, biases, shapes, paddings)."""
    used = {t for t in op.inputs if t >= 0 and graph.tensors[t].data is not None}
    return sum(tensor_bytes(graph.tensors[t]) for t in used)


def weight_bytes(graph: Graph) -> int:
    """Bytes of all constants that operators read, shared ones counted once."""
    used = {
        t for op in graph.all_ops for t in op.inputs if t >= 0 and graph.tensors[t].data is not None
    }
    return sum(tensor_bytes(graph.tensors[t]) for t in used)


def parameters(graph: Graph) -> int:
    """Number of elements of the weights and biases of layers with multiply-accumulates."""
    used = {
        t
        for op in graph.ops
        if macs(op, graph) > 0
        for t in op.inputs[1:]
        if t >= 0 and graph.tensors[t].data is not None
    }
    return sum(graph.tensors[t].elements for t in used)
