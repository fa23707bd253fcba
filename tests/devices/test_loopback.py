"""The board that ships in the package: a whole run, every way to fail, and no process left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL, Small
from toy import compile_toy, toy_board, toy_build, toy_inputs, toy_outputs

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.loopback import LoopbackRunner, NativeFirmware
from tinydeploy.errors import (
    DeviceError,
    FirmwareFaultError,
    LinkError,
    UsageError,
    WrongFirmwareError,
)
from tinydeploy.plugins import load
from tinydeploy.tflite import read_graph


@pytest.fixture
def elf(tmp_path: Path) -> Path:
    """A program of its own for each test, so that its processes can be told apart."""
    return compile_toy(tmp_path / "firmware", "-DTD_PORT_HAS_ENERGY")


def processes(elf: Path) -> list[int]:
    """The processes that run a program."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                program = os.readlink(entry / "exe")
            except OSError:
                continue
            if program == str(elf):
                found.append(int(entry.name))
    return found


def hanging_inputs() -> list[np.ndarray]:
    inputs = toy_inputs(2)
    inputs[0][1, :3] = (127, 126, 125)
    return inputs


def test_a_whole_run(elf: Path) -> None:
    board = toy_board(latency_us="1250,1300", energy_nj="41500")
    inputs = toy_inputs(50)
    outputs, result = LoopbackRunner().run(toy_build(elf), board, inputs)
    for got, expected in zip(outputs, toy_outputs(inputs), strict=True):
        assert (got == expected).all()
    assert set(result.latency_us or ()) == {1250.0, 1300.0}
    assert set(result.energy_uj or ()) == {41.5}
    assert "scripted clock and energy meter" in result.method
    assert dict(result.origin) == {"latency_us": "emulated", "energy_uj": "emulated"}
    assert processes(elf) == []


def test_the_board_of_the_package_runs_a_real_model(small: Small) -> None:
    build = small("loopback")
    graph = read_graph(SMALL_MODEL)
    tensor = graph.tensors[graph.inputs[0]]
    inputs = [
        np.random.default_rng(0).integers(-128, 128, (10, *tensor.shape[1:])).astype(tensor.dtype)
    ]
    runner = load("runner", "native")()
    outputs, result = runner.run(build, find("loopback"), inputs)
    predictor = AotCompiler().native(SMALL_MODEL)
    try:
        expected = predictor.predict(inputs)
    finally:
        predictor.close()
    assert [y.shape for y in outputs] == [y.shape for y in expected]
    assert all((a == b).all() for a, b in zip(outputs, expected, strict=True))
    assert len(result.latency_us or ()) == len(result.energy_uj or ()) == 10
    assert result.arena_bytes == build.footprint.arena_bytes


def test_firmware_that_lost_its_mode(elf: Path) -> None:
    """As it comes out of a registry or a bundle."""
    elf.chmod(0o644)
    assert LoopbackRunner().identify(toy_build(elf), toy_board()).model_name == "toy"


def test_identify(elf: Path) -> None:
    assert LoopbackRunner().identify(toy_build(elf), toy_board()).model_name == "toy"
    with pytest.raises(WrongFirmwareError):
        LoopbackRunner().identify(toy_build(elf, build_id="3" * 64), toy_board())
    assert processes(elf) == []


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("hang@9", LinkError, "did not answer"),
        ("crash@9", FirmwareFaultError, "signal=0x0000000b"),
        ("exit@9", DeviceError, "ended: exit status 3"),
        ("flood@9", LinkError, "nothing but garbage"),
        ("hang@1", LinkError, "no firmware answers"),
        ("exit@1", DeviceError, "ended: exit status 3"),
        ("flood@1", LinkError, "nothing but garbage"),
        ("nonsense@9", DeviceError, "did not open its port.*fault=KIND"),
    ],
)
def test_faults(
    elf: Path, monkeypatch: pytest.MonkeyPatch, fault: str, error: type, message: str
) -> None:
    monkeypatch.setattr("tinydeploy.devices.loopback.ANSWER_TIMEOUT_S", 0.5)
    board = toy_board(fault=fault, infer_timeout_s="0.5")
    with pytest.raises(error, match=message) as caught:
        LoopbackRunner().run(toy_build(elf), board, toy_inputs(5))
    assert caught.value.hint
    assert processes(elf) == []


def test_a_model_that_never_ends(elf: Path) -> None:
    board = toy_board(infer_timeout_s="0.5")
    with pytest.raises(LinkError, match="did not answer 'infer' within"):
        LoopbackRunner().run(toy_build(elf), board, hanging_inputs())
    assert processes(elf) == []


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_time_limit_that_makes_no_sense(elf: Path, text: str) -> None:
    with pytest.raises(UsageError, match="infer_timeout_s"):
        LoopbackRunner().run(toy_build(elf), toy_board(infer_timeout_s=text), toy_inputs(1))


def test_a_program_that_cannot_start(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot start"):
        NativeFirmware(tmp_path / "missing")


def test_a_program_that_is_no_firmware(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho hello\n")
    script.chmod(0o755)
    with pytest.raises(DeviceError, match="did not open its port: b'hello"):
        NativeFirmware(script)


def test_the_port_is_that_of_the_process_alone(elf: Path) -> None:
    with NativeFirmware(elf) as one, NativeFirmware(elf) as two:
        assert one.url != two.url
    assert processes(elf) == []


def test_a_killed_host_leaves_nothing(elf: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_loopback import hanging_inputs
from toy import toy_board, toy_build
from tinydeploy.devices.loopback import LoopbackRunner
LoopbackRunner().run(toy_build(Path(sys.argv[1])), toy_board(), hanging_inputs())
"""
    host = subprocess.Popen([sys.executable, "-c", code, str(elf), str(Path(__file__).parent)])
    try:
        while not processes(elf) and host.poll() is None:
            time.sleep(0.02)
        assert processes(elf)
    finally:
        host.send_signal(signal.SIGKILL)
        host.wait()
    for _ in range(500):
        if not processes(elf):
            break
        time.sleep(0.02)
    assert processes(elf) == []
