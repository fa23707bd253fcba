"""Measure what int4 weights do to each layer of a float model, and mix int4 with int8."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from tinydeploy.compression import Judge, LayerPrecision, Mix, MixBudget
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Graph, Op
from tinydeploy.graph_stats import weight_bytes
from tinydeploy.pipeline.convert.agreement import agreement
from tinydeploy.pipeline.convert.mix_search import Layers, Trial, choose
from tinydeploy.pipeline.interpreter_worker import LiteRtEngine
from tinydeploy.pipeline.prepare import dequantize, quantize
from tinydeploy.tflite import read_graph

LEAST_WEIGHTS = 256
"""Of a layer, below which there is nothing to gain."""


def int4_layers(graph: Graph, kinds: Collection[str]) -> list[Op]:
    """The operators of these kinds whose weights are constant, their own, and enough of them."""
    readers = [t for op in graph.ops for t in op.inputs]
    found = []
    for op in graph.ops:
        if op.name in kinds and len(op.inputs) > 1:
            weights = graph.tensors[op.inputs[1]]
            large = weights.data is not None and weights.data.size >= LEAST_WEIGHTS
            if large and readers.count(weights.index) == 1:
                found.append(op)
    return found


def mix(
    model: bytes,
    samples: np.ndarray,
    layers: Sequence[Op],
    quantized: Callable[[Collection[int]], bytes],
    budget: MixBudget,
) -> tuple[bytes, Mix]:
    """The float model with int4 weights in some of `layers`, int8 elsewhere, and why so.

    `samples` are the calibration set as float input, `quantized` makes the model with int4 weights
    in the operators of those numbers. The same bytes each time on one machine.
    Raises UnsupportedModelError where no layer can be int4, and where no mix meets the budget.
    """
    if not layers:
        raise UnsupportedModelError(
            "no layer can have int4 weights: that takes a CONV_2D or FULLY_CONNECTED with "
            f"{LEAST_WEIGHTS} constant weights of its own or more",
            hint="use the recipe int8",
        )
    graph = read_graph(model)
    weights = {op.index: graph.tensors[op.inputs[1]].name for op in layers}
    expected = outputs_of(model, samples)

    def measure(int4: Layers) -> Trial:
        made = quantized(int4)
        found = agreement(expected, outputs_of(made, samples))
        return Trial(found, weight_bytes(read_graph(made)))

    shown = {op.index: f"layer {op.index} ({op.name}, {weights[op.index]})" for op in layers}
    classes = budget.judged_by == "classes" and agreement(expected, expected).changed is not None
    judge: Judge = "classes" if classes else "outputs"
    chosen = choose(shown, measure, budget, judge)
    made = quantized(chosen.layers)
    number = _numbers(graph, read_graph(made))
    return made, Mix(
        judged_by=judge,
        samples=len(samples),
        int8=chosen.int8.agreement,
        int8_weight_bytes=chosen.int8.weight_bytes,
        reached=chosen.reached.agreement,
        weight_bytes=chosen.reached.weight_bytes,
        layers=tuple(
            LayerPrecision(
                layer=number[op.index],
                op=op.name,
                name=weights[op.index],
                weights="int4" if op.index in chosen.layers else "int8",
                saved_bytes=chosen.int8.weight_bytes - chosen.alone[op.index].weight_bytes,
                alone=chosen.alone[op.index].agreement,
            )
            for op in layers
        ),
    )


def require_mix(graph: Graph, mix: Mix) -> None:
    """Refuse a model whose layers do not have the weights that `mix` says.

    Raises UnsupportedModelError naming the first layer to blame.
    """
    promised = {layer.layer: layer.weights for layer in mix.layers}
    for op in graph.ops:
        found = graph.tensors[op.inputs[1]].dtype if len(op.inputs) > 1 else ""
        expected = promised.get(op.index)
        if expected is None and found == "int4":
            expected = "int8"
        if expected is not None and found != expected:
            raise UnsupportedModelError(
                f"layer {op.index} ({op.name}) has {found} weights where {expected} was chosen",
                hint="rename the model's layers: several may have the same name",
            )


def _numbers(graph: Graph, quantized: Graph) -> dict[int, int]:
    """The number of each operator with weights after quantization, which may add others."""
    kinds = ("CONV_2D", "FULLY_CONNECTED")
    before = [op.index for op in graph.ops if op.name in kinds]
    after = [op.index for op in quantized.ops if op.name in kinds]
    return dict(zip(before, after, strict=True))


def outputs_of(model: bytes, samples: np.ndarray) -> list[np.ndarray]:
    """Real outputs (N, ...) of float inputs (N, ...), sample by sample, in this process."""
    graph = read_graph(model)
    tensor = graph.tensors[graph.inputs[0]]
    engine = LiteRtEngine(model, reference=False)
    found: list[list[np.ndarray]] = [[] for _ in graph.outputs]
    engine.reset()
    for value in quantize(samples, tensor):
        results = engine.invoke([value.reshape(tensor.shape)])
        for outputs, result in zip(found, results, strict=True):
            outputs.append(result)
    return [
        dequantize(np.stack(outputs), graph.tensors[t])
        for outputs, t in zip(found, graph.outputs, strict=True)
    ]
