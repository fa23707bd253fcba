from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from build_model import ACTIVATION, PADDING, ModelBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph_stats import macs, op_weight_bytes, parameters, total_macs, weight_bytes
from tinydeploy.tflite import expose_intermediates, read_graph


def small_model() -> bytes:
    """Conv, reshape and fully connected: constants, options, per-channel scales."""
    rng = np.random.default_rng(1)
    m = ModelBuilder()
    x = m.tensor((1, 6, 5, 3), "int8", 0.5, 3, name="x")
    w = m.tensor(
        (4, 3, 3, 3),
        "int8",
        [0.1, 0.2, 0.3, 0.4],
        0,
        rng.integers(-127, 127, (4, 3, 3, 3), np.int8),
    )
    b = m.tensor((4,), "int32", [0.05, 0.1, 0.15, 0.2], 0, np.arange(4, dtype=np.int32))
    y = m.tensor((1, 6, 5, 4), "int8", 0.7, -5)
    m.op(
        "CONV_2D",
        [x, w, b],
        [y],
        padding=PADDING["SAME"],
        stride_w=1,
        stride_h=1,
        fused_activation_function=ACTIVATION["RELU6"],
    )
    shape = m.tensor((2,), "int32", data=np.array([1, 120], np.int32))
    z = m.tensor((1, 120), "int8", 0.7, -5)
    m.op("RESHAPE", [y, shape], [z], new_shape=np.array([1, 120], np.int32))
    v = m.tensor((2, 120), "int8", 0.01, 0, rng.integers(-127, 127, (2, 120), np.int8))
    out = m.tensor((1, 2), "int8", 1.5, 10, name="logits")
    m.op("FULLY_CONNECTED", [z, v, -1], [out])
    return m.build([x], [out])


MODEL = small_model()


def test_reads_what_was_written() -> None:
    graph = read_graph(MODEL)
    assert [op.name for op in graph.ops] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert graph.ops[0].options["padding"] == "SAME"
    assert graph.ops[0].options["fused_activation_function"] == "RELU6"
    assert graph.ops[1].options["new_shape"] == (1, 120)
    assert graph.ops[2].inputs[2] == -1
    x = graph.tensors[graph.inputs[0]]
    assert (x.name, x.shape, x.dtype, x.zero_points) == ("x", (1, 6, 5, 3), "int8", (3,))
    bias = graph.tensors[graph.ops[0].inputs[2]]
    assert bias.data is not None
    assert bias.data.tolist() == [0, 1, 2, 3]
    assert graph.tensors[graph.ops[0].inputs[1]].scales == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert graph.tensors[graph.outputs[0]].name == "logits"


def test_figures() -> None:
    graph = read_graph(MODEL)
    assert macs(graph.ops[0], graph) == 6 * 5 * 4 * 27
    assert macs(graph.ops[1], graph) == 0
    assert total_macs(graph) == 6 * 5 * 4 * 27 + 240
    assert op_weight_bytes(graph.ops[0], graph) == 108 + 16
    assert weight_bytes(graph) == 108 + 16 + 8 + 240
    assert parameters(graph) == 108 + 4 + 240


def test_int4_is_unpacked() -> None:
    m = ModelBuilder()
    x = m.tensor((1, 3), "int8", 1.0)
    w = m.tensor((1, 3), "int4", 1.0, data=np.array([0x7F, 0x08], np.uint8))
    y = m.tensor((1, 1), "int8", 1.0)
    m.op("FULLY_CONNECTED", [x, w], [y])
    weights = read_graph(m.build([x], [y])).tensors[w].data
    assert weights is not None
    assert weights.tolist() == [[-1, 7, -8]]


def test_intermediates_become_outputs() -> None:
    exposed = expose_intermediates(MODEL)
    before, after = read_graph(MODEL), read_graph(exposed)
    produced = {t for op in before.ops for t in op.outputs}
    assert after.outputs[0] == before.outputs[0]
    assert set(after.outputs) == produced
    assert len(after.outputs) == len(produced)
    assert [t.name for t in after.tensors] == [t.name for t in before.tensors]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_graph(tmp_path / "absent.tflite")


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model at all, really", bytes(64)])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(UnsupportedModelError) as caught:
        read_graph(data)
    assert caught.value.hint


def test_every_truncation_is_refused_or_reads() -> None:
    for n in range(len(MODEL)):
        try:
            read_graph(MODEL[:n])
        except UnsupportedModelError as error:
            assert error.hint


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, len(MODEL) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_flipped_bytes_never_escape(changes: list[tuple[int, int]]) -> None:
    data = bytearray(MODEL)
    for position, value in changes:
        data[position] = value
    try:
        read_graph(bytes(data))
    except UnsupportedModelError as error:
        assert error.hint


@settings(max_examples=200, deadline=None)
@given(
    st.integers(2, len(MODEL) // 4 - 1),
    st.sampled_from([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000, 0x00FFFFFF]),
)
def test_huge_numbers_never_hang(word: int, value: int) -> None:
    data = bytearray(MODEL)
    struct.pack_into("<I", data, 4 * word, value)
    try:
        read_graph(bytes(data))
    except UnsupportedModelError as error:
        assert error.hint


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_behind_the_identifier(tail: bytes) -> None:
    with pytest.raises(UnsupportedModelError):
        read_graph(b"\x10\x00\x00\x00TFL3" + tail)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.ops[0], "opcodeIndex", 99), "operator code 99"),
        (lambda m: m.ops[0].inputs.__setitem__(0, 55), "does not exist"),
        (lambda m: m.ops[0].inputs.__setitem__(0, m.ops[0].outputs[0]), "before it is written"),
        (lambda m: m.tensors[1].quantization.scale.__setitem__(0, np.nan), "makes no sense"),
        (lambda m: m.tensors[0].shape.__setitem__(0, -1), "shape"),
        (lambda m: m.tensors[0].shape.__setitem__(slice(None), 30000), "1 GiB"),
        (lambda m: m.tensors[1].shape.__setitem__(3, 9), "its shape"),
    ],
)
def test_what_is_wrong_is_said(change: object, message: str) -> None:
    m = ModelBuilder()
    x = m.tensor((1, 2, 2, 2), "int8", 1.0)
    w = m.tensor((1, 1, 1, 2), "int8", 1.0, data=np.ones((1, 1, 1, 2), np.int8))
    y = m.tensor((1, 2, 2, 1), "int8", 1.0)
    m.op("CONV_2D", [x, w], [y], stride_w=1, stride_h=1)
    change(m)  # type: ignore[operator]
    with pytest.raises(UnsupportedModelError, match=message):
        read_graph(m.build([x], [y]))


def test_reading_needs_no_interpreter() -> None:
    code = (
        "import sys; from tinydeploy.tflite import read_graph; read_graph(sys.stdin.buffer.read());"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert.interpreter'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], input=MODEL, check=True, timeout=60)


@pytest.mark.shared
def test_macs_of_mlperf_tiny(shared: Path) -> None:
    folder = shared / "models" / "mlperf_tiny"
    expected = {
        "kws_ref_model.tflite": 2_656_768,
        "pretrainedResnet_quant.tflite": 12_501_632,
        "ad01_int8.tflite": 264_192,
        "str_ww_ref_model.tflite": 826_368,
    }
    assert {name: total_macs(read_graph(folder / name)) for name in expected} == expected
