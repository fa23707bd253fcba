"""`mlflow deployments` with our plugin, on an emulated board, by MLflow's own command line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinydeploy.cli.plugin import state
from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.registry.folder import ENVIRONMENT, import_mlflow
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.store import sha256_file
from tinydeploy.types import InputDescription

BOARD = "qemu-cortex-m4"
URI = f"models:/kws@{BOARD}"
INT8 = Path(__file__).resolve().parents[1] / "models" / "dscnn_int8.tflite"


@pytest.fixture(autouse=True)
def here(released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """State of this test alone, and MLflow on the released registry."""
    monkeypatch.setenv("TINYDEPLOY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{released}/mlruns/mlflow.db")
    return tmp_path


def mlflow(*words: object, code: int = 0) -> str:
    """What `mlflow deployments` prints."""
    import_mlflow()
    from mlflow.deployments.cli import commands

    result = CliRunner().invoke(commands, [str(w) for w in words])
    assert result.exit_code == code, f"{result.output} {result.exception!r}"
    return result.output


def create(name: str = "bench-1", *more: object, code: int = 0) -> str:
    target = f"tinydeploy:/{BOARD}"
    return mlflow("create", "-t", target, "-m", URI, "--name", name, *more, code=code)


def own_inputs() -> np.ndarray:
    return np.random.default_rng(3).integers(-128, 127, (2, 20, 10, 1), np.int8, endpoint=True)


@pytest.mark.qemu
def test_the_life_of_a_deployment(here: Path, released: Path) -> None:
    assert "bench-1 is created" in create()
    found = state.read("bench-1")
    assert found.proof["outputs_equal"] == found.proof["outputs_compared"] == 3
    assert len(found.proof["instructions"]) == 3
    assert (found.board, found.model, found.version) == (BOARD, "kws", "1")
    kept = state.firmware_of("bench-1")
    assert found.firmware_sha256 == sha256_file(kept / "firmware.bin")
    assert (kept / "firmware.elf").read_bytes() == (
        released / "build" / "firmware.elf"
    ).read_bytes()
    assert "exists" in create(code=2)
    registry = MlflowRegistry(released)
    assert registry.get("kws", "1").deployments == ("bench-1",)
    event = Lifecycle(registry).history("kws", BOARD)[-1]
    assert (event.what, event.note, event.build_id) == (
        "flashed", "deployment bench-1", found.build_id,
    )  # fmt: skip

    assert "bench-1" in mlflow("list", "-t", f"tinydeploy:/{BOARD}")
    assert "bench-1" in mlflow("list", "-t", "tinydeploy")
    assert "bench-1" not in mlflow("list", "-t", "tinydeploy:/qemu-cortex-m3")
    assert found.build_id in mlflow("get", "-t", "tinydeploy", "--name", "bench-1")

    x = own_inputs()
    (expected,) = AotCompiler().native(INT8).predict([x])
    (here / "x.json").write_text(json.dumps(x.reshape(2, -1).tolist()))
    answer = ("predict", "-t", "tinydeploy", "--name", "bench-1", "-I", here / "x.json")
    (column,) = json.loads(mlflow(*answer)).values()
    assert [column[str(i)] for i in range(2)] == expected.tolist()

    options = ("-C", "samples=1")
    assert "is updated" in mlflow("update", "-t", "tinydeploy", "--name", "bench-1", *options)
    updated = state.read("bench-1")
    assert updated.created == found.created < updated.updated
    assert updated.proof["outputs_compared"] == 1

    mlflow("delete", "-t", "tinydeploy", "--name", "bench-1")
    mlflow("delete", "-t", "tinydeploy", "--name", "bench-1")
    assert state.every() == []
    assert registry.get("kws", "1").deployments == ()
    assert "no deployment is called" in mlflow(
        "get", "-t", "tinydeploy", "--name", "bench-1", code=2
    )


@pytest.mark.qemu
def test_a_board_of_ones_own_and_a_signature_stay_demanded(here: Path, root: Path) -> None:
    shipped = root / "devices" / "profiles" / f"{BOARD}.toml"
    (here / "boards").mkdir()
    (here / "boards" / "mine.toml").write_text(shipped.read_text())
    options = ("-C", f"profiles={here / 'boards'}", "-C", "samples=1")
    mlflow("create", "-t", "tinydeploy:/mine", "-m", "models:/kws/1", "--name", "own", *options)
    (here / "x.json").write_text(json.dumps(own_inputs().reshape(2, -1).tolist()))
    named = ("-t", "tinydeploy", "--name", "own")
    mlflow("predict", *named, "-I", here / "x.json")
    mlflow("update", *named, "-C", "samples=2")
    made = state.read("own")
    assert made.proof["outputs_compared"] == 2

    demanded = dataclasses.replace(made, signed=True)
    (here / "firmware").symlink_to(state.firmware_of("own"))
    state.write(state.state_folder() / "own", demanded, here / "firmware")
    assert "there is no signature" in mlflow("update", *named, code=7)
    assert state.read("own") == demanded
    mlflow("update", *named, "-C", "require_signature=false", "-C", "samples=1")
    assert not state.read("own").signed


@pytest.mark.qemu
def test_run_local_takes_an_emulator(here: Path) -> None:
    said = mlflow("run-local", "-t", "tinydeploy:/", "-m", URI, "--name", "trial")
    assert f"kws version 1 runs on {BOARD}: 3 of 3 outputs equal" in said


def test_an_emulator_of_the_same_core() -> None:
    import dataclasses

    from tinydeploy.cli import wiring
    from tinydeploy.cli.plugin.deploying import emulator_of, where
    from tinydeploy.errors import UsageError

    m4 = wiring.devices([BOARD])[BOARD]
    real = dataclasses.replace(m4, name="nano33ble", platform="nordicnrf52")
    assert emulator_of(real) == m4
    with pytest.raises(UsageError, match="no emulated board"):
        emulator_of(dataclasses.replace(m4, core="avr"))
    assert where(f"tinydeploy:/{BOARD}", "", []) == (BOARD, "")
    assert where("tinydeploy:/dev/ttyACM0", "nano33ble", []) == ("nano33ble", "/dev/ttyACM0")
    assert where("tinydeploy:/COM3", "nano33ble", []) == ("nano33ble", "COM3")
    with pytest.raises(UsageError, match="names no board"):
        where("tinydeploy:/dev/ttyACM0", "", [])


def test_mlflow_finds_the_plugin_in_a_process_of_its_own(here: Path) -> None:
    """Through the installed entry point and MLflow's program; nothing that is no name is kept."""
    program = Path(sys.executable).with_name("mlflow")
    words = ["create", "-t", f"tinydeploy:/{BOARD}", "-m", "models:/other/1", "--name", "x"]
    done = subprocess.run(
        [program, "deployments", *words], cwd=here, env={**os.environ, **ENVIRONMENT},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (7, "")
    assert "other has no version '1'" in done.stderr and "hint:" in done.stderr
    assert state.every() == []


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("-C", "speed=1"), 2, "no option is called 'speed'"),
        (("-C", "samples=0"), 2, "samples is '0'"),
        (("-C", "firmware=mine"), 2, "firmware is 'mine'"),
        (("-C", "require_signature=true"), 7, "no signature"),
        (("-f", "onnx"), 2, "the flavor 'onnx'"),
        (("--endpoint", "e"), 2, "no endpoints"),
    ],
)
def test_what_is_refused(words: tuple[str, ...], code: int, message: str) -> None:
    assert message in create("bench-1", *words, code=code)
    assert state.every() == []


