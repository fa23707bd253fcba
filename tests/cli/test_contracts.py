"""What scripts rely on: JSON keys, exit codes, hints, nothing half written."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import answer

from tinydeploy.cli.main import run
from tinydeploy.tflite import read_graph

MODELS = Path(__file__).resolve().parents[1] / "models"
INT8 = MODELS / "dscnn_int8.tflite"


def inputs(model: Path, samples: int = 3) -> np.ndarray:
    tensor = read_graph(model).tensors[read_graph(model).inputs[0]]
    info = np.iinfo(tensor.dtype)
    rng = np.random.default_rng(1)
    return rng.integers(
        info.min, info.max, (samples, *tensor.shape[1:]), tensor.dtype, endpoint=True
    )


def test_inspect() -> None:
    found = answer("inspect", INT8)
    assert {"macs", "ops", "weight_bytes", "tflm_arena_bytes", "layers"} <= set(found)
    assert found["macs"] == sum(layer["macs"] for layer in found["layers"])
    assert found["tflm_arena_bytes"] > 0


def test_compile_leaves_sources_that_compile(tmp_path: Path) -> None:
    import subprocess

    found = answer("compile", INT8, "--out", tmp_path / "c")
    assert found["unsupported"] == []
    assert found["arena_bytes"] > 0
    assert {p.name for p in (tmp_path / "c").iterdir()} == set(found["files"])
    sources = [f for f in found["files"] if f.endswith(".c")]
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-c"]
    subprocess.run(["cc", *flags, *sources], cwd=tmp_path / "c", check=True)


def test_compile_names_the_device(tmp_path: Path) -> None:
    found = answer("compile", INT8, "--device", "qemu-cortex-m0", "--out", tmp_path / "c")
    assert "td_model.c" in found["files"]
    chosen = [c for c in found["choices"] if c["chosen"]]
    assert chosen and all(c["flash_bytes"] >= 0 and c["instructions"] > 0 for c in chosen)
    assert len({c["layer"] for c in chosen}) == len({c["layer"] for c in found["choices"]})


def test_compile_bundles_for_tflite_micro(tmp_path: Path) -> None:
    found = answer("compile", INT8, "--engine", "tflm", "--out", tmp_path / "b")
    assert found["engine"] == "tflm"
    assert any(f.endswith(".tflite") for f in found["files"])


def test_run_on_the_host_and_on_a_board_gives_the_same_bytes(tmp_path: Path) -> None:
    x = tmp_path / "x.npy"
    np.save(x, inputs(INT8))
    host = answer("run", INT8, "--device", "host", "--input", x, "--output", tmp_path / "h.npy")
    assert host["instructions"] is None and host["arena_bytes"] > 0
    board = answer(
        "run", INT8, "--device", "qemu-cortex-m4", "--input", x, "--output", tmp_path / "b.npy"
    )
    assert (tmp_path / "h.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()
    assert len(board["instructions"]) == 3
    assert sum(board["flash"].values()) == board["flash_bytes"]
    assert sum(board["ram"].values()) == board["ram_bytes"]
    assert board["flash"]["engine_code"] == board["code_bytes"]
    assert board["ram"]["arena"] == board["arena_bytes"]
    assert board["origin"]["instructions"] == "emulated"
    assert board["latency_us"] is None


def test_several_inputs_come_from_an_npz(tmp_path: Path) -> None:
    model = MODELS / "two_inputs_int8.tflite"
    graph = read_graph(model)
    arrays = {}
    for index in graph.inputs:
        tensor = graph.tensors[index]
        arrays[tensor.name] = np.ones((2, *tensor.shape[1:]), tensor.dtype)
    np.savez(tmp_path / "x.npz", **arrays)
    out = tmp_path / "y.npz"
    answer("run", model, "--device", "host", "--input", tmp_path / "x.npz", "--output", out)
    names = {graph.tensors[i].name for i in graph.outputs}
    assert set(np.load(out).files) == names


@pytest.mark.parametrize("engine", ["aot", "litert", "tflm"])
def test_evaluate(engine: str, tmp_path: Path) -> None:
    x = inputs(INT8, 20)
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(20) % 3)
    found = answer("evaluate", INT8, "--data", tmp_path / "d.npz", "--engine", engine)
    assert found["samples"] == 20
    assert found["metric"] == "accuracy"
    assert found["accuracy"] == found["value"]


def test_build_flash_and_measure(tmp_path: Path) -> None:
    built = answer("build", INT8, "--device", "loopback", "--out", tmp_path / "fw")
    assert {"firmware.elf", "build.json"} <= {p.name for p in (tmp_path / "fw").iterdir()}
    identity = answer("flash", tmp_path / "fw")
    assert identity["build_id"] == built["build_id"]
    measured = answer("measure", tmp_path / "fw", "--samples", 4)
    assert measured["outputs_equal"] == measured["outputs_compared"] == 4
    assert len(measured["latency_us"]) == 4
    assert len(measured["energy_uj"]) == 4
    assert measured["instructions"] is None


def test_register_and_select(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=inputs(INT8, 20), y=np.arange(20) % 3)
    answer("build", INT8, "--device", "loopback", "--out", tmp_path / "fw")
    words = [
        "register", INT8, "--name", "net", "--data", tmp_path / "d.npz",
        "--build", tmp_path / "fw", "--registry", tmp_path,
    ]  # fmt: skip
    first, second = answer(*words), answer(*words)
    assert first == second
    chosen = answer("select", "net", "--device", "loopback", "--registry", tmp_path)
    assert chosen["chosen"]["version"] == first["version"]
    code = run(["select", "net", "--device", "loopback", "--registry", str(tmp_path),
                "--max-flash", "10"])  # fmt: skip
    assert code == 3


def test_devices() -> None:
    names = {d["name"] for d in answer("devices", "list")}
    cores = ("m0", "m3", "m4", "m7", "m33", "m55")
    assert {"host", "loopback", "qemu-rv32", *(f"qemu-cortex-{c}" for c in cores)} <= names
    assert answer("devices", "show", "qemu-cortex-m0")["ram_bytes"] == 16384


def test_doctor() -> None:
    assert all({"name", "ok", "detail", "hint"} <= set(check) for check in answer("doctor"))


def test_convert_takes_float_tflite(tmp_path: Path) -> None:
    found = answer(
        "convert", MODELS / "dscnn_float32.tflite", "--recipe", "float32", "--out", tmp_path
    )
    assert Path(found["path"]).is_file()
    assert found["recipe"] == "float32"
    assert len(found["sha256"]) == 64


def test_a_bar_replaces_the_one_before_on_a_terminal_only() -> None:
    lines = ("a: fit [##--] 2/4", "a: fit [####] 4/4", "b: fit [#---] 1/4", "done")
    code = f"from tinydeploy.cli import options\nfor line in {lines}: options.progress(line)"
    command = [sys.executable, "-c", code]
    piped = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    assert piped.stderr.splitlines() == list(lines)
    ours, its = pty.openpty()
    subprocess.run(command, stderr=its, check=True)
    os.close(its)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert shown.count("\x1b[1A\x1b[2K") == 1 and "\x1b[1A\x1b[2Ka: fit [####]" in shown
