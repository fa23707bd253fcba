"""What lowering produces and emitting writes: calls of kernels over constants and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from tinydeploy.types import KernelChoice

Role = Literal["weights", "tables"]

# C's statements around calls: `if` and `do` (leave the loop unless) look at the first operand.
Control = Literal["", "if", "else", "while", "do", "end"]


@dataclass(frozen=True)
class Data:
    """A constant array in flash.

    Weights stand in the `.tflite` too; tables (multipliers, shifts, corrected biases) do not.
    """

    role: Role
    array: np.ndarray


@dataclass(frozen=True)
class Call:
    """One kernel call.

    `params` initializes the kernel's parameter struct: numbers, Data, nested mappings, sequences.
    `operands` are the tensors (indices) and constants the kernel reads, `output` the tensor it
    writes, from `output_offset_bytes` on. `in_place` lists operands whose memory the output may
    take. A kernel that `takes_scratch` gets `scratch_bytes` of memory while it runs, or NULL.
    With `control` it is no kernel's call but a statement, which keeps its operands in memory.
    """

    kernel: str
    struct: str
    params: Mapping[str, Any]
    operands: tuple[int | Data, ...]
    output: int
    op_index: int
    comment: str
    takes_scratch: bool = False
    scratch_bytes: int = 0
    in_place: tuple[int, ...] = ()
    output_offset_bytes: int = 0
    control: Control = ""


@dataclass(frozen=True)
class Program:
    """Calls in execution order, and how tensors share memory.

    `aliases` maps a tensor to the tensor whose memory it is (RESHAPE). `tensor_bytes` holds the
    size of every tensor that lives in the arena; indices from the graph's number of tensors on are
    temporary memory of a lowering. `persistent` are the tensors that keep their value between
    invokes, each with the byte that fills it at the start. The first `init_calls` calls run once,
    in td_model_init(). `choices` are the kernels that were weighed.
    """

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    tensor_bytes: Mapping[int, int]
    aliases: Mapping[int, int] = field(default_factory=dict)
    persistent: Mapping[int, int] = field(default_factory=dict)
    choices: tuple[KernelChoice, ...] = ()
    init_calls: int = 0

    def root(self, tensor: int) -> int:
        """The tensor whose memory `tensor` uses."""
        while tensor in self.aliases:
            tensor = self.aliases[tensor]
        return tensor