def test_inputs_that_are_refused() -> None:
    import pandas

    from tinydeploy import tflite
    from tinydeploy.cli.plugin.deploying import _given, _own
    from tinydeploy.errors import UsageError

    graph = tflite.read_graph(INT8)
    tensor = graph.tensors[graph.inputs[0]]

    def read(given: Any) -> np.ndarray:
        ((array, t),) = _given(given, [tensor])
        return _own(array, t, None)

    x = own_inputs()
    rows = x.reshape(2, -1).tolist()
    for given in (pandas.DataFrame(rows), pandas.DataFrame({"x": rows}), {"x": x}, x, rows):
        assert read(given).dtype == np.int8
        assert read(given).reshape(x.shape).tolist() == x.tolist()
    assert read(np.asarray(rows) + 0.5).dtype.kind == "f"
    with pytest.raises(UsageError, match="from -128 to 127"):
        read(np.asarray(rows) + 1000)

    described = InputDescription("uint8", 1 / 255)
    raw = np.arange(200).reshape(1, 200)
    for kind in (tensor, dataclasses.replace(tensor, dtype="float32", scales=(), zero_points=())):
        assert _own(raw, kind, described).dtype == np.uint8
    with pytest.raises(UsageError, match="from 0 to 255"):
        _own(raw + 100, tensor, described)


def test_names_that_lead_elsewhere(here: Path) -> None:
    assert "is not a name" in create("../x", code=2)
    assert not (here / "x").exists()
