"""MLPerf Tiny from the host's side: our client and rules on the real firmware.

What the client sends is what MLCommons' runner sends; `test_td_mlperf.py` holds the answers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from builds import Small, compile_small
from meter_peers import InterfaceBoard, Pin, PowerShield
from toy import compile_toy, toy_board, toy_inputs

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import mlperf_board, mlperf_report, mlperf_rules
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.link import Link, open_link
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.devices.meter.address import open_meter
from tinydeploy.devices.mlperf import CHUNK_BYTES_METERED, Infer, MlperfClient
from tinydeploy.devices.mlperf_rules import Rules, Run, Sample
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.errors import DeviceError, LinkError, UsageError
from tinydeploy.pipeline.metrics import auc
from tinydeploy.tflite import read_graph

NOW = datetime(2026, 1, 2, 3, 4, 5)


def sample(seed: int = 1, classes: int = 100) -> Sample:
    data = b"".join(x.tobytes() for x in toy_inputs(1, seed))
    return Sample(f"{seed}.bin", data, seed % classes, classes)


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware")


@pytest.fixture(scope="module")
def energy_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("energy") / "firmware"
    return compile_toy(out, "-DTD_PORT_HAS_TIMESTAMP_PIN", "-DTD_ENERGY_MODE=1")


@contextlib.contextmanager
def talking(
    elf: Path, script: str = "latency_us=100000", identify: bool = True
) -> Iterator[MlperfClient]:
    with NativeFirmware(elf, script) as firmware, open_link(firmware.url) as link:
        device = MlperfClient(link)
        if identify:  # passes over the greeting
            device.identify()
        yield device


class Scripted:
    """A port that answers each command with the next of `answers`."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self._says = b""

    def write(self, data: bytes) -> None:
        self._says += self._answers.pop(0).encode()

    def read(self, timeout_s: float) -> bytes:
        says, self._says = self._says, b""
        return says

    def close(self) -> None:
        pass


def client(*answers: str) -> MlperfClient:
    return MlperfClient(Link(Scripted(*answers), "peer"), timeout_s=0.05, infer_timeout_s=0.05)


# ---------------------------------------------------------------- the client
def test_identity_after_whatever_the_line_holds(elf: Path) -> None:
    with talking(elf, identify=False) as device:
        device.link.write(b"db load 10%db 00")  # an earlier host was cut off
        name = device.identify()
    assert (name.board, name.model) == ("loopback", "toy")
    assert name.profile == "ULPMark for tinyML Firmware V0.0.1"


@pytest.mark.parametrize("chunk", [31, CHUNK_BYTES_METERED])
def test_an_inference_in_the_runners_chunks(elf: Path, chunk: int) -> None:
    with talking(elf) as device:
        device.chunk_bytes = chunk
        device.load(sample().data)
        ran = device.infer(3, 2)
    assert (ran.elapsed_us, ran.iterations, ran.warmups) == (300_000, 3, 2)
    first = (toy_inputs(1, 1)[0].view(np.uint8) + np.uint8(1)).view(np.int8)
    assert ran.results == tuple(first.ravel())
    sent = [line for line in device.transcript if line.startswith("> db ")][1:]
    assert max(len(line) for line in sent) == len("> db %") + 2 * chunk
    assert "> infer 3 2%" in device.transcript


