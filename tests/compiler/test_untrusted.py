"""Models made to break the compiler: they compile or are refused, nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from build_model import ACTIVATION, PADDING, ModelBuilder
from hypothesis import given, settings
from hypothesis import strategies as st
from more_layers import MORE_LAYERS
from random_layers import LayerMaker

from tinydeploy.compiler.aot import _planned
from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.plan import plan_memory
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.tflite import read_graph

MODEL = (Path(__file__).parents[1] / "models" / "branches_int8.tflite").read_bytes()


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("untrusted")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(8, len(MODEL) - 1), st.integers(0, 255)), max_size=6))
def test_flipped_bytes(changes: list[tuple[int, int]]) -> None:
    data = bytearray(MODEL)
    for position, value in changes:
        data[position] = value
    try:
        lower(read_graph(bytes(data)), Target())
    except UnsupportedModelError as error:
        assert error.hint


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([(n, t) for n, (_, types) in MORE_LAYERS.items() for t in types]),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 1 << 20),
)
def test_flipped_bytes_of_single_layers(
    layer: tuple[str, str], changes: list[tuple[float, int]], seed: int
) -> None:
    """They become C, or are refused with a hint."""
    name, dtype = layer
    function, _ = MORE_LAYERS[name]
    data = bytearray(LayerMaker(seed, dtype).build(lambda maker: function(maker, name), 1))
    for position, value in changes:
        data[8 + int(position * (len(data) - 9))] = value
    try:
        graph = read_graph(bytes(data))
        program = lower(graph, Target())
        emit(graph, program, plan_memory(program))
    except UnsupportedModelError as error:
        assert error.hint


def test_shape_without_an_input_is_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 4), "int8", 1.0)
    y = m.tensor((2,), "int32")
    m.op("SHAPE", [], [y], out_type=2)
    assert "SHAPE" in refusal(m, x, y)


def test_more_inputs_than_firmware_counts_are_refused() -> None:
    m = ModelBuilder()
    inputs = [m.tensor((1,), "float32") for _ in range(256)]
    y = m.tensor((1,), "float32")
    m.op("ADD_N", inputs, [y])
    with pytest.raises(UnsupportedModelError, match="256 inputs"):
        lower(read_graph(m.build(inputs, [y])), Target())


def refusal(m: ModelBuilder, x: int, y: int) -> str:
    with pytest.raises(UnsupportedModelError) as caught:
        lower(read_graph(m.build([x], [y])), Target())
    return str(caught.value)


def test_sums_that_overflow_are_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 4), "int8", 1.0, -128)
    w = m.tensor((1, 4), "int8", 1.0, 0, np.full((1, 4), 127, np.int8))
    b = m.tensor((1,), "int32", 1.0, 0, np.array([2**31 - 1], np.int32))
    y = m.tensor((1, 1), "int8", 1.0)
    m.op("FULLY_CONNECTED", [x, w, b], [y])
    assert "sums can exceed 32 bits" in refusal(m, x, y)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_long_rows_of_softmax_are_refused(dtype: str) -> None:
    m = ModelBuilder()
    length = {"int8": 4096, "int16": 65536}[dtype]
    scale, zero = {"int8": (1 / 256, -128), "int16": (1 / 32768, 0)}[dtype]
    x = m.tensor((1, length), dtype, 0.1)
    y = m.tensor((1, length), dtype, scale, zero)
    m.op("SOFTMAX", [x], [y], beta=1.0)
    assert "too long" in refusal(m, x, y)


def test_wide_means_are_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 65536, 2), "int16", 0.1)
    axis = m.tensor((1,), "int32", data=np.array([1], np.int32))
    y = m.tensor((1, 2), "int16", 0.1)
    m.op("MEAN", [x, axis], [y])
    assert "more than 32 bits hold" in refusal(m, x, y)


@pytest.mark.parametrize("scale", [1e-42, 1e30])
def test_absurd_scales_are_refused_or_compiled(scale: float) -> None:
    m = ModelBuilder()
    x = m.tensor((1, 4, 4, 1), "int8", scale)
    w = m.tensor((2, 1, 1, 1), "int8", [1.0, 1e-30], 0, np.ones((2, 1, 1, 1), np.int8))
    y = m.tensor((1, 4, 4, 2), "int8", 1e-38)
    m.op(
        "CONV_2D",
        [x, w],
        [y],
        padding=PADDING["SAME"],
        stride_w=1,
        stride_h=1,
        fused_activation_function=ACTIVATION["RELU6"],
    )
    assert "too" in refusal(m, x, y)


def test_axes_outside_the_shape_are_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((), "int8", 1.0)
    axis = m.tensor((1,), "int32", data=np.array([0], np.int32))
    y = m.tensor((), "int8", 1.0)
    m.op("MEAN", [x, axis], [y])
    assert "axes" in refusal(m, x, y)


def test_a_zero_point_outside_its_type_is_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((2, 2), "int8", 1.0, 2**40)
    paddings = m.tensor((2, 2), "int32", data=np.ones((2, 2), np.int32))
    y = m.tensor((4, 4), "int8", 1.0, 2**40)
    m.op("PAD", [x, paddings], [y])
    assert "zero point" in refusal(m, x, y)


def test_a_type_that_firmware_does_not_know_is_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((2, 2), "float16")
    y = m.tensor((4,), "float16")
    m.op("RESHAPE", [x, -1], [y])
    assert "float16" in refusal(m, x, y)


def test_empty_tensors_are_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 0), "int8", 1.0)
    w = m.tensor((1, 0), "int8", 1.0)
    y = m.tensor((1, 1), "int8", 1.0)
    m.op("FULLY_CONNECTED", [x, w], [y])
    with pytest.raises(UnsupportedModelError, match="empty"):
        lower(read_graph(m.build([x, w], [y])), Target())


def test_a_constant_input_of_a_convolution_is_refused() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 2), "int8", 1.0, 0, np.ones((1, 2), np.int8))
    other = m.tensor((1, 1), "int8", 1.0)
    w = m.tensor((1, 2), "int8", 1.0, 0, np.ones((1, 2), np.int8))
    y = m.tensor((1, 1), "int8", 1.0)
    m.op("FULLY_CONNECTED", [x, w], [y])
    assert "constant" in refusal(m, other, y)


def test_names_cannot_leave_their_comments(scratch: Path) -> None:
    m = ModelBuilder()
    x = m.tensor((1, 2), "int8", 1.0, name='*/ #error "out" /*\n#error')
    y = m.tensor((1, 2), "int8", 1.0, name="\\\n")
    m.op("RELU6", [x], [y])
    model = scratch / "names.tflite"
    model.write_bytes(m.build([x], [y]))
    source = emit(*_planned(model, Target()))["td_model.c"]
    for line in source.splitlines():
        if "error" in line:
            assert line.index("/*") < line.index("error") < line.index("*/")
        assert not line.endswith("\\")
