"""Multiply-accumulates of recurrent layers; those of the others are in test_tflite.py."""

from __future__ import annotations

import numpy as np

from tinydeploy.graph import Graph, Op, Tensor
from tinydeploy.graph_stats import macs, parameters


def graph_of(op: str, shapes: list[tuple[int, ...]], given: tuple[int, ...]) -> Graph:
    """One operator whose inputs behind the first are constants of these shapes."""
    tensors = [Tensor(0, "x", given, "int8")]
    for i, shape in enumerate(shapes, 1):
        tensors.append(Tensor(i, f"w{i}", shape, "int8", data=np.zeros(shape, np.int8)))
    tensors.append(Tensor(len(tensors), "y", (1, 2), "int8"))
    inputs = tuple(range(len(tensors) - 1))
    ops = (Op(0, op, inputs, (len(tensors) - 1,)),)
    return Graph(tuple(tensors), ops, (0,), (len(tensors) - 1,), "", 0)


def test_lstm_multiplies_its_gates_at_every_step() -> None:
    units, inputs, steps = 5, 3, 7
    weights = [(units, inputs)] * 4 + [(units, units)] * 4
    graph = graph_of("UNIDIRECTIONAL_SEQUENCE_LSTM", weights, (2, steps, inputs))
    assert macs(graph.ops[0], graph) == 2 * steps * 4 * units * (inputs + units)
    assert parameters(graph) == 4 * units * (inputs + units)


def test_svdf_multiplies_features_and_times() -> None:
    graph = graph_of("SVDF", [(6, 4), (6, 9), (3,)], (1, 4))
    assert macs(graph.ops[0], graph) == 6 * 4 + 6 * 9
