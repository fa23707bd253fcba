"""CALL_ONCE, IF and WHILE against TFLite-Micro, with their subgraphs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build_model import ModelBuilder
from comparing import assert_same, random_inputs
from control_models import MODELS, SHAPE, condition_on_sum

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.tflite import read_graph


@pytest.mark.parametrize("name", MODELS)
def test_control_flow(name: str, tmp_path: Path) -> None:
    model = tmp_path / f"{name}.tflite"
    model.write_bytes(MODELS[name])
    inputs = random_inputs(model, 12, 1)
    for i, t in enumerate(read_graph(model).inputs):
        if read_graph(model).tensors[t].dtype == "int32":
            inputs[i] = np.random.default_rng(i).integers(0, 9, inputs[i].shape, np.int32)
    assert_same(model, inputs)


def test_a_body_that_contains_itself_is_refused(tmp_path: Path) -> None:
    main = ModelBuilder()
    x, y = main.tensor(SHAPE, "float32"), main.tensor(SHAPE, "float32")
    body = main.body()
    a, b = body.tensor(SHAPE, "float32"), body.tensor(SHAPE, "float32")
    branches = {"then_subgraph_index": 1, "else_subgraph_index": 1}
    body.op("IF", [condition_on_sum(body, a), a], [b], **branches)
    assert main.add_body(body, [a], [b]) == 1
    main.op("IF", [condition_on_sum(main, x), x], [y], **branches)
    model = tmp_path / "model.tflite"
    model.write_bytes(main.build([x], [y]))
    with pytest.raises(UnsupportedModelError, match="deep"):
        AotCompiler().native(model)


def test_a_body_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    main = ModelBuilder()
    x, y = main.tensor(SHAPE, "float32"), main.tensor(SHAPE, "float32")
    main.op("IF", [condition_on_sum(main, x), x], [y], then_subgraph_index=3, else_subgraph_index=3)
    model = tmp_path / "model.tflite"
    model.write_bytes(main.build([x], [y]))
    with pytest.raises(UnsupportedModelError, match="names subgraph 3 of 1"):
        AotCompiler().native(model)
