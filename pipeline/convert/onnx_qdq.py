"""A quantized ONNX model (QuantizeLinear and DequantizeLinear around float operators) as a float
model and the ranges of its activations.

A pair on an activation becomes the range that its integers span; a range that begins at zero is
what is left of a ReLU and becomes one again. Weights are dequantized: the recipe quantizes them
anew with the same integers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_LAYOUT_ONLY = frozenset({"Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"})


def is_quantized(model: Any) -> bool:
    """Whether the ONNX model holds DequantizeLinear nodes."""
    return any(node.op_type == "DequantizeLinear" for node in model.graph.node)


def dequantized(model: Any) -> tuple[Any, dict[str, tuple[float, float]]]:
    """A float ONNX model, and the range of each of its tensors that was quantized.

    `model` is an `onnx.ModelProto`; it stays as it is. Raises ValueError naming the node for a
    quantization that is not made of constants.
    """
    import onnx
    from onnx import helper, numpy_helper

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producer = {out: node for node in graph.node for out in node.output}
    ranges: dict[str, tuple[float, float]] = {}
    renamed: dict[str, str] = {}
    nodes: list[Any] = []
    weights: list[Any] = []

    def parameters(node: Any) -> tuple[np.ndarray, np.ndarray]:
        try:
            scale = constants[node.input[1]].astype(np.float32)
            if len(node.input) > 2 and node.input[2]:
                return scale, constants[node.input[2]]
        except KeyError as error:
            raise ValueError(
                f"node {node.name!r} ({node.op_type}): its scale or zero point is no constant"
            ) from error
        return scale, np.zeros((), np.uint8)

    for node in graph.node:
        if node.op_type != "DequantizeLinear":
            nodes.append(node)
            continue
        source = node.input[0]
        scale, zero_point = parameters(node)
        if source in constants:
            axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
            value = _dequantize(constants[source], scale, zero_point, axis)
            weights.append(numpy_helper.from_array(value, node.output[0]))
            continue
        quantize = producer.get(source)
        if quantize is None or quantize.op_type != "QuantizeLinear" or scale.size != 1:
            raise ValueError(
                f"node {node.name!r} (DequantizeLinear): its input {source!r} is neither a "
                "constant nor quantized just before, a scale a tensor"
            )
        info = np.iinfo(zero_point.dtype)
        low = float((int(info.min) - int(zero_point)) * scale.reshape(()))
        high = float((int(info.max) - int(zero_point)) * scale.reshape(()))
        before = quantize.input[0]
        if low == 0 and not _from_input(before, graph, producer):
            name = node.output[0] + "_relu"
            nodes.append(helper.make_node("Relu", [before], [node.output[0]], name=name))
            ranges[node.output[0]] = (low, high)
        else:
            renamed[node.output[0]] = before
            ranges[before] = (low, high)

    _rename(nodes, graph, renamed)
    used = {x for node in nodes for x in node.input} | {o.name for o in graph.output}
    # A QuantizeLinear whose pair is gone; one that feeds an output stays and is refused later.
    nodes = [n for n in nodes if n.op_type != "QuantizeLinear" or used & set(n.output)]
    used = {x for node in nodes for x in node.input}
    kept = [t for t in (*graph.initializer, *weights) if t.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
    return changed, ranges


def _dequantize(
    values: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, axis: int
) -> np.ndarray:
    if scale.size > 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
        zero_point = zero_point.reshape(shape) if zero_point.size > 1 else zero_point
    return ((values.astype(np.int64) - zero_point.astype(np.int64)) * scale).astype(np.float32)


def _from_input(name: str, graph: Any, producer: dict[str, Any]) -> bool:
    """Whether a tensor is the model's input, at most laid out differently."""
    inputs = {i.name for i in graph.input}
    while name not in inputs:
        node = producer.get(name)
        if node is None or node.op_type not in {
            *_LAYOUT_ONLY,
            "DequantizeLinear",
            "QuantizeLinear",
        }:
            return False
        name = node.input[0]
    return True


def _rename(nodes: list[Any], graph: Any, renamed: dict[str, str]) -> None:
    """Readers of a dropped tensor read what it stood for; outputs keep their names."""

    def origin(name: str) -> str:
        while name in renamed:
            name = renamed[name]
        return name

    writers = {out: node for node in nodes for out in node.output}
    for output in graph.output:
        before = origin(output.name)
        if before != output.name and (writer := writers.get(before)):
            writer.output[list(writer.output).index(before)] = output.name
            renamed[before] = output.name
            del renamed[output.name]
    for node in nodes:
        for i, name in enumerate(node.input):
            node.input[i] = origin(name)