def test_a_clock_of_32_bits_that_wraps() -> None:
    ran = client("m-lap-us-4294967290\r\nm-lap-us-10\r\nm-results-[0.5]\r\nm-ready\r\n").infer(1, 0)
    assert (ran.start_us, ran.end_us, ran.elapsed_us) == (4_294_967_290, 10, 16)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("e-[Unknown command: infer]\r\nm-ready\r\n", "refuses 'infer 1 0': e-.Unknown"),
        ("m-lap-us-1\r\nm-results-[1]\r\nm-ready\r\n", "1 timestamps"),
        ("m-lap-us-1\r\nm-lap-us-2\r\nm-ready\r\n", "no line 'results'"),
        ("m-results-[1,x]\r\nm-ready\r\n", "no numbers"),
        ("", "no answer to 'infer 1 0' within 0.05 s"),
    ],
)
def test_answers_that_are_none(answer: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        client(answer).infer(1, 0)


def test_an_input_that_is_not_confirmed() -> None:
    with pytest.raises(LinkError, match="does not confirm the 2 bytes"):
        client("m-[Expecting 2 bytes]\r\nm-ready\r\n", "m-ready\r\n").load(b"ab")


def test_something_that_is_no_mlperf_device() -> None:
    with pytest.raises(LinkError, match="does not answer 'name'"):
        client("", *["hello\r\nm-ready\r\n" * 9]).identify()


# ---------------------------------------------------------------- behind an interface board
@contextlib.contextmanager
def behind_a_board(elf: Path, script: str) -> Iterator[tuple[MlperfClient, InterfaceBoard]]:
    process = subprocess.Popen(
        [elf], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"TD_NATIVE": script}
    )
    assert process.stdin and process.stdout
    stdin, stdout = process.stdin, process.stdout

    def until_ready() -> bytes:
        lines = b""
        while not lines.endswith(b"m-ready\r\n"):
            lines += stdout.readline()
        return lines

    def device(command: bytes) -> bytes:
        stdin.write(command)
        stdin.flush()
        return until_ready()

    until_ready()  # the greeting
    try:
        with InterfaceBoard(device) as board, open_link(board.path) as link:
            yield MlperfClient(link, CHUNK_BYTES_METERED, io_manager=True), board
    finally:
        stdin.close()
        process.wait()
        stdout.close()


def test_through_an_interface_board(elf: Path) -> None:
    with behind_a_board(elf, "latency_us=1000") as (device, board):
        device.set_baud(9600)
        assert device.identify().model == "toy"
        device.load(sample().data)
        assert device.infer(4, 0).elapsed_us == 4000
        with pytest.raises(DeviceError, match="refuses 'nonsense'"):
            device.command("nonsense")
    assert board.bauds == [9600]
    assert "> dut name%" in device.transcript


def test_energy_trials_through_a_board_and_a_power_shield(energy_elf: Path, tmp_path: Path) -> None:
    """The standard's energy mode: no timestamps on the line, edges of the pin at the meter."""
    pin = Pin(tmp_path / "pin")
    rules = Rules(trials=5, window_s=0.05)
    with (
        PowerShield(pin) as shield,
        behind_a_board(energy_elf, f"pin={pin.path}") as (device, _),
    ):
        meter = open_meter(f"lpm01a:{shield.path}", 3.0)
        trials = mlperf_rules.energy(device, [sample()], meter, rules, quiet, 50_000)
        meter.close()
    assert len(trials) == 5 and all(trial.window_s >= 0.05 for trial in trials)
    assert all(trial.run.infer.elapsed_us is None for trial in trials)
    for trial in trials:
        watts = trial.trace.energy_j(trial.start_s, trial.end_s) / trial.window_s
        assert watts == pytest.approx(0.030, rel=0.05)  # the shield's script while it runs
    lines = mlperf_report.energy_lines(trials)
    assert lines[0] == "Power Edition Output"
    assert re.fullmatch(r"Median energy cost is [\d.]+ uJ/inf\.", lines[-2])
    entry = mlperf_report.run_json(trials[0].run, "e", trials[0])
    first, last = (number for _, number in entry["power"]["timestamps"][-2:])
    joules = sum(entry["power"]["samples"][first:last])
    assert joules / entry["infer"]["iterations"] * 1e6 == pytest.approx(trials[0].uj_per_inference)


def test_energy_without_the_pin(elf: Path) -> None:
    with talking(elf) as device, pytest.raises(DeviceError, match="saw 0 edges"):
        mlperf_rules.energy(device, [sample()], open_meter("scripted:"), Rules(), quiet)


# ---------------------------------------------------------------- the rules
def test_five_windows_of_ten_seconds_and_their_median(elf: Path) -> None:
    samples = [sample(seed) for seed in (1, 2, 3)]
    with talking(elf, "latency_us=100000,120000") as device:
        runs = mlperf_rules.performance(device, samples, Rules(), quiet)
    assert [run.sample.file for run in runs] == ["1.bin", "2.bin", "3.bin", "1.bin", "2.bin"]
    assert all((run.infer.elapsed_us or 0) >= 10e6 for run in runs)
    assert {run.infer.warmups for run in runs} == {10}
    assert np.median(mlperf_rules.throughputs(runs)) == pytest.approx(1 / 0.11, rel=0.01)


