from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from build_model import ModelBuilder

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.compiler.lower import LOWERINGS
from tinydeploy.compiler.native import CFLAGS, firmware_dir, kernels_dir
from tinydeploy.errors import ToolMissingError, UnsupportedModelError, UsageError
from tinydeploy.results import SUMS_FILE

MODELS = Path(__file__).parents[1] / "models"
STRICT = ("-Wall", "-Wextra", "-Werror", "-std=c11", "-O2", "-ffp-contract=off")


def unknown_op_model(tmp_path: Path) -> Path:
    m = ModelBuilder()
    x = m.tensor((1, 4), "int8", 1.0)
    y = m.tensor((1, 4), "int8", 1.0, name="first")
    z = m.tensor((1, 4), "int8", 1.0, name="second")
    m.op("RFFT2D", [x], [y])
    m.op("my_operator", [y], [z])
    model = tmp_path / "unknown.tflite"
    model.write_bytes(m.build([x], [z]))
    return model


def hybrid_model(tmp_path: Path, dtype: str) -> Path:
    m = ModelBuilder()
    x = m.tensor((1, 2), "float16" if dtype == "float16" else "float32")
    data = np.ones((3, 2), dtype)
    w = m.tensor((3, 2), dtype, None if dtype == "float16" else 0.5, 0, data)
    y = m.tensor((1, 3), "float16" if dtype == "float16" else "float32")
    m.op("FULLY_CONNECTED", [x, w, -1], [y])
    model = tmp_path / "hybrid.tflite"
    model.write_bytes(m.build([x], [y]))
    return model


def test_compile_writes_the_models_sources(tmp_path: Path) -> None:
    compiled = AotCompiler().compile(MODELS / "dscnn_int8.tflite", tmp_path / "out")
    assert compiled.files == ("td_model.c", "td_model_data.h")
    assert {p.name for p in (tmp_path / "out").iterdir()} == {*compiled.files, SUMS_FILE}
    assert compiled.engine == "aot"
    source = (tmp_path / "out" / "td_model.c").read_text()
    assert f"td_arena[{compiled.arena_bytes}]" in source
    assert "/* layer 0, CONV_2D" in source
    assert "malloc" not in source


def test_the_same_model_gives_the_same_sources(tmp_path: Path) -> None:
    for name in ("a", "b"):
        AotCompiler().compile(MODELS / "resnet_int8.tflite", tmp_path / name)
    for file in ("td_model.c", "td_model_data.h"):
        assert (tmp_path / "a" / file).read_text() == (tmp_path / "b" / file).read_text()


