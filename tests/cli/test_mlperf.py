"""`mlperf`, and `measure --meter`: from the options to the sessions on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from commands import answer

from tinydeploy.cli.main import cli, run
from tinydeploy.tflite import read_graph

MODEL = Path(__file__).resolve().parents[1] / "models" / "dscnn_int8.tflite"
BOARD = """
description = "native, one inference takes 100 ms of its scripted clock; a pin"
core = "host"
platform = "native"
port = "native"
clock_hz = 0
flash_bytes = 67_108_864
ram_bytes = 67_108_864
measures_time = true
supply_v = 3.0

[defines]
TD_PORT_HAS_TIMESTAMP_PIN = "1"

[emulator]
latency_us = "100000"
"""


@pytest.fixture(scope="session")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all tests, with the pin's file: a board's kernels are compiled once."""
    folder = tmp_path_factory.mktemp("boards")
    (folder / "steady.toml").write_text(BOARD + f'pin = "{folder / "pin"}"\n')
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    graph = read_graph(MODEL)
    source, target = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    rng = np.random.default_rng(3)
    path = tmp_path / "data.npz"
    x = rng.integers(-128, 128, (6, *source.shape[1:]), dtype=np.int8)
    np.savez(path, x=x, y=rng.integers(0, target.elements, 6))
    return path


def test_performance_and_accuracy(boards: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("mlperf", MODEL, "--device", "steady", "--profiles", boards)
    found = answer(*words, "--data", data, "--samples", "4", "--out", out)
    assert found["origin"] == "emulated" and found["submission"] is False
    assert "scripted clock; not latency" in found["clock"] and "not an MLPerf" in found["note"]
    performance = found["performance"]
    assert performance["median_throughput"] == 10
    assert len(performance["throughputs"]) == 5 and min(performance["runtimes_s"]) >= 10
    assert found["accuracy"]["samples"] == 4
    for mode in ("performance", "accuracy"):
        assert {path.name for path in (out / mode).iterdir()} == {
            "results.txt", "results.json", "log.txt",
        }  # fmt: skip
    text = (out / "performance" / "results.txt").read_text()
    assert text.startswith("# not an MLPerf result")
    assert "Median throughput is     10.000 inf./sec." in text
    expected = answer("evaluate", MODEL, "--data", data)
    assert expected["samples"] == 6  # the same data, all of it


def test_energy_mode_with_a_meter_at_the_pin(boards: Path, tmp_path: Path) -> None:
    """Firmware of the energy mode is built, its pin cuts what the meter recorded."""
    meter = f"scripted:,pin={boards / 'pin'}"
    words = ("mlperf", MODEL, "--device", "steady", "--profiles", boards)
    with pytest.MonkeyPatch.context() as patch:
        from tinydeploy.devices import mlperf_rules

        patch.setattr(mlperf_rules.Rules, "__init__", _short(mlperf_rules.Rules.__init__))
        found = answer(*words, "--mode", "energy", "--meter", meter, "--out", tmp_path / "out")
    energy = found["energy"]
    assert len(energy["uj"]) == 5 and energy["meter"] == "scripted"
    assert min(energy["windows_s"]) >= 0.1
    # 30 mW over the window, by the number of inferences
    assert energy["median_uj"] == pytest.approx(
        np.median(energy["windows_s"]) * 30e3 / energy["iterations"], rel=0.2
    )
    assert "Power Edition Output" in (tmp_path / "out/energy/results.txt").read_text()


def _short(original: Any) -> Any:
    def init(self: Any, **changed: Any) -> None:
        original(self, **{"window_s": 0.1, "warmups": 0, **changed})

    return init


def test_a_dry_run_builds_nothing(boards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    found = answer(
        "mlperf", MODEL, "--device", "steady", "--profiles", boards, "--out", out, "--dry-run"
    )
    assert found["rules"] == {"windows": 5, "window_s": 10, "warmups": 10, "trials": 5}
    assert found["modes"] == ["performance"]
    assert not out.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--mode", "accuracy"), "accuracy needs labelled data"),
        (("--mode", "energy"), "energy needs a meter"),
        (("--data", "missing.npz"), "missing.npz"),
        (("--mode", "energy", "--meter", "scripted:"), "has no timestamp pin"),
    ],
)
def test_what_is_missing_is_said(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["mlperf", str(MODEL), "--device", "qemu-cortex-m4", *words]) == 2
    assert message in capsys.readouterr().err


def test_measure_with_a_meter(
    boards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinydeploy.devices.meter import energy

    monkeypatch.setattr(energy, "WINDOW_S", 0.1)
    monkeypatch.setattr(energy, "WINDOWS", 2)
    out = tmp_path / "fw"
    words = ("--device", "steady", "--profiles", boards)
    assert CliRunner().invoke(
        cli, [*map(str, ("build", MODEL, *words, "--out", out))], catch_exceptions=False
    ).exit_code == 0  # fmt: skip
    meter = f"scripted:,idle_mw=5,active_mw=30,pin={boards / 'pin'}"
    found = answer("measure", out, "--profiles", boards, "--meter", meter)
    assert len(found["energy_uj"]) == 2
    assert found["origin"]["energy_uj"] == "measured"
    assert "at the timestamp pin's edges; net of idle (5 mW)" in found["method"]
    assert run(["measure", str(out), "--profiles", str(boards), "--meter", "x:"]) == 2
