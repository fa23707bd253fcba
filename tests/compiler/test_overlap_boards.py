"""Outputs over inputs on emulated boards, with the kernels that only those run."""

from __future__ import annotations

from pathlib import Path

import pytest
from shaped_layers import Layers, assert_same_on_board

from tinydeploy.compiler.aot import target_of
from tinydeploy.compiler.lower import lower
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.compiler.overlap import overlap_with
from tinydeploy.compiler.plan import Plan, plan_memory
from tinydeploy.compiler.program import Program
from tinydeploy.devices.catalogue import find
from tinydeploy.tflite import read_graph

# Seeds whose random scales and clamps leave the last layer many values.
CASES = [
    ("qemu-cortex-m4", "speed", "td_winograd_s8_dsp", 1),
    ("qemu-cortex-m4", "balanced", "td_taps_depthwise_s8_dsp", 3),
    ("qemu-cortex-m55", "balanced", "td_patch_conv_s8_mve", 1),
]


def chain(kernel: str, seed: int, model: Path) -> None:
    """Three layers in a row, so that the middle one has its input and output in the arena; its
    input is as large as what the others leave, so that the plan lets the two overlap."""
    m = Layers(seed)
    if "taps" in kernel:
        (x,), (y,) = m.window((60, 1, 16), (3, 1), padding="VALID")
        _, (y,) = m.window((58, 1, 16), (5, 1), padding="VALID", after=y)
        _, (y,) = m.window((54, 1, 16), (7, 1), (9, 1), padding="VALID", after=y)
    else:
        dilation = 2 if "patch" in kernel else 1
        (x,), (y,) = m.window((12, 12, 4), (3, 3), channels=16, dilation=dilation)
        _, (y,) = m.window((12, 12, 16), (3, 3), channels=16, dilation=dilation, after=y)
        _, (y,) = m.window((12, 12, 16), (5, 5), (4, 4), channels=2, after=y)
    model.write_bytes(m.model.build([x], [y]))


def overlapping(program: Program, plan: Plan, kernel: str) -> int:
    """Calls of a kernel whose output was placed over a part of their input."""
    found = 0
    for call in program.calls:
        if call.kernel != kernel or not isinstance(overlap_with(call, 0), int):
            continue
        given, output = call.operands[0], call.output
        assert isinstance(given, int)
        a, b = plan.tensors[output], plan.tensors[given]
        found += a < b + program.tensor_bytes[given] and b < a + program.tensor_bytes[output]
    return found


@pytest.mark.qemu
@pytest.mark.parametrize(("board", "optimize", "kernel", "seed"), CASES)
def test_outputs_reach_over_inputs(
    board: str, optimize: str, kernel: str, seed: int, tmp_path: Path
) -> None:
    model = tmp_path / "model.tflite"
    chain(kernel, seed, model)
    target = target_of(find(board), optimize)
    program = specialise(lower(read_graph(model), target), target)
    assert overlapping(program, plan_memory(program), kernel) > 0
    assert_same_on_board(model, board, optimize, tmp_path, 1)
