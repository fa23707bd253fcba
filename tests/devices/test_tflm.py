"""Firmware of the `tflm` engine: which library is taken, and the C++ around it.

The real library is not part of the project; a tree that is laid out like it stands in (see
data/tflm/README.md). What these tests show is that it is found, compiled and called rightly.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import tflm
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.loopback import LoopbackRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.devices.tflm_kernels import FOLDER, kernels
from tinydeploy.errors import DeviceError, ToolMissingError, UsageError
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, DeviceProfile

GRAPH = read_graph(SMALL_MODEL)
LAYERS = len(GRAPH.ops)
OPS = {op.name for op in GRAPH.ops}
ARENA_BYTES = 4096
MICRO = "tensorflow/lite/micro"


def bytes_of(tensor: int) -> int:
    return GRAPH.tensors[tensor].elements


@pytest.fixture
def stub(tflm_stub: Path) -> Path:
    return tflm_stub


def board() -> DeviceProfile:
    return replace(find("loopback"), emulator={})


def build(library: Path, folder: Path, arena_bytes: int, profile: bool = False) -> Build:
    compiled = AotCompiler().compile(
        SMALL_MODEL,
        folder / "source",
        device=board(),
        engine="tflm",
        profile=profile,
        tflm_arena=(arena_bytes, "a test"),
    )
    return PlatformioBuilder(str(library)).build(compiled, SMALL_MODEL, board(), folder / "build")


def some_inputs() -> list[np.ndarray]:
    shape = GRAPH.tensors[GRAPH.inputs[0]].shape[1:]
    return [np.random.default_rng(6).integers(-128, 128, (3, *shape), dtype=np.int8)]


# ---------------------------------------------------------------- the firmware
def test_the_firmware_speaks_for_the_interpreter(stub: Path, tmp_path: Path) -> None:
    built = build(stub, tmp_path, ARENA_BYTES)
    assert built.engine == "tflm"
    assert LoopbackRunner().identify(built, board()).engine == "tflm"
    x = some_inputs()
    (y,), measured = LoopbackRunner().run(built, board(), x)
    expected = np.invert(x[0].reshape(3, -1)[:, : bytes_of(GRAPH.outputs[0])])
    np.testing.assert_array_equal(y.reshape(3, -1), expected)
    assert measured.arena_bytes == ARENA_BYTES
    split = built.footprint
    assert split.ram["arena"] == ARENA_BYTES
    assert split.flash["weights"] >= SMALL_MODEL.stat().st_size
    assert sum(split.flash.values()) == split.flash_bytes


def test_it_marks_its_layers(stub: Path, tmp_path: Path) -> None:
    built = build(stub, tmp_path, ARENA_BYTES, profile=True)
    profile = LoopbackRunner().profile(built, board(), some_inputs())
    assert [layer.layer for layer in profile.layers] == list(range(LAYERS))
    assert all(layer.begun == 1 for layer in profile.layers)


def test_an_arena_that_is_too_small_is_an_error(stub: Path, tmp_path: Path) -> None:
    built = build(stub, tmp_path, ARENA_BYTES - 16)
    with pytest.raises(DeviceError):
        LoopbackRunner().run(built, board(), some_inputs())


# ---------------------------------------------------------------- the library
def files_of(library: tflm.TflmLibrary, name: str) -> set[str]:
    return {f for part in library.sources if part.name == name for f in part.files}


def test_takes_what_belongs_to_the_library(stub: Path) -> None:
    (stub / MICRO / "micro_time_test.cc").write_text("")
    (stub / MICRO / "debug_log.cc").write_text("")
    found = tflm.library(str(stub), board(), OPS)
    assert files_of(found, "tflm_core") == {f"{MICRO}/micro_interpreter.cc"}
    assert files_of(found, "tflm_kernels") == {f"{MICRO}/kernels/conv.cc"}
    flags = {part.name: part.flags for part in found.sources}
    assert "-Os" in flags["tflm_core"] and "-O2" in flags["tflm_kernels"]
    assert "-DTF_LITE_STRIP_ERROR_STRINGS" in found.cxx_flags


def test_messages_stay_where_a_profiler_is_called(stub: Path) -> None:
    found = tflm.library(str(stub), board(), OPS, profile=True)
    assert "-DTF_LITE_STRIP_ERROR_STRINGS" not in found.cxx_flags


def test_optimized_kernels_take_the_place_of_reference_ones(stub: Path) -> None:
    cmsis = stub / "third_party" / "cmsis_nn"
    (cmsis / "Include").mkdir(parents=True)
    (cmsis / "Include" / "arm_nnfunctions.h").write_text("")
    (cmsis / "Source").mkdir()
    for name in ("arm_conv_s8.c", "arm_conv_f32.c"):
        (cmsis / "Source" / name).write_text("")
    core = replace(board(), core="cortex-m4")
    found = tflm.library(str(stub), core, OPS)
    assert files_of(found, "tflm_kernels") == {f"{MICRO}/kernels/cmsis_nn/conv.cc"}
    assert files_of(found, "cmsis_nn") == {"Source/arm_conv_s8.c"}
    assert "-DCMSIS_NN" in found.cxx_flags
    assert not files_of(tflm.library(str(stub), board(), OPS), "cmsis_nn")


def test_is_found_in_src_and_among_downloads(stub: Path, tmp_path: Path) -> None:
    arduino = tmp_path / "arduino"
    arduino.mkdir()
    shutil.copytree(stub, arduino / "src")
    downloads = arduino / "src" / MICRO / "tools" / "make" / "downloads"
    downloads.parent.mkdir(parents=True)
    (arduino / "src" / "third_party").rename(downloads)
    found = tflm.library(str(arduino), board(), OPS)
    assert f"{downloads}/gemmlowp" in " ".join(found.cxx_flags)


def test_its_identity_is_its_content(stub: Path) -> None:
    first = tflm.library(str(stub), board(), OPS)
    assert tflm.library(str(stub), board(), OPS).identity == first.identity
    with (stub / MICRO / "micro_interpreter.h").open("a") as file:
        file.write("// changed\n")
    assert tflm.library(str(stub), board(), OPS).identity != first.identity


def test_anything_else_is_for_lib_deps() -> None:
    found = tflm.library("owner/TensorFlowLite@1.2.3", board(), OPS)
    assert found.lib_deps == "owner/TensorFlowLite@1.2.3" and not found.sources


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("", "needs a TFLite-Micro library", "--tflm-lib"),
        ("absent", "there is no folder absent", "folder"),
        ("./absent", "there is no folder", "folder"),
    ],
)
def test_says_which_library_it_needs(name: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as error:
        tflm.library(name, board(), OPS)
    assert hint in error.value.hint


def test_refuses_a_folder_that_is_not_whole(stub: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no TFLite-Micro"):
        tflm.library(str(tmp_path), board(), OPS)
    shutil.rmtree(stub / "third_party" / "gemmlowp")
    with pytest.raises(UsageError, match="lacks gemmlowp") as error:
        tflm.library(str(stub), board(), OPS)
    assert "create_tflm_tree" in error.value.hint


@pytest.mark.qemu
def test_a_core_without_a_cxx_library_is_refused(stub: Path) -> None:
    with pytest.raises(ToolMissingError) as error:
        tflm.library(str(stub), find("qemu-rv32"), OPS)
    assert re.search("aot engine|install", error.value.hint)


# ---------------------------------------------------------------- the kernels
def registration(op: str, *headers: str) -> str:
    includes = "".join(f'#include "{FOLDER}/{header}.h"\n' for header in headers)
    return f"{includes}\nTFLMRegistration Register_{op}() {{\n  return {{}};\n}}\n"


@pytest.fixture
def root_of_kernels(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    (folder / "cmsis_nn").mkdir(parents=True)
    files = {
        "add.cc": registration("ADD", "add"),
        "add_common.cc": f'#include "{FOLDER}/add.h"\n',
        "add.h": f'#include "{FOLDER}/util.h"\n',
        "util.h": "",
        "util.cc": "",
        "sub.cc": registration("SUB", "sub", "add"),
        "mul.cc": registration("MUL"),
        "mul_test.cc": registration("MUL"),
        "cmsis_nn/add.cc": registration("ADD_INT8", "add") + registration("ADD", "add"),
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("ops", "optimized", "names"),
    [
        ({"MUL"}, False, {"mul.cc"}),
        ({"ADD"}, False, {"add.cc", "add_common.cc", "util.cc"}),
        ({"ADD"}, True, {"cmsis_nn/add.cc", "add_common.cc", "util.cc"}),
        ({"SUB"}, False, {"sub.cc", "add.cc", "add_common.cc", "util.cc"}),
        ({"UNKNOWN"}, False, {"add.cc", "add_common.cc", "util.cc", "sub.cc", "mul.cc"}),
    ],
)
def test_takes_the_kernels_of_the_model_alone(
    root_of_kernels: Path, ops: set[str], optimized: bool, names: set[str]
) -> None:
    found = kernels(root_of_kernels, ops, optimized=optimized)
    assert {name.removeprefix(f"{FOLDER}/") for name in found} == names
