"""What leaves the converter is checked: a board must get what its recipe promises."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.graph import Graph, Op, Tensor
from tinydeploy.types import Recipe

_QUANTIZED_WEIGHTS = frozenset({"int8", "uint8", "int4"})

# Beside its activations and weights a fully integer model holds indices and shapes, and biases:
# int32, with int16 activations int64 as well (TensorFlow Lite's quantization specification).
_BESIDE = frozenset({"int32", "int64", "bool"})


def require_deployable(graph: Graph) -> None:
    """Refuse what computes wrongly, or not at all, on a microcontroller.

    Raises UnsupportedModelError with layer and reason for NaN, float16 and float64, weight-only
    quantization (the weights are dequantized on the way: TFLite-Micro ignores the scales of the
    channels, so that its results are wrong) and dynamic range quantization (integer weights on
    float activations: TFLite-Micro has no such kernels).
    """
    for op in graph.ops:
        for tensor in _tensors(op, graph):
            if tensor.dtype in ("float16", "float64"):
                raise _refusal(
                    op, f"it uses {tensor.dtype} ({tensor.name!r}), which no kernel here computes"
                )
            if tensor.dtype == "float32" and tensor.data is not None and _holds_nan(tensor):
                raise UnsupportedModelError(
                    f"layer {op.index} ({op.name}): the constant {tensor.name!r} holds NaN",
                    hint="the training diverged, or the file is damaged: train with a lower rate",
                )
        if op.name == "DEQUANTIZE" and _is_quantized_constant(graph, op.inputs[0]):
            raise _refusal(
                op,
                "its weights are stored as integers but computed with as floats (weight-only "
                "quantization), which gives wrong results in TFLite-Micro",
            )
        if _is_hybrid(op, graph):
            raise _refusal(
                op,
                "it multiplies float activations with integer weights (dynamic range "
                "quantization), for which microcontrollers have no kernels",
            )


def require_recipe(graph: Graph, recipe: Recipe) -> None:
    """Refuse a model that is not what `recipe` says, inputs and outputs included.

    An integer recipe must leave no float tensor and no float operator; a float recipe nothing
    quantized; a mixed one some int4 weights. Raises UnsupportedModelError naming the first tensor
    or layer to blame.
    """
    if recipe.activations == "any":
        return
    if recipe.weights == "mixed" and not any(t.dtype == "int4" for t in graph.tensors):
        raise UnsupportedModelError(
            f"no layer has int4 weights, the recipe {recipe.name!r} says that some do",
            hint=_RECIPE_HINT,
        )
    for index in (*graph.inputs, *graph.outputs):
        tensor = graph.tensors[index]
        if tensor.dtype != recipe.activations:
            raise UnsupportedModelError(
                f"the model's {'input' if index in graph.inputs else 'output'} {tensor.name!r} is "
                f"{tensor.dtype}, the recipe {recipe.name!r} says {recipe.activations}",
                hint=_RECIPE_HINT,
            )
    for op in graph.ops:
        for tensor in _tensors(op, graph):
            constant = tensor.data is not None
            expected = recipe.weights if constant else recipe.activations
            quantized = tensor.dtype in (expected, "int4") and expected != "float32"
            # int4 is asked for where it runs right: int8 weights are what the others have.
            allowed = ("int4", "int8") if expected in ("int4", "mixed") else (expected,)
            if tensor.dtype not in (*allowed, recipe.activations, *_BESIDE):
                problem = f"is {tensor.dtype}"
            elif tensor.dtype == "int4" and not _runs_int4(op, tensor):
                problem = "is int4, which no kernel here computes"
            elif quantized and not tensor.scales:
                problem = f"is {tensor.dtype} without a scale"
            else:
                continue
            raise UnsupportedModelError(
                f"layer {op.index} ({op.name}): the {'constant' if constant else 'activation'} "
                f"{tensor.name!r} {problem}, the recipe {recipe.name!r} says {expected}",
                hint=_RECIPE_HINT,
            )


_RECIPE_HINT = "use the recipe that matches the model, or 'as-is'; or convert the float original"


def _tensors(op: Op, graph: Graph) -> Iterator[Tensor]:
    """What an op reads and writes."""
    return (graph.tensors[t] for t in (*op.inputs, *op.outputs) if t >= 0)


def _runs_int4(op: Op, tensor: Tensor) -> bool:
    """Whether int4 weights run right here: those of convolutions, and dense ones of one scale."""
    if op.name == "FULLY_CONNECTED":
        return tensor.index == op.inputs[1] and len(tensor.scales) <= 1
    return op.name == "CONV_2D" and tensor.index == op.inputs[1]


def _holds_nan(tensor: Tensor) -> bool:
    return tensor.data is not None and bool(np.isnan(tensor.data).any())


def _is_quantized_constant(graph: Graph, index: int) -> bool:
    tensor = graph.tensors[index]
    quantized = tensor.dtype in _QUANTIZED_WEIGHTS and bool(tensor.scales)
    return tensor.data is not None and quantized


def _is_hybrid(op: Op, graph: Graph) -> bool:
    """Whether float results come from quantized constants."""
    writes_float = any(graph.tensors[t].dtype == "float32" for t in op.outputs)
    return writes_float and any(_is_quantized_constant(graph, t) for t in op.inputs if t >= 0)


def _refusal(op: Op, reason: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"layer {op.index} ({op.name}) cannot run on a device: {reason}",
        hint="convert the float original with the recipe 'int8', 'int16x8' or 'float32'",
    )
