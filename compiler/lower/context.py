"""What a lowering sees of the graph, and how it refuses an operator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tinydeploy.compiler.fixedpoint import (
    Factor,
    float32_ratio,
    quantize_factor,
    round_half_away,
)
from tinydeploy.compiler.lower.memory import Memory
from tinydeploy.compiler.program import Data
from tinydeploy.graph import Graph, Op, Tensor

LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}
SUFFIX = {"int8": "s8", "int16": "s16", "float32": "f32"}


class Refused(Exception):
    """An operator that the engine cannot compile; the message says why."""


@dataclass(frozen=True)
class Target:
    """What the core offers; chooses kernels and the layout of weights."""

    core: str = ""
    dsp: bool = False
    helium: bool = False
    fpu: bool = False
    optimize: str = "balanced"


@dataclass(frozen=True)
class Context:
    """The graph, the target, the constants that folding found (by tensor), and more memory.

    `aliases`: which tensor's bytes a tensor is a view of, as far as the lowering has come.
    """

    graph: Graph
    target: Target
    folded: Mapping[int, np.ndarray]
    memory: Memory
    aliases: Mapping[int, int] = field(default_factory=dict)

    def tensor(self, index: int) -> Tensor:
        """The tensor of an index that is present."""
        return self.graph.tensors[index]

    def input(self, op: Op, position: int) -> Tensor:
        """An input that must be present."""
        if position >= len(op.inputs) or op.inputs[position] < 0:
            raise Refused(f"input {position} is missing")
        return self.graph.tensors[op.inputs[position]]

    def constant(self, index: int) -> np.ndarray | None:
        """The value of a tensor that is constant or was folded, else None."""
        value = self.folded.get(index, self.graph.tensors[index].data)
        if value is not None and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise Refused(f"constant {self.graph.tensors[index].name!r} holds infinity or NaN")
        return value

    def constant_input(self, op: Op, position: int, what: str) -> np.ndarray:
        """The value of an input that must be known at compile time."""
        tensor = self.input(op, position)
        value = self.constant(tensor.index)
        if value is None:
            raise Refused(f"its {what} are computed: the engine needs them when it compiles")
        return value

    def activation(self, op: Op) -> int:
        """The first input, for kernels that need it in the arena."""
        tensor = self.input(op, 0)
        if self.constant(tensor.index) is not None:
            raise Refused("its input is a constant")
        return tensor.index

    def operand(self, index: int) -> int | Data:
        """A tensor as a kernel's operand: the arena, or a constant in flash."""
        value = self.constant(index)
        return index if value is None else Data("weights", np.ascontiguousarray(value))

    def data_type(self, op: Op, *positions: int) -> str:
        """The type that the inputs at `positions` and the output share; refuses others."""
        types = {self.input(op, i).dtype for i in positions or (0,)}
        types.add(self.tensor(op.outputs[0]).dtype)
        if len(types) > 1:
            raise Refused(f"its inputs and output differ in type ({', '.join(sorted(types))})")
        (dtype,) = types
        if dtype not in SUFFIX:
            raise Refused(f"the engine has no {dtype} kernel")
        return dtype


def scale_of(tensor: Tensor) -> float:
    """The scale of a per-tensor quantized tensor."""
    if len(tensor.scales) != 1 or tensor.scales[0] == 0:
        raise Refused(f"tensor {tensor.name!r} is not quantized per tensor")
    return tensor.scales[0]


def zero_of(tensor: Tensor) -> int:
    """The zero point of a per-tensor quantized tensor, checked against its type."""
    scale_of(tensor)
    zero = tensor.zero_points[0]
    if tensor.dtype not in LIMITS:
        raise Refused(f"tensor {tensor.name!r} is quantized to {tensor.dtype}")
    low, high = LIMITS[tensor.dtype]
    if not low <= zero <= high:
        raise Refused(f"the zero point {zero} of {tensor.name!r} is outside {tensor.dtype}")
    if tensor.dtype == "int16" and zero != 0:
        raise Refused(f"int16 tensor {tensor.name!r} has the zero point {zero}, not 0")
    return zero


def factor(real: float) -> Factor:
    """A factor between scales in fixed point; refuses one that 32 bits cannot hold."""
    try:
        return quantize_factor(real)
    except ValueError as error:
        raise Refused(str(error)) from error


def quantized(value: float, scale: float) -> int:
    """round(value / scale), divided in single precision; refuses what 31 bits cannot hold."""
    ratio = float32_ratio(value, scale)
    if not abs(ratio) < 2**30:
        raise Refused(f"the scale {scale:g} is too small")
    return round_half_away(ratio)


def sum_fits(count: int, dtype: str) -> None:
    """Refuses to add up more integers than 32 bits hold."""
    if count * -LIMITS[dtype][0] >= 2**31:
        raise Refused(f"it adds up {count} elements, more than 32 bits hold")


def activation_range(activation: str, tensor: Tensor) -> tuple[int, int]:
    """Smallest and largest quantized output of a fused activation (divided in single precision)."""
    low, high = LIMITS[tensor.dtype]
    scale, zero = scale_of(tensor), zero_of(tensor)
    bounds = {
        "NONE": (None, None),
        "RELU": (0.0, None),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if activation not in bounds:
        raise Refused(f"the engine has no fused activation {activation}")
    smallest, largest = bounds[activation]
    if smallest is not None:
        low = max(low, zero + quantized(smallest, scale))
    if largest is not None:
        high = min(high, zero + quantized(largest, scale))
    if low > high:
        raise Refused(f"the scale of {tensor.name!r} leaves no value for {activation}")
    return low, high


def activation_limits(activation: str) -> tuple[float, float]:
    """Smallest and largest float output of a fused activation."""
    largest = float(np.finfo(np.float32).max)
    limits = {
        "NONE": (-largest, largest),
        "RELU": (0.0, largest),
        "RELU6": (0.0, 6.0),
        "RELU_N1_TO_1": (-1.0, 1.0),
    }
    if activation not in limits:
        raise Refused(f"the engine has no fused activation {activation}")
    return limits[activation]


def u16(**sizes: int) -> dict[str, int]:
    """Sizes for fields of 16 bits; refuses larger ones by name."""
    for name, value in sizes.items():
        if not 0 <= value <= 0xFFFF:
            raise Refused(f"{name} is {value}, more than 65535")
    return sizes
