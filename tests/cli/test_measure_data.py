"""`measure --data`, `devices scan` and `devices fault`, against firmware that runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import answer

from tinydeploy.cli.main import cli, run
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.tflite import read_graph

INT8 = Path(__file__).resolve().parents[1] / "models" / "dscnn_int8.tflite"
SAMPLES = 1500


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build") / "loopback"
    words = ["build", str(INT8), "--device", "loopback", "--out", str(folder)]
    assert run(words) == 0
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    graph = read_graph(INT8)
    source, target = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    rng = np.random.default_rng(5)
    path = tmp_path_factory.mktemp("data") / "labelled.npz"
    x = rng.integers(-128, 128, (SAMPLES, *source.shape[1:])).astype(np.int8)
    np.savez(path, x=x, y=rng.integers(0, target.shape[-1], SAMPLES))
    return path


def test_accuracy_from_the_board_s_own_answers(build: Path, data: Path) -> None:
    found = answer("measure", build, "--data", data)
    assert found["value"] == answer("evaluate", INT8, "--data", data)["value"]
    assert found["samples"] == SAMPLES == len(found["latency_us"])
    assert found["correct"] == round(found["value"] * SAMPLES)
    assert (found["origin"], found["resumed"]) == ("measured", 0)
    result = CliRunner().invoke(cli, ["measure", str(build), "--data", str(data)])
    assert f"on 1,500 samples ({found['correct']} right), computed on loopback" in result.stdout
    assert "s on a line of 115,200 baud" in result.stderr
    assert "1,500 of 1,500 samples" in result.stderr


def lines_in(build: Path) -> int:
    """Whole lines of the journal in a build's folder, 0 without one."""
    return sum(path.read_bytes().count(b"\n") for path in build.glob("accuracy-*.jsonl"))


def test_a_killed_run_goes_on(build: Path, data: Path) -> None:
    """SIGKILL, in the middle; the board's process dies with it."""
    program = "from tinydeploy.cli.main import main; main()"
    words = [sys.executable, "-c", program, "measure", str(build), "--data", str(data)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as first:
        while lines_in(build) < 10:
            assert first.poll() is None, "it ended before it could be killed: use more samples"
            time.sleep(0.002)
        os.kill(first.pid, signal.SIGKILL)
    kept = lines_in(build) - 1
    found = answer("measure", build, "--data", data)
    assert found["resumed"] == kept < SAMPLES
    assert found["value"] == answer("evaluate", INT8, "--data", data)["value"]
    assert not list(build.glob("accuracy-*.jsonl"))


def test_data_and_input_exclude_each_other(build: Path, data: Path) -> None:
    assert run(["measure", str(build), "--data", str(data), "--input", str(data)]) == 2


def test_the_number_of_samples_is_that_of_random_ones(build: Path, data: Path) -> None:
    for words in (("--data", data), ("--input", data)):
        assert run(["measure", str(build), "--samples", "3", *map(str, words)]) == 2


def test_a_board_at_the_end_of_a_line_is_measured_and_scanned(build: Path) -> None:
    with NativeFirmware(build / "firmware.elf") as firmware:
        (found,) = answer("devices", "scan", "--port", firmware.url)
    assert (found["identity"]["board"], found["problem"]) == ("loopback", "")
    with NativeFirmware(build / "firmware.elf") as firmware:
        measured = answer("measure", build, "--port", firmware.url, "--samples", 2)
    assert measured["outputs_equal"] == measured["outputs_compared"] == 2


def test_scan_says_why_a_port_cannot_be_asked(tmp_path: Path) -> None:
    words = ["devices", "scan", "--port", str(tmp_path / "ttyACM0")]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "cannot open" in result.stderr and "plugged in" in result.stderr


def test_a_crash_is_explained(build: Path) -> None:
    start, _, name = next(f for f in Elf(build / "firmware.elf").functions() if f[2] == "main")
    line = f"!FAULT pc={start:08x} cfsr=00010000"
    found = answer("devices", "fault", build, line)
    assert found["places"]["pc"]["function"] == name
    assert found["registers"]["cfsr"] == 0x10000
    result = CliRunner().invoke(cli, ["devices", "fault", str(build), line])
    assert "pc  main" in result.stdout and "UNDEFINSTR" in result.stdout
    assert run(["devices", "fault", str(build), "nothing"]) == 2