def test_a_device_that_becomes_faster_is_given_more(elf: Path) -> None:
    """The trial sees slow inferences, the windows fast ones: they are made longer, not accepted."""
    script = "latency_us=" + ",".join(["400000"] * 2 + ["20000"] * 4000)
    with talking(elf, script) as device:
        runs = mlperf_rules.performance(device, [sample()], Rules(windows=2, warmups=0), quiet)
    assert all((run.infer.elapsed_us or 0) >= 10e6 for run in runs)


def test_a_clock_that_stands_still(elf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlperf_rules, "MAX_ITERATIONS", 16)
    with (
        talking(elf, "latency_us=0") as device,
        pytest.raises(DeviceError, match="16 inferences take no time"),
    ):
        mlperf_rules.performance(device, [sample()], Rules(), quiet)


def test_performance_needs_timestamps(energy_elf: Path) -> None:
    with talking(energy_elf) as device, pytest.raises(DeviceError, match="no timestamps"):
        mlperf_rules.performance(device, [sample()], Rules(), quiet)


def test_accuracy_is_top_one_and_area(elf: Path) -> None:
    def run(label: int, *results: float) -> Run:
        return Run(Sample("f", b"", label, len(results)), Infer(1, 0, 0, 1, 1, results))

    runs = [run(0, 0.9, 0.1, 0), run(1, 0.5, 0.5, 0), run(2, 0, 0.1, 0.9), run(1, 0, 0.8, 0.2)]
    assert mlperf_rules.top1(runs) == 0.75  # of equal ones the first
    # One against the rest: class 0 all right, class 1 three and a half pairs of four, class 2 all.
    assert mlperf_rules.mean_auc(runs, auc) == pytest.approx((1 + 1 + 1) / 3)
    assert mlperf_rules.mean_auc(runs[:2], auc) is None
    two = [run(0, 0.9, 0.1), run(1, 0.8, 0.2), run(1, 0.95, 0.05)]
    assert mlperf_rules.mean_auc(two, auc) == 0.5
    with talking(elf) as device, pytest.raises(UsageError, match=r"100 results, 1\.bin has 12"):
        mlperf_rules.accuracy(device, [sample(classes=12)], quiet)


# ---------------------------------------------------------------- what is written
def test_the_lines_are_the_runners(elf: Path, tmp_path: Path) -> None:
    with talking(elf) as device:
        runs = mlperf_rules.performance(device, [sample()], Rules(), quiet)
        transcript = device.transcript
    lines = mlperf_report.performance_lines(runs, NOW, Rules())
    n = runs[0].infer.iterations
    assert lines[:5] == [
        "Performance results for window 1",
        f"    # Inferences : {n}",
        f"    Runtime: {n / 10} sec.",
        "    Throughput: 10.0 inf./sec.",
        "    Runtime requirements have been met.",
    ]
    assert lines[-2] == "0102.030405 ulp-mlperf: Median throughput is     10.000 inf./sec."
    assert mlperf_report.accuracy_lines(0.9012, 0.9951, NOW) == [
        "0102.030405 ulp-mlperf: Top 1% = 90.1", "0102.030405 ulp-mlperf: AUC = 0.995",
    ]  # fmt: skip
    entries = [mlperf_report.run_json(run, "p") for run in runs]
    mlperf_report.write_session(tmp_path / "s", ["no submission"], lines, entries, transcript)
    assert (tmp_path / "s/results.txt").read_text().splitlines() == ["# no submission", *lines]
    (entry, *_) = json.loads((tmp_path / "s/results.json").read_text())
    assert entry["class"] == "1" and entry["mode"] == "p"
    assert entry["infer"]["throughput"] == 10
    assert entry["infer"]["elapsed_time"] == n * 100_000
    assert f"> infer {n} 10%" in (tmp_path / "s/log.txt").read_text()


