"""Lowering: a graph becomes kernel calls; one file an op family, one table for all."""

from __future__ import annotations

import math
from types import MappingProxyType

import numpy as np

from tinydeploy.compiler.lower.context import Context, Refused, Target
from tinydeploy.compiler.lower.control import unfold
from tinydeploy.compiler.lower.fold import fold
from tinydeploy.compiler.lower.memory import Memory
from tinydeploy.compiler.lower.table import LOWERINGS, SEVERAL_OUTPUTS, STATEFUL
from tinydeploy.compiler.program import Call, Data, Program
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Graph, Op, Tensor
from tinydeploy.graph_stats import DTYPE_BITS

MOST_IO = 255

IO_TYPES = ("int8", "int16", "float32", "int32", "uint8", "bool", "int64")

__all__ = ["LOWERINGS", "Target", "lower"]


def lower(graph: Graph, target: Target) -> Program:
    """The kernel calls of a graph.

    Raises UnsupportedModelError that names every layer the engine cannot compile, with its index,
    operator, output tensor and the reason.
    """
    graph, once = unfold(graph)
    folded: dict[int, np.ndarray] = {}
    memory = Memory(graph)
    calls: list[Call] = []
    aliases: dict[int, int] = {}
    ctx = Context(
        graph, target, MappingProxyType(folded), memory, aliases=MappingProxyType(aliases)
    )
    refused: list[str] = []
    init_calls = 0
    for number, op in enumerate(graph.ops):
        if number == once:
            init_calls = len(calls)
        value = fold(op, graph, folded)
        if value is not None:
            folded[op.outputs[0]] = value
            continue
        try:
            lowered = _lower_op(op, ctx)
        except Refused as reason:
            refused.append(f"layer {op.index}, {op.name} ({_output(op, graph)!r}): {reason}")
            continue
        calls += lowered
        if not lowered and op.inputs:  # nothing to do: the same bytes under another shape
            aliases[op.outputs[0]] = op.inputs[0]
    for what, tensors in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        if len(tensors) > MOST_IO:
            refused.append(f"the model has {len(tensors)} {what}, firmware counts to {MOST_IO}")
    for t in {*graph.inputs, *graph.outputs}:
        if graph.tensors[t].dtype not in IO_TYPES:
            tensor = graph.tensors[t]
            refused.append(f"the model's {tensor.name!r} is {tensor.dtype}")
    if refused:
        raise UnsupportedModelError(
            "the aot engine cannot compile this model: " + "; ".join(refused),
            hint="change the layers named, or use the tflm engine if TFLite-Micro has them",
        )
    calls += _constant_outputs(graph, folded)
    return Program(
        calls=tuple(calls),
        inputs=graph.inputs,
        outputs=graph.outputs,
        tensor_bytes={
            t: memory.sizes[t] if t in memory.sizes else _bytes(graph.tensors[t])
            for t in _in_arena(graph, calls, aliases)
        },
        aliases=aliases,
        persistent=memory.persistent,
        init_calls=init_calls,
    )


def _lower_op(op: Op, ctx: Context) -> list[Call]:
    lowering = LOWERINGS.get(op.name)
    if lowering is None:
        raise Refused("the engine has no such operator")
    if len(op.outputs) > 1 and op.name not in SEVERAL_OUTPUTS:
        raise Refused("it has several outputs")
    if any(t >= 0 and ctx.tensor(t).elements == 0 for t in (*op.inputs, *op.outputs)):
        raise Refused("a tensor of it is empty")
    if op.name not in STATEFUL and any(t >= 0 and ctx.tensor(t).is_variable for t in op.inputs):
        raise Refused("it reads a variable tensor")
    try:
        return lowering(op, ctx)
    except KeyError as error:
        raise Refused(f"its option {error} is missing") from error
    except (ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise Refused(f"its options and tensors do not fit together ({error})") from error


def _output(op: Op, graph: Graph) -> str:
    return graph.tensors[op.outputs[0]].name if op.outputs else ""


def _constant_outputs(graph: Graph, folded: dict[int, np.ndarray]) -> list[Call]:
    """Outputs of the model that are known at compile time are copied from flash."""
    calls = []
    for t in graph.outputs:
        value = folded.get(t, graph.tensors[t].data)
        if value is None:
            continue
        data = Data("weights", np.ascontiguousarray(value))
        calls.append(
            Call(
                kernel="td_copy",
                struct="td_copy",
                params={"rows": 1, "bytes": value.nbytes, "in_stride": 0, "out_stride": 0},
                operands=(data,),
                output=t,
                op_index=len(graph.ops),
                comment=f"constant output {graph.tensors[t].name}",
            )
        )
    return calls


def _in_arena(graph: Graph, calls: list[Call], aliases: dict[int, int]) -> list[int]:
    """Tensors that calls read or write, inputs and outputs, and what they are views of."""
    used = {*graph.inputs, *graph.outputs}
    for call in calls:
        used |= {call.output, *(t for t in call.operands if isinstance(t, int))}
    for t in list(used):
        while t in aliases:
            t = aliases[t]
            used.add(t)
    return sorted(used)


def _bytes(tensor: Tensor) -> int:
    return math.prod(tensor.shape) * DTYPE_BITS.get(tensor.dtype, 64) // 8
