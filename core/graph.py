"""A model's graph as plain values: what a `.tflite` file says, without the flatbuffer.

`tinydeploy.tflite.read_graph` makes one. The first subgraph is the graph; the others are the bodies
that its CALL_ONCE, IF and WHILE operators name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Tensor:
    """One tensor. `dtype` is numpy's name, or "int4" (unpacked to int8 in `data`), or "float16".

    `scales` and `zero_points` are empty for tensors without quantization, have one entry for
    per-tensor and several for per-channel quantization along `quantized_dimension`.
    `data` is the constant's value with the tensor's shape, or None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    quantized_dimension: int = 0
    data: np.ndarray | None = None
    is_variable: bool = False

    @property
    def elements(self) -> int:
        """Number of elements."""
        n = 1
        for d in self.shape:
            n *= d
        return n

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape without its batch dimension of one; without such a dimension, all of it."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape


@dataclass(frozen=True)
class Op:
    """One operator. `name` is the schema's builtin name ("CONV_2D") or a custom op's code.

    `inputs` holds tensor indices, -1 for an absent optional input. `options` holds the builtin
    options by the schema's field names in snake case ("stride_w", "fused_activation_function");
    enums are the schema's names ("SAME", "RELU6", "NONE").
    """

    index: int
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class Body:
    """A subgraph behind the first, which an operator runs: its tensors are among the graph's."""

    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """Tensors, operators in execution order, and the indices of inputs and outputs.

    `tensors` holds the first subgraph's tensors by their own indices, then those of the others.
    `bodies` are the model's subgraphs 1, 2, ...
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sha256: str
    size_bytes: int
    description: str = ""
    bodies: tuple[Body, ...] = ()

    @property
    def all_ops(self) -> tuple[Op, ...]:
        """The operators of the graph and of its bodies."""
        return (*self.ops, *(op for body in self.bodies for op in body.ops))
