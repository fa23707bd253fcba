"""Prune and cluster the int8 weights of a quantized `.tflite`, without training.

Both work on the integers that the board stores, so that zeros and shared values survive: the `aot`
engine finds them in the weights and stores them packed (`--optimize size`). What one weight loses
the later ones of the same output make up for, as far as the layer's inputs on the calibration set
allow, and its bias in the end: Frantar and Alistarh, "SparseGPT" (2023), after "Optimal Brain
Surgeon".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinydeploy.graph import Graph, Op
from tinydeploy.pipeline.convert.layer_inputs import layer_inputs
from tinydeploy.tflite import read_graph

_LAYERS = frozenset({"CONV_2D", "FULLY_CONNECTED"})
"""Depthwise weights are few, and each carries much."""

_LEAST = 256
"""Weights of a layer below which there is nothing to gain."""

_BLOCK = 64
"""Inputs among which the weights to prune are chosen together."""

_DAMPING = 0.01
"""Of the mean diagonal of the inputs' second moments, added to it."""

_ROUNDS = 100


def reduced(model: bytes, inputs: np.ndarray, share: float, clusters: int) -> bytes:
    """The model with the `share` of each large layer's weights zero, and at most `clusters` values.

    `inputs` are the calibration set in the model's own dtype, (N, *shape); `clusters` 0 leaves as
    many values as there are. Scales and small layers stay. The same bytes each time.
    """
    import ai_edge_litert.schema_py_generated as schema

    graph = read_graph(model)
    edited = bytearray(model)
    table: Any = schema.Model.GetRootAs(edited, 0)
    layers = list(_large_layers(graph))
    seen = layer_inputs(model, graph, inputs)
    for op in layers:
        tensor = graph.tensors[op.inputs[1]]
        if tensor.data is None:
            continue
        rows = tensor.data.reshape(len(tensor.data), -1)
        scales = np.array(tensor.scales, np.float64)
        scales = np.broadcast_to(scales, len(rows))
        codes, shift = reconstructed(rows, scales, seen(op), share, clusters)
        _write(edited, table, tensor.index, codes)
        bias = graph.tensors[op.inputs[2]] if len(op.inputs) > 2 and op.inputs[2] >= 0 else None
        if bias is not None and bias.data is not None:
            unit = scales * graph.tensors[op.inputs[0]].scales[0]
            moved = bias.data + np.rint(shift / unit).astype(bias.data.dtype)
            _write(edited, table, bias.index, moved)
    return bytes(edited)


def _write(model: bytearray, table: Any, tensor: int, values: np.ndarray) -> None:
    """Replace a constant by values of the same size; nothing else moves."""
    buffer = table.Buffers(table.Subgraphs(0).Tensors(tensor).Buffer())
    start = buffer._tab.Vector(buffer._tab.Offset(4))
    raw = values.tobytes()
    model[start : start + len(raw)] = raw


def _large_layers(graph: Graph) -> Iterator[Op]:
    used: set[int] = set()
    for op in graph.ops:
        if op.name not in _LAYERS or op.inputs[1] in used:
            continue
        used.add(op.inputs[1])
        weights, given = graph.tensors[op.inputs[1]], graph.tensors[op.inputs[0]]
        grouped = op.name == "CONV_2D" and weights.shape[-1] != given.shape[-1]
        per_row = len(weights.scales) == 1 or weights.quantized_dimension == 0
        large = weights.data is not None and weights.data.size >= _LEAST
        if weights.dtype == "int8" and large and per_row and not grouped:
            yield op


def reconstructed(
    codes: np.ndarray, scales: np.ndarray, moments: np.ndarray, share: float, clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """New int8 weights (out, in) whose products with the layer's inputs change as little as can be,
    and what to add to the real biases (out,).

    `scales` (out,) make real weights of `codes`; `moments` (in + 1, in + 1) are the second moments
    of the inputs with a 1 behind them, which stands for the bias.
    """
    weights = np.append(codes * scales[:, np.newaxis], np.zeros((len(codes), 1)), axis=1)
    centres = _centres(codes, scales, clusters) if clusters else None
    damped = moments + np.eye(len(moments)) * max(_DAMPING * np.diag(moments).mean(), 1e-12)
    # Row j of the upper Cholesky factor of the inverse says how the later weights make up for j.
    factor = np.linalg.cholesky(np.linalg.inv(damped)).T
    result = np.zeros(codes.shape, np.int8)
    for begin in range(0, codes.shape[1], _BLOCK):
        columns = range(begin, min(begin + _BLOCK, codes.shape[1]))
        dropped = np.zeros((len(codes), len(columns)), bool)
        if share:
            cost = (weights[:, columns] / np.diag(factor)[columns]) ** 2
            dropped = cost <= np.quantile(cost, share)
        for offset, j in enumerate(columns):
            wanted = weights[:, j] / scales
            if centres is None:
                chosen = np.clip(np.rint(wanted), -127, 127)
            else:
                chosen = centres[np.abs(wanted[:, np.newaxis] - centres).argmin(axis=1)]
            chosen = np.where(dropped[:, offset], 0, chosen)
            result[:, j] = chosen
            error = (weights[:, j] - chosen * scales) / factor[j, j]
            weights[:, j:] -= error[:, np.newaxis] * factor[j, j:]
    return result, weights[:, -1]


def _centres(codes: np.ndarray, scales: np.ndarray, clusters: int) -> np.ndarray:
    """The integers of least squared error in real numbers (Lloyd's algorithm in one dimension).

    0 stays among them if it is among the weights, so that pruned weights stay pruned.
    """
    values, inverse = np.unique(codes, return_inverse=True)
    if len(values) <= clusters:
        return values.astype(np.float64)
    importance = np.broadcast_to((scales**2)[:, np.newaxis], codes.shape).reshape(-1)
    mass = np.bincount(inverse.reshape(-1), importance, len(values))
    points = values.astype(np.float64)
    centres = np.linspace(points[0], points[-1], clusters)
    for _ in range(_ROUNDS):
        _keep_zero(centres, points)
        nearest = np.abs(points[:, np.newaxis] - centres).argmin(axis=1)
        weight = np.bincount(nearest, mass, clusters)
        total = np.bincount(nearest, mass * points, clusters)
        moved = np.sort(np.where(weight > 0, total / np.maximum(weight, 1e-30), centres))
        if np.array_equal(moved, centres):
            break
        centres = moved
    _keep_zero(centres, points)
    return np.unique(np.rint(centres))


def _keep_zero(centres: np.ndarray, points: np.ndarray) -> None:
    if (points == 0).any():
        centres[np.abs(centres).argmin()] = 0
