"""Nothing is read that was not written: the arena is filled with garbage before each inference."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from comparing import random_inputs
from random_graphs import GraphMaker

from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.compiler.native import NativePredictor
from tinydeploy.compiler.plan import Plan, plan_memory
from tinydeploy.compiler.program import Program
from tinydeploy.tflite import read_graph

MODELS = sorted((Path(__file__).parents[1] / "models").glob("*.tflite"))
INVOKE = "void td_model_invoke(void)\n{\n"


def poisoned(source: str, program: Program, plan: Plan, byte: int) -> str:
    """The model's C with every byte of the arena overwritten first, but for inputs and state."""
    kept = [
        f"(i >= {plan.tensors[t]} && i < {plan.tensors[t] + program.tensor_bytes[t]})"
        for t in (*program.inputs, *program.persistent)
    ]
    loop = (
        "    for (uint32_t i = 0; i < sizeof td_arena; i++)\n"
        f"        if (!({' || '.join(kept)}))\n            td_arena[i] = {byte};\n"
    )
    assert source.count(INVOKE) == 1
    return source.replace(INVOKE, INVOKE + loop)


def assert_clean(model: Path, target: Target) -> None:
    graph = read_graph(model)
    program = specialise(lower(graph, target), target)
    plan = plan_memory(program)
    sources = emit(graph, program, plan)
    inputs = random_inputs(model, 4)
    expected = NativePredictor(graph, sources).predict(inputs)
    for byte in (0x5A, 0x81):
        garbage = {**sources, "td_model.c": poisoned(sources["td_model.c"], program, plan, byte)}
        for a, b in zip(NativePredictor(graph, garbage).predict(inputs), expected, strict=True):
            np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize("core", ["", "cortex-m3"])
@pytest.mark.parametrize("model", MODELS, ids=lambda path: path.stem)
def test_models(model: Path, core: str) -> None:
    assert_clean(model, Target(core=core))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize("seed", range(5))
def test_random_graphs(seed: int, dtype: str, tmp_path: Path) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(GraphMaker(seed, dtype).build(20))
    assert_clean(model, Target())


def test_the_poison_is_tasted() -> None:
    """Without the call that writes what the second one reads, the result is the poison's."""
    model = next(path for path in MODELS if path.stem == "dscnn_int8")
    graph = read_graph(model)
    program = lower(graph, Target())
    plan = plan_memory(program)
    sources = emit(graph, program, plan)
    headless = re.sub(r"    \w+\(&td_tables_call0, .*\n", "", sources["td_model.c"])
    assert headless != sources["td_model.c"]
    results = []
    for byte in (0x5A, 0x81):
        text = poisoned(headless, program, plan, byte)
        native = NativePredictor(graph, {**sources, "td_model.c": text})
        results.append(native.predict(random_inputs(model, 2))[0])
    assert (results[0] != results[1]).any()
