"""Shape arithmetic that converters leave is done at compile time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build_model import ModelBuilder
from comparing import assert_same, random_inputs

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.tflite import read_graph


def flatten_model() -> bytes:
    """Keras' Flatten with a dynamic batch: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""
    m = ModelBuilder()
    x = m.tensor((1, 2, 3), "int8", 0.5, 1)
    shape = m.tensor((3,), "int32")
    m.op("SHAPE", [x], [shape], out_type=2)
    begin, end, strides = (m.tensor((1,), "int32", data=np.array([v], np.int32)) for v in (0, 1, 1))
    batch = m.tensor((), "int32")
    m.op("STRIDED_SLICE", [shape, begin, end, strides], [batch], shrink_axis_mask=1)
    minus_one = m.tensor((), "int32", data=np.array(-1, np.int32))
    target = m.tensor((2,), "int32")
    m.op("PACK", [batch, minus_one], [target], values_count=2, axis=0)
    y = m.tensor((1, 6), "int8", 0.5, 1)
    m.op("RESHAPE", [x, target], [y])
    z = m.tensor((1, 6), "int8", 0.5, 1)
    m.op("RELU6", [y], [z])
    return m.build([x], [z])


def test_flatten_leaves_one_call(tmp_path: Path) -> None:
    program = lower(read_graph(flatten_model()), Target())
    assert [call.kernel for call in program.calls] == ["td_clamp_s8"]
    model = tmp_path / "flatten.tflite"
    model.write_bytes(flatten_model())
    assert_same(model, random_inputs(model, 5))


def test_a_constant_output_is_copied(tmp_path: Path) -> None:
    m = ModelBuilder()
    x = m.tensor((2, 3), "int8", 0.5, 1)
    shape = m.tensor((2,), "int32", name="shape")
    m.op("SHAPE", [x], [shape], out_type=2)
    y = m.tensor((2, 3), "int8", 0.5, 1)
    m.op("RELU6", [x], [y])
    model = tmp_path / "shape.tflite"
    model.write_bytes(m.build([x], [y, shape]))
    outputs = AotCompiler().native(model).predict([np.zeros((2, 2, 3), np.int8)])
    assert outputs[1].tolist() == [[2, 3], [2, 3]]


def test_what_is_not_constant_is_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((4,), "int32")
    y = m.tensor((2, 4), "int32")
    m.op("RESHAPE", [x, x], [y])
    with pytest.raises(UnsupportedModelError, match="RESHAPE"):
        lower(read_graph(m.build([x], [y])), Target())
