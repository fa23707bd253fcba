"""The TFLite-Micro bundle: complete, exact, and running on the host."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from build_model import ModelBuilder

from tinydeploy import plugins
from tinydeploy.compiler.tflm import RESOLVER_METHODS, bundle
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.results import SUMS_FILE
from tinydeploy.tflite import read_graph
from tinydeploy.types import DeviceProfile

STUBS = Path(__file__).parent / "tflm_stubs"


def fixed_arena(_: Path) -> Mapping[str, Any]:
    return {"sufficient": 1_001, "origin": "a test"}


def array_bytes(source: str) -> bytes:
    return bytes(int(b, 16) for b in re.findall(r"0x([0-9a-f]{2}),", source))


@pytest.mark.parametrize("name", ["dscnn_int8", "branches_int16x8", "two_inputs_float32"])
def test_a_bundle_runs_in_tflm_with_its_own_arena(root: Path, tmp_path: Path, name: str) -> None:
    model = root / "tests" / "models" / f"{name}.tflite"
    compiled = bundle(model, tmp_path / "out")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*compiled.files, SUMS_FILE}
    assert compiled.engine == "tflm" and compiled.arena_bytes % 16 == 0

    content = array_bytes((compiled.directory / "model_data.cc").read_text())
    assert content == model.read_bytes() == (compiled.directory / "model.tflite").read_bytes()
    from_array = tmp_path / "from_array.tflite"
    from_array.write_bytes(content)

    header = (compiled.directory / "model_arena.h").read_text()
    assert "Origin: host 64-bit" in header
    found = re.search(r"kTensorArenaBytes = (\d+);", header)
    assert found is not None and int(found[1]) == compiled.arena_bytes
    interpreter = plugins.load("interpreter", "tflm")(from_array, compiled.arena_bytes)
    try:
        zeros = [np.zeros((1, *shape), dtype) for shape, dtype in interpreter.inputs]
        outputs = interpreter.predict(zeros)
    finally:
        interpreter.close()
    assert all(np.isfinite(y.astype(float)).all() for y in outputs)


def test_the_resolver_holds_exactly_the_ops_of_the_graph(root: Path, tmp_path: Path) -> None:
    model = root / "tests" / "models" / "branches_int8.tflite"
    bundle(model, tmp_path / "out", arena=fixed_arena)
    header = (tmp_path / "out" / "model_ops.h").read_text()
    methods = re.findall(r"resolver\.(Add\w+)\(", header)
    ops = {op.name for op in read_graph(model).ops}
    assert sorted(methods) == sorted(RESOLVER_METHODS[name] for name in ops)
    assert f"MicroMutableOpResolver<{len(ops)}>" in header


@pytest.mark.parametrize(
    ("name", "registrations"),
    [
        ("dscnn_int8", {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SOFTMAX"}),
        ("dscnn_int16x8", set()),
        ("dscnn_float32", set()),
    ],
)
def test_kernels_for_int8_alone_where_all_layers_are_int8(
    root: Path, tmp_path: Path, name: str, registrations: set[str]
) -> None:
    bundle(root / "tests" / "models" / f"{name}.tflite", tmp_path / "out", arena=fixed_arena)
    header = (tmp_path / "out" / "model_ops.h").read_text()
    found = set(re.findall(r"tflite::Register_(\w+)_INT8\(\)", header))
    assert found >= registrations and bool(found) == bool(registrations)


def test_every_known_op_is_in_the_library() -> None:
    """The symbols of the installed TFLite-Micro name every operator it can register."""
    spec = find_spec("tflite_micro.python.tflite_micro._runtime")
    assert spec is not None and spec.origin is not None
    library = Path(spec.origin).read_bytes()
    for name, method in RESOLVER_METHODS.items():
        symbol = name if name.isupper() else re.sub(r"(?<=[a-z])(?=[A-Z])", "_", method[3:]).upper()
        assert f"Register_{symbol}".encode() in library, name


def test_irregular_method_names() -> None:
    for name, method in {
        "CONV_2D": "AddConv2D",
        "L2_POOL_2D": "AddL2Pool2D",
        "RELU6": "AddRelu6",
        "GATHER_ND": "AddGatherNd",
        "PADV2": "AddPadV2",
        "BATCH_MATMUL": "AddBatchMatMul",
        "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
        "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    }.items():
        assert RESOLVER_METHODS[name] == method


def test_the_sources_compile_and_run(root: Path, tmp_path: Path) -> None:
    """Against stub headers: the data is linked, aligned and unchanged; main's calls are right.

    The stubs declare what `main.cc` uses of TFLite-Micro and check what they are given; they do
    not compute.
    """
    compiler = shutil.which("g++")
    assert compiler is not None, "make setup installs g++ with gcc"
    model = root / "tests" / "models" / "dscnn_int8.tflite"
    out = bundle(model, tmp_path / "out").directory
    include = tmp_path / "include"
    shutil.copytree(STUBS, include)
    methods = "".join(
        f"  TfLiteStatus {m}(Registration = {{}}) {{ return Add(); }}\n"
        for m in RESOLVER_METHODS.values()
    )
    (include / "resolver_methods.inc").write_text(methods)
    options = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{include}", f"-I{out}"]
    files = [str(out / "main.cc"), str(out / "model_data.cc"), "-o", str(tmp_path / "main")]
    subprocess.run([compiler, *options, *files], check=True)
    done = subprocess.run([str(tmp_path / "main")], check=True, capture_output=True)
    assert done.stdout == model.read_bytes()


def test_a_board_is_named_in_the_readme(root: Path, tmp_path: Path) -> None:
    board = DeviceProfile("my-board", "", "cortex-m4", 1 << 20, 1 << 16, 1_000_000, "ststm32")
    bundle(root / "tests" / "models" / "dscnn_int8.tflite", tmp_path, board, arena=fixed_arena)
    readme = (tmp_path / "README.md").read_text()
    assert "for my-board" in readme and "1,008" in readme and "a test" in readme


def test_a_model_name_cannot_break_out_of_a_comment(root: Path, tmp_path: Path) -> None:
    model = tmp_path / "x\n#error\\.tflite"
    model.write_bytes((root / "tests" / "models" / "dscnn_int8.tflite").read_bytes())
    bundle(model, tmp_path / "out", arena=fixed_arena)
    first = (tmp_path / "out" / "main.cc").read_text().splitlines()[0]
    assert first.startswith("// Made by tinydeploy from x?#error?.tflite")


def test_unknown_ops_are_named_and_nothing_is_left(tmp_path: Path) -> None:
    build = ModelBuilder()
    a, b, c = (build.tensor([1, 4], "float32") for _ in range(3))
    build.op("RELU", [a], [b])
    build.op("MyOwnOp", [b], [c])
    model = tmp_path / "custom.tflite"
    model.write_bytes(build.build([a], [c]))
    with pytest.raises(UnsupportedModelError, match=r"layer 1, MyOwnOp") as error:
        bundle(model, tmp_path / "out")
    assert error.value.hint
    assert [p.name for p in tmp_path.iterdir()] == ["custom.tflite"]


def test_weight_only_quantization_is_refused(tmp_path: Path) -> None:
    """TFLite-Micro runs such a model and computes wrong numbers."""
    build = ModelBuilder()
    x, y, w = (build.tensor(s, "float32") for s in ([1, 4], [1, 3], [3, 4]))
    q = build.tensor([3, 4], "int8", [0.1, 0.2, 0.3], data=np.ones((3, 4), np.int8))
    build.op("DEQUANTIZE", [q], [w])
    build.op("FULLY_CONNECTED", [x, w, -1], [y])
    model = tmp_path / "weight_only.tflite"
    model.write_bytes(build.build([x], [y]))
    with pytest.raises(UnsupportedModelError, match="weight-only"):
        bundle(model, tmp_path / "out")


def test_an_existing_folder_survives_a_refusal(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bundle(root / "tests" / "models" / "dscnn_int8.tflite", out, arena=fixed_arena)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def refuses(_: Path) -> Mapping[str, Any]:
        raise UnsupportedModelError("no", hint="none")

    with pytest.raises(UnsupportedModelError):
        bundle(root / "tests" / "models" / "resnet_int8.tflite", out, arena=refuses)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    with pytest.raises(UsageError):
        bundle(tmp_path / "absent.tflite", out)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["kws_ref_model", "ad01_int8"])
def test_mlperf_tiny_bundles(shared: Path, tmp_path: Path, name: str) -> None:
    model = shared / "models" / "mlperf_tiny" / f"{name}.tflite"
    compiled = bundle(model, tmp_path / "out")
    assert compiled.arena_bytes == {"kws_ref_model": 24_272, "ad01_int8": 4_688}[name]
    text = (compiled.directory / "model_data.cc").read_text()
    assert array_bytes(text) == model.read_bytes()


def test_variables_are_refused(tmp_path: Path) -> None:
    """Operators without an output among them."""
    builder = ModelBuilder()
    handle = builder.tensor((), "resource")
    x, y = builder.tensor((1, 4), "float32"), builder.tensor((1, 4), "float32")
    builder.op("VAR_HANDLE", [], [handle], container="", shared_name="v")
    builder.op("READ_VARIABLE", [handle], [y])
    builder.op("ASSIGN_VARIABLE", [handle, x], [])
    model = tmp_path / "model.tflite"
    model.write_bytes(builder.build([x], [y]))
    with pytest.raises(UnsupportedModelError, match=r"layer 2, ASSIGN_VARIABLE .* variables"):
        bundle(model, tmp_path / "out", arena=fixed_arena)
