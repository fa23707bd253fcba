"""Bad input gets a message with a hint and the documented exit code, and leaves nothing behind."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.cli import main
from tinydeploy.cli.main import run

MODELS = Path(__file__).resolve().parents[1] / "models"
INT8 = MODELS / "dscnn_int8.tflite"


def truncated(folder: Path) -> list[str]:
    (folder / "m.tflite").write_bytes(INT8.read_bytes()[:3000])
    return ["compile", str(folder / "m.tflite"), "--out", str(folder / "out")]


def unknown_op(folder: Path) -> list[str]:
    content = INT8.read_bytes()
    graph_with_custom_op(content, folder / "m.tflite")
    return ["compile", str(folder / "m.tflite"), "--out", str(folder / "out")]


def graph_with_custom_op(content: bytes, path: Path) -> None:
    """The model with its first operator renamed to a builtin that no engine has."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    code = model.operatorCodes[model.subgraphs[0].operators[0].opcodeIndex]
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"MyOperator"
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def calibration_of_another_shape(folder: Path) -> list[str]:
    np.savez(folder / "c.npz", x=np.zeros((4, 5, 5, 1), np.float32))
    source = Path(__file__).resolve().parents[2] / "examples/fashion_mnist/small.keras"
    return ["convert", str(source), "--recipe", "int8", "--calibration", str(folder / "c.npz"),
            "--out", str(folder / "out")]  # fmt: skip


def no_calibration(folder: Path) -> list[str]:
    source = Path(__file__).resolve().parents[2] / "examples/fashion_mnist/small.keras"
    return ["convert", str(source), "--recipe", "int8", "--out", str(folder / "out")]


def no_such_board(folder: Path) -> list[str]:
    return ["build", str(INT8), "--device", "qemu-cortex-m99", "--out", str(folder / "out")]


def no_such_model(folder: Path) -> list[str]:
    return ["inspect", str(folder / "none.tflite")]


def other_dtype(folder: Path) -> list[str]:
    np.save(folder / "x.npy", np.zeros((1, 8, 8, 1), np.float64))
    return ["run", str(INT8), "--device", "host", "--input", str(folder / "x.npy"),
            "--output", str(folder / "out")]  # fmt: skip


def pickled_input(folder: Path) -> list[str]:
    np.save(folder / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    return ["run", str(INT8), "--device", "host", "--input", str(folder / "x.npy"),
            "--output", str(folder / "out")]  # fmt: skip


def unmapped_integers(folder: Path) -> list[str]:
    np.savez(folder / "d.npz", x=np.zeros((2, 8, 8, 1), np.int32), y=np.zeros(2, np.int64))
    return ["evaluate", str(INT8), "--data", str(folder / "d.npz")]


def no_build(folder: Path) -> list[str]:
    return ["measure", str(folder)]


def among_the_users_files(folder: Path) -> list[str]:
    (folder / "src").mkdir()
    (folder / "src" / "main.c").write_text("int main(void) { return 0; }")
    return ["compile", str(INT8), "--out", str(folder / "src")]


def no_options(folder: Path) -> list[str]:
    return ["deploy", "--config", str(folder / "none.toml")]


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        (truncated, 4, "m.tflite"),
        (unknown_op, 4, "MyOperator"),
        (calibration_of_another_shape, 2, "shape"),
        (no_calibration, 2, "calibration"),
        (no_such_board, 2, "qemu-cortex-m99"),
        (no_such_model, 2, "none.tflite"),
        (other_dtype, 2, "float64"),
        (pickled_input, 2, "x.npy"),
        (unmapped_integers, 2, "int32"),
        (no_build, 2, "build"),
        (no_options, 2, "none.toml"),
        (among_the_users_files, 2, "main.c"),
    ],
)
def test_message_hint_and_exit_code(
    case: Callable[[Path], list[str]],
    code: int,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = case(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert run(arguments) == code
    said = capsys.readouterr().err
    assert said.startswith("error: ") and words in said
    assert "Traceback" not in said
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("option", "place"),
    [("--out", "file"), ("--out", "file/out"), ("--output", "folder"), ("--output", "file/y")],
)
def test_where_no_result_can_be_written(
    option: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Said before any work is done."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    command = ["compile", str(INT8)] if option == "--out" else ["run", str(INT8), "--input", "x"]
    command += [] if option == "--out" else ["--device", "host"]
    assert run([*command, option, str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert f"Invalid value for '{option}'" in said and str(tmp_path / place.split("/")[0]) in said
    assert (tmp_path / "file").read_text() == "mine"


def test_no_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there was none is said, which the system itself does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        assert run(["compile", str(INT8), "--out", str(tmp_path / "out")]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert f"File too large: {tmp_path / 'out'}" in said and "hint: free some space" in said
    assert list(tmp_path.iterdir()) == []
    tree = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])
    assert main._system_error(tree) == 1
    assert capsys.readouterr().err.startswith("error: [Errno 28] No space left on device: 'b': b\n")


def test_a_board_that_is_too_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The numbers are told, and the firmware is kept so that one can see why."""
    profile = (
        Path(__file__).resolve().parents[2] / "devices/profiles/qemu-cortex-m0.toml"
    ).read_text()
    small = profile.replace("flash_bytes = 262_144", "flash_bytes = 4_096")
    assert small != profile
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/tiny.toml").write_text(small)
    code = run(["build", str(INT8), "--device", "tiny", "--profiles", str(tmp_path / "boards"),
                "--out", str(tmp_path / "fw")])  # fmt: skip
    said = capsys.readouterr().err
    assert code == 5
    assert "4,096 B" in said and "flash" in said
    assert run(["flash", str(tmp_path / "fw"), "--profiles", str(tmp_path / "boards")]) == 5


def test_a_missing_compiler(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code = run(["build", str(INT8), "--device", "qemu-cortex-m0", "--out", str(tmp_path / "fw")])
    said = capsys.readouterr().err
    assert code == 6
    assert "arm-none-eabi-gcc" in said and "gcc-arm-none-eabi" in said
    assert not (tmp_path / "fw").exists()