@pytest.fixture(scope="module")
def kernel_objects(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The kernels as any C compiler makes them, with no folder of ours to include from."""
    folder = tmp_path_factory.mktemp("kernels")
    sources = sorted(kernels_dir().glob("*.c"))
    subprocess.run(["cc", *STRICT, "-c", *map(str, sources)], cwd=folder, check=True)
    return sorted(str(p) for p in folder.glob("*.o"))


@pytest.mark.parametrize("name", ["branches_int8", "dscnn_int16x8", "two_inputs_float32"])
def test_standalone_sources_compile_alone(
    name: str, kernel_objects: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    compiled = AotCompiler().compile(MODELS / f"{name}.tflite", out, standalone=True)
    assert compiled.files == ("td_model.c", "td_model_data.h")
    for kernel in kernels_dir().glob("*.[ch]"):
        assert (out / kernel.name).read_bytes() == kernel.read_bytes()
    assert len(kernel_objects) + 1 == len(list(out.glob("*.c")))
    (tmp_path / "main.c").write_text(
        '#include "td_model.h"\nint main(void) { td_model_init(); td_model_invoke(); return 0; }\n'
    )
    sources = [str(out / "td_model.c"), str(tmp_path / "main.c")]
    program = tmp_path / "program"
    command = ["cc", *STRICT, f"-I{out}", *sources, *kernel_objects, "-o", str(program)]
    subprocess.run(command, check=True)
    subprocess.run([program], check=True)


def test_kernels_use_no_library_but_memcpy_and_memset(kernel_objects: list[str]) -> None:
    """Neither malloc nor libm, so that they link on bare metal."""
    objects = kernel_objects
    listed = subprocess.run(["nm", *objects], capture_output=True, text=True, check=True).stdout
    undefined = {line.split()[1] for line in listed.splitlines() if line.strip().startswith("U ")}
    defined = {line.split()[2] for line in listed.splitlines() if " T " in line}
    allowed = {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    assert undefined - defined <= allowed


def test_every_unsupported_layer_is_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(UnsupportedModelError) as caught:
        AotCompiler().compile(unknown_op_model(tmp_path), out)
    message = str(caught.value)
    assert "layer 0, RFFT2D ('first')" in message
    assert "layer 1, my_operator ('second')" in message
    assert caught.value.exit_code == 4
    assert caught.value.hint
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["unknown.tflite"]


def test_a_refused_model_keeps_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    AotCompiler().compile(MODELS / "dscnn_int8.tflite", out)
    before = (out / "td_model.c").read_text()
    with pytest.raises(UnsupportedModelError):
        AotCompiler().compile(unknown_op_model(tmp_path), out)
    assert (out / "td_model.c").read_text() == before


@pytest.mark.parametrize(
    ("dtype", "reason"), [("int8", "weight-only"), ("float16", "float16 is not supported")]
)
def test_hybrid_models_are_refused_with_the_reason(dtype: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match=reason):
        AotCompiler().compile(hybrid_model(tmp_path, dtype), tmp_path / "out")


@pytest.mark.shared
def test_dynamic_range_keyword_spotting_is_refused(shared: Path, tmp_path: Path) -> None:
    """The file is called float32 but holds int8 weights; TFLite-Micro refuses it as well."""
    model = shared / "models" / "mlperf_tiny" / "kws_ref_model_float32.tflite"
    with pytest.raises(UnsupportedModelError, match=r"layer 0, CONV_2D .*weight-only"):
        AotCompiler().compile(model, tmp_path / "out")


def test_unknown_engine_and_level(tmp_path: Path) -> None:
    model = MODELS / "dscnn_int8.tflite"
    with pytest.raises(UsageError, match="engine"):
        AotCompiler().compile(model, tmp_path / "out", engine="other")
    with pytest.raises(UsageError, match="optimize"):
        AotCompiler().compile(model, tmp_path / "out", optimize="most")


def test_table_of_lowerings_is_sorted() -> None:
    assert list(LOWERINGS) == sorted(LOWERINGS)


def test_two_models_in_one_process_do_not_mix() -> None:
    compiler = AotCompiler()
    first = compiler.native(MODELS / "dscnn_int8.tflite")
    second = compiler.native(MODELS / "resnet_int8.tflite")
    rng = np.random.default_rng(3)
    inputs = [
        [rng.integers(-128, 128, (5, *t.shape[1:]), np.int8) for t in p.inputs]  # type: ignore[attr-defined]
        for p in (first, second)
    ]
    alone = first.predict(inputs[0])
    second.predict(inputs[1])
    again = first.predict(inputs[0])
    np.testing.assert_array_equal(alone[0], again[0])


def test_predict_checks_its_inputs() -> None:
    native = AotCompiler().native(MODELS / "two_inputs_int8.tflite")
    shapes = [t.shape[1:] for t in native.inputs]  # type: ignore[attr-defined]
    good = [np.zeros((2, *shape), np.int8) for shape in shapes]
    assert all(len(y) == 2 for y in native.predict(good))
    assert all(len(y) == 0 for y in native.predict([x[:0] for x in good]))
    with pytest.raises(UsageError, match="2 inputs"):
        native.predict(good[:1])
    with pytest.raises(UsageError, match="int8 samples"):
        native.predict([good[0].astype(np.int16), good[1]])
    with pytest.raises(UsageError, match="int8 samples"):
        native.predict([good[0][0], good[1]])
    with pytest.raises(UsageError, match="different numbers"):
        native.predict([good[0][:1], good[1]])


def test_missing_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ToolMissingError) as caught:
        AotCompiler().native(MODELS / "dscnn_int8.tflite")
    assert "gcc" in caught.value.hint


def test_native_builds_are_cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path))
    model = MODELS / "autoencoder_int8.tflite"
    first = AotCompiler().native(model)
    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    second = AotCompiler().native(model)
    assert first.library == second.library  # type: ignore[attr-defined]
    assert made == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert not list((tmp_path / "native").glob(".build*"))


def test_flags_keep_floats_equal_on_every_core() -> None:
    assert "-std=c11" in CFLAGS
    assert "-ffp-contract=off" in CFLAGS
    assert not [flag for flag in CFLAGS if "fast" in flag]


def test_compiling_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tinydeploy.compiler.aot import AotCompiler;"
        "AotCompiler().compile(Path(sys.argv[1]), Path(sys.argv[2]));"
        "heavy = {'tensorflow', 'keras', 'mlflow', 'ai_edge_litert.interpreter', 'tflite_micro'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    model = MODELS / "resnet_int8.tflite"
    subprocess.run(
        [sys.executable, "-c", code, str(model), str(tmp_path / "out")],
        check=True,
        timeout=60,
        env=dict(os.environ),
    )


def test_headers_stand_where_builders_look() -> None:
    assert (firmware_dir() / "include" / "td_model.h").is_file()
    assert (kernels_dir() / "td_kernels.h").is_file()
