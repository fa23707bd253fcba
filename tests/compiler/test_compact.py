"""`size` counts the kernels' code: small nets take the portable kernels, and compute the same."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparing import random_inputs
from few_bits import few_bits_model
from more_layers import MORE_LAYERS
from random_layers import LAYERS, LayerMaker

from tinydeploy.compiler.aot import AotCompiler, target_of
from tinydeploy.compiler.lower import lower
from tinydeploy.compiler.lower.compact import code_bytes, compact
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.tflite import read_graph

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("board", ["qemu-cortex-m4", "qemu-cortex-m3"])
def test_the_whole_of_a_small_net_is_smaller(board: str, tmp_path: Path) -> None:
    """The linker's figures, and the outputs of both levels."""
    device = find(board)
    model = tmp_path / "model.tflite"
    model.write_bytes(few_bits_model("dense"))
    inputs = random_inputs(model, 2)
    engine, outputs = {}, {}
    for level in ("size", "balanced"):
        compiled = AotCompiler().compile(model, tmp_path / level, device=device, optimize=level)
        build = PlatformioBuilder().build(compiled, model, device, tmp_path / f"build_{level}")
        flash = build.footprint.flash
        engine[level] = flash["weights"] + flash["tables"] + flash["engine_code"]
        outputs[level] = QemuRunner().run(build, device, inputs)[0][0]
    assert engine["size"] + 1000 < engine["balanced"]
    np.testing.assert_array_equal(outputs["size"], outputs["balanced"])


def test_code_is_counted_once(tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(few_bits_model("dense"))
    target = target_of(find("qemu-cortex-m4"), "size")
    lowered = lower(read_graph(model), target)
    small, fast = compact(lowered, target), specialise(lowered, target)
    assert code_bytes(small.calls) < code_bytes(fast.calls)
    assert code_bytes([*fast.calls, *fast.calls]) == code_bytes(fast.calls)
    assert code_bytes(fast.calls) < sum(code_bytes([call]) for call in fast.calls)


def test_much_work_is_worth_code(tmp_path: Path) -> None:
    """A kernel of 1 KB is not given up for a hundred times its cycles."""
    model = tmp_path / "model.tflite"
    model.write_bytes(few_bits_model("dense"))
    target = target_of(find("qemu-cortex-m4"), "size")
    lowered = lower(read_graph(model), target)
    call = next(c for c in lowered.calls if c.kernel == "td_matmul_s8")
    many = dataclasses.replace(call, params={**call.params, "rows": 10**6})
    alone = dataclasses.replace(lowered, calls=(many,))
    assert compact(alone, target).calls[0].kernel == "td_matmul_s8_dsp"


@pytest.mark.parametrize("dtype", ["int8", "int16", "float32", "int32", "bool"])
def test_every_operator_is_weighed(dtype: str, tmp_path: Path) -> None:
    """Nothing but a kernel changes, and only where there are others, whatever an operator needs."""
    operators = {name: make for name, (make, types) in MORE_LAYERS.items() if dtype in types}
    makers = [lambda m, name=name, make=make: make(m, name) for name, make in operators.items()]
    if dtype in ("int8", "int16", "float32"):
        makers += LAYERS.values()
    target = target_of(find("qemu-cortex-m4"), "size")
    for make in makers:
        model = tmp_path / "model.tflite"
        model.write_bytes(LayerMaker(1, dtype).build(make, 3))
        lowered = lower(read_graph(model), target)
        small = compact(lowered, target)
        weighed = {choice.layer for choice in small.choices}
        for before, after in zip(lowered.calls, small.calls, strict=True):
            assert before == after or before.op_index in weighed
            assert (before.op_index, before.output) == (after.op_index, after.output)


def test_the_table_is_what_the_compiler_makes() -> None:
    """Within a tenth, so that another version of GCC does not fail it."""
    script = ROOT / "scripts/code_sizes.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