# ---------------------------------------------------------------- data in the runner's form
def test_reading_the_runners_data(tmp_path: Path) -> None:
    (tmp_path / "y_labels.csv").write_text("a.bin,12,7\nb.bin,12,0,4,2\n")
    (tmp_path / "a.bin").write_bytes(b"abcd")
    (tmp_path / "b.bin").write_bytes(b"efgh")
    assert mlperf_rules.read_samples(tmp_path, 4) == [
        Sample("a.bin", b"abcd", 7, 12), Sample("b.bin", b"efgh", 0, 12),
    ]  # fmt: skip
    assert len(mlperf_rules.read_samples(tmp_path, 4, 1)) == 1
    with pytest.raises(UsageError, match="has 4 bytes, the model takes 5"):
        mlperf_rules.read_samples(tmp_path, 5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("a.bin,12,12\n", "y_labels.csv:1: no FILE,CLASSES,CLASS"),
        ("a.bin\n", "y_labels.csv:1"),
        ("../../etc/passwd,12,1\n", "is not below"),
        ("missing.bin,12,1\n", "cannot read .*missing.bin"),
    ],
)
def test_data_that_makes_no_sense(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "y_labels.csv").write_text(text)
    with pytest.raises(UsageError, match=message):
        mlperf_rules.read_samples(tmp_path, 4)


# ---------------------------------------------------------------- boards
def test_only_a_real_board_measures_time() -> None:
    qemu = mlperf_board.clock_of(find("qemu-cortex-m4"))
    assert qemu.origin == "emulated"
    assert qemu.text == "virtual time, one instruction every 32 ns; not latency"
    assert mlperf_board.clock_of(find("loopback")).origin == "emulated"
    assert mlperf_board.clock_of(find("nucleo-l4r5zi")).origin == "measured"


def test_a_board_without_a_pin_has_no_energy_mode() -> None:
    with pytest.raises(UsageError, match="has no timestamp pin"):
        mlperf_board.energy_mode(find("qemu-cortex-m4"))
    board = dataclasses.replace(toy_board(), defines={"TD_PORT_HAS_TIMESTAMP_PIN": "1"})
    assert mlperf_board.energy_mode(board).baud == 9600


def test_an_emulated_cortex_m4_in_virtual_time(small: Small) -> None:
    """What the runner does, on QEMU; one inference takes its instructions times 32 ns."""
    build, device = small("qemu-cortex-m4"), find("qemu-cortex-m4")
    with mlperf_board.open_board(build, device) as link:
        mlperf_board.require_build(link, build)
        runner = MlperfClient(link)
        assert runner.identify().board == "qemu-cortex-m4"
        graph = read_graph(build.model_path)
        size = graph.tensors[graph.inputs[0]].elements
        data = [Sample("zeros", bytes(size), 0, 1)]
        (run,) = mlperf_rules.performance(runner, data, Rules(windows=1, window_s=1), quiet)
        runner.load(bytes(size))
        again = runner.infer(run.infer.iterations, 10)
    assert 1e6 <= (run.infer.elapsed_us or 0) < 1.2e6
    assert again.results == run.infer.results
    assert again.elapsed_us == pytest.approx(run.infer.elapsed_us, rel=0.01)


@pytest.mark.shared
def test_the_keyword_model_as_the_runner_asks_it(shared: Path, tmp_path: Path) -> None:
    """Accuracy mode on the emulated M4: every answer is that of the host, three decimals."""
    device = find("qemu-cortex-m4")
    model = tmp_path / "kws01.tflite"
    model.write_bytes((shared / "models/mlperf_tiny/kws_ref_model.tflite").read_bytes())
    build = PlatformioBuilder().build(
        compile_small(model, device, tmp_path), model, device, tmp_path / "build"
    )
    with np.load(shared / "data" / "kws01.npz") as data:
        x, y = data["x"][:8], data["y"][:8]
    samples = [Sample(str(n), x[n].tobytes(), int(y[n]), 12) for n in range(len(x))]
    with mlperf_board.open_board(build, device) as link:
        runner = MlperfClient(link)
        assert runner.identify().model == "kws01"
        runs = mlperf_rules.accuracy(runner, samples, quiet)
    host = AotCompiler().native(model)
    (outputs,) = host.predict([x])
    host.close()
    # The output's scale is 1/256, its zero point -128; results are truncated.
    expected = np.floor((outputs.astype(int) + 128) * 1000 / 256) / 1000
    assert np.array_equal(np.array([run.infer.results for run in runs]), expected)
    assert mlperf_rules.top1(runs) == np.mean(outputs.argmax(1) == y)
