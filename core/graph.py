"""A model's graph as plain values: what a `.tflite` file says, without the flatbuffer.

`tinydeploy.tflite.read_graph` makes one. Only the first subgraph is represented.
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
class Graph:
    """Tensors, operators in execution order, and the indices of inputs and outputs."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    sha256: str
    size_bytes: int
    description: str = ""
    subgraphs: int = 1
