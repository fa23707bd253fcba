"""Plans made by hand: every layer of a model of single layers has its own part of the arena."""

from __future__ import annotations

import math

from tinydeploy.compiler.overlap import overlap_with, scratch_over
from tinydeploy.compiler.plan import Plan
from tinydeploy.compiler.program import Call, Program

UNIT = 16


def plan_apart(program: Program, squeeze: bool, slack: int = 0, unit: int = UNIT) -> Plan:
    """Places nothing over anything; with `squeeze` outputs over inputs, as far as overlap.py says.

    `slack` bytes further than that breaks the rule. Distances are multiples of `unit`.
    """
    placer = _Placer(program, squeeze, slack, unit)
    for number, call in enumerate(program.calls):
        placer.add(number, call)
    for tensor in program.tensor_bytes:
        if tensor not in placer.tensors:
            placer.tensors[tensor] = placer.take(program.tensor_bytes[tensor])
    return Plan(placer.end, 0, placer.tensors, placer.scratch)


class _Placer:
    def __init__(self, program: Program, squeeze: bool, slack: int, unit: int) -> None:
        self.program, self.squeeze, self.slack, self.unit = program, squeeze, slack, unit
        self.tensors: dict[int, int] = {}
        self.scratch: dict[int, int] = {}
        self.end = 0

    def take(self, size: int) -> int:
        offset = self.end
        self.end += -(-size // UNIT) * UNIT + UNIT
        return offset

    def add(self, number: int, call: Call) -> None:
        operand = call.operands[0]
        lone = (
            isinstance(operand, int)
            and operand in self.program.inputs
            and operand not in self.program.outputs
            and operand not in self.tensors
            and call.output not in self.tensors
            and sum(c.operands.count(operand) for c in self.program.calls) == 1
        )
        overlap = overlap_with(call, 0) if self.squeeze and lone else None
        if overlap is not None and isinstance(operand, int):
            self._squeezed(number, call, operand, overlap)
        elif call.scratch_bytes:
            self.scratch[number] = self.take(call.scratch_bytes)

    def _squeezed(self, number: int, call: Call, operand: int, overlap: int | str) -> None:
        size, out_size = (self.program.tensor_bytes[t] for t in (operand, call.output))
        below = scratch_over(call, 0)
        if isinstance(overlap, int):
            distance = math.ceil(overlap / self.unit) * self.unit - self.slack
        else:
            distance = 0 if overlap == "same" else out_size // 2 // self.unit * self.unit
        if below is not None:
            scratch = self.take(max(call.scratch_bytes, below + size))
            self.scratch[number] = scratch
            self.tensors[operand] = scratch + math.ceil(below / self.unit) * self.unit - self.slack
            return
        base = self.take(max(out_size, distance + size) + UNIT) + UNIT
        self.tensors[call.output], self.tensors[operand] = base, base + distance
        if call.scratch_bytes:
            self.scratch[number] = self.take(call.scratch_bytes)
