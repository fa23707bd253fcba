"""Firmware at the end of a serial line: measuring, a second client, unplugging, a slow line."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from builds import Small
from plugged_line import PluggedLine
from toy import compile_toy, toy_board, toy_build, toy_inputs, toy_outputs

from tinydeploy.devices import streaming
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import Emulator
from tinydeploy.devices.link import Link
from tinydeploy.devices.lock import PortInUseError
from tinydeploy.devices.loopback import LoopbackRunner, NativeFirmware
from tinydeploy.devices.serial_board import SerialRunner
from tinydeploy.devices.session import Session
from tinydeploy.devices.streaming import DevicePredictor, seconds_on_the_line
from tinydeploy.errors import FirmwareFaultError, LinkError, UsageError, WrongFirmwareError


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware", "-DTD_PORT_HAS_ENERGY")


@pytest.fixture
def line(elf: Path, tmp_path: Path) -> Iterator[PluggedLine]:
    script = "latency_us=1250,1300 energy_nj=41500"
    with NativeFirmware(elf, script) as firmware, PluggedLine(firmware.url, tmp_path / "tty") as it:
        yield it


def same(outputs: list[np.ndarray], expected: list[np.ndarray]) -> bool:
    return all(o.tobytes() == e.tobytes() for o, e in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("baudrate", [9600, 115_200, 921_600])
def test_a_board_at_any_speed(line: PluggedLine, elf: Path, baudrate: int) -> None:
    inputs = toy_inputs(5)
    runner = SerialRunner(str(line.path), baudrate)
    outputs, result = runner.run(toy_build(elf), toy_board(), inputs)
    assert same(outputs, toy_outputs(inputs))
    assert result.latency_us == (1250, 1300, 1250, 1300, 1250)
    assert result.energy_uj == (41.5,) * 5
    assert dict(result.origin) == {"latency_us": "measured", "energy_uj": "measured"}
    assert runner.identify(toy_build(elf), toy_board()).board == "loopback"


@pytest.mark.qemu
def test_the_emulated_board_at_the_end_of_a_line(small: Small, tmp_path: Path) -> None:
    """The same session as with QEMU's own runner; its virtual time is no latency."""
    build, device = small("qemu-cortex-m4"), find("qemu-cortex-m4")
    host = LoopbackRunner().run(small("loopback"), find("loopback"), noise(3))[0]
    for behind_pty in (False, True):
        with Emulator(build.elf, device) as emulator:
            if behind_pty:
                with PluggedLine(emulator.url, tmp_path / "tty") as it:
                    outputs, result = SerialRunner(str(it.path)).run(build, device, noise(3))
            else:
                outputs, result = SerialRunner(emulator.url).run(build, device, noise(3))
        assert same(outputs, host)
        assert (result.samples, result.latency_us, result.instructions) == (3, None, None)
        assert result.stack_bytes


def noise(samples: int) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [rng.integers(-128, 128, (samples, 20, 10, 1)).astype(np.int8)]


def test_a_second_client_is_told_who_is_first(line: PluggedLine, elf: Path) -> None:
    runner = SerialRunner(str(line.path))
    with (
        runner.session(toy_build(elf), toy_board()),
        pytest.raises(PortInUseError, match="in use by process"),
    ):
        runner.identify(toy_build(elf), toy_board())


def test_wrong_firmware_is_refused(line: PluggedLine, elf: Path) -> None:
    with pytest.raises(WrongFirmwareError):
        SerialRunner(str(line.path)).identify(toy_build(elf, "3" * 64), toy_board())


def test_a_crash_is_told_as_such(elf: Path) -> None:
    with (
        NativeFirmware(elf, "fault=crash@9") as firmware,
        pytest.raises(FirmwareFaultError, match="signal=0x0000000b"),
    ):
        SerialRunner(firmware.url).run(toy_build(elf), toy_board(), toy_inputs(20))


def test_unplugged_is_said_so(line: PluggedLine, elf: Path) -> None:
    runner = SerialRunner(str(line.path))
    with (
        pytest.raises(LinkError, match="broke"),
        runner.session(toy_build(elf), toy_board()) as session,
    ):
        line.unplug()
        session.identify()
    with pytest.raises(LinkError, match="cannot open"):
        runner.identify(toy_build(elf), toy_board())
    line.plug()
    assert runner.identify(toy_build(elf), toy_board()).board == "loopback"


# ---------------------------------------------------------------- a whole set of samples
def predictor(elf: Path, port: str, folder: Path, **more: object) -> DevicePredictor:
    runner, build, board = SerialRunner(port), toy_build(elf), toy_board()
    kept = folder / "journal.jsonl"
    made = DevicePredictor(lambda: runner.session(build, board), build, kept)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def right(outputs: list[np.ndarray], inputs: list[np.ndarray]) -> bool:
    """Without the count of calls, which a reset sets back."""
    expected = toy_outputs(inputs)
    return same([outputs[0], outputs[1][:, :2]], [expected[0], expected[1][:, :2]])


def test_a_board_that_is_unplugged_and_plugged_in_again_goes_on(
    line: PluggedLine, elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "RETRY_S", 0.02)
    inputs = toy_inputs(12)
    attempts = 0
    runner, build, board = SerialRunner(str(line.path)), toy_build(elf), toy_board()

    def connect() -> object:
        nonlocal attempts
        attempts += 1
        if attempts == 4:
            line.plug()
        return runner.session(build, board)

    def progress(done: int, total: int) -> None:
        if done == 5 and attempts == 1:
            line.unplug()

    device = DevicePredictor(connect, build, tmp_path / "j.jsonl", progress)  # type: ignore[arg-type]
    assert right(device.predict(inputs), inputs)
    assert attempts == 4
    assert device.latency_us is not None and len(device.latency_us) == 12
    assert not (tmp_path / "j.jsonl").exists()


def test_a_board_that_restarts_goes_on(elf: Path, tmp_path: Path) -> None:
    inputs = toy_inputs(8)
    with NativeFirmware(elf, "fault=reboot@14") as firmware:
        device = predictor(elf, firmware.url, tmp_path)
        assert right(device.predict(inputs), inputs)


def test_a_board_that_stays_away_is_an_error_and_nothing_is_lost(
    line: PluggedLine, elf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "RETRY_S", 0.02)
    inputs = toy_inputs(6)

    def progress(done: int, total: int) -> None:
        if done == 4:
            line.unplug()

    away = predictor(elf, str(line.path), tmp_path, progress=progress, reconnect_s=0.1)
    with pytest.raises(LinkError):
        away.predict(inputs)
    line.plug()
    again = predictor(elf, str(line.path), tmp_path)
    assert right(again.predict(inputs), inputs)
    assert again.resumed == 4


class Killed(BaseException):
    pass


def interrupted(elf: Path, line: PluggedLine, folder: Path, inputs: list[np.ndarray]) -> None:
    def progress(done: int, total: int) -> None:
        if done == 3:
            raise Killed

    with pytest.raises(Killed):
        predictor(elf, str(line.path), folder, progress=progress).predict(inputs)


def test_a_killed_run_goes_on_where_it_stopped(
    line: PluggedLine, elf: Path, tmp_path: Path
) -> None:
    inputs = toy_inputs(8)
    interrupted(elf, line, tmp_path, inputs)
    with open(tmp_path / "journal.jsonl", "a") as journal:
        journal.write('[3,1250,"00')  # what a kill leaves of a line
    seen: list[int] = []
    again = predictor(elf, str(line.path), tmp_path, progress=lambda done, _: seen.append(done))
    assert right(again.predict(inputs), inputs)
    assert again.resumed == 3
    assert seen == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("change", ["inputs", "build"])
def test_results_of_another_run_are_not_mixed_in(
    line: PluggedLine, elf: Path, tmp_path: Path, change: str
) -> None:
    inputs = toy_inputs(8)
    interrupted(elf, line, tmp_path, inputs)
    journal = tmp_path / "journal.jsonl"
    if change == "build":
        journal.write_text(journal.read_text().replace("1" * 64, "4" * 64))
    else:
        inputs = toy_inputs(8, seed=9)
    with pytest.raises(UsageError, match="another run"):
        predictor(elf, str(line.path), tmp_path).predict(inputs)


def test_a_model_with_state_begins_anew(line: PluggedLine, elf: Path, tmp_path: Path) -> None:
    inputs = toy_inputs(8)
    interrupted(elf, line, tmp_path, inputs)
    again = predictor(elf, str(line.path), tmp_path, stateful=True)
    assert same(again.predict(inputs), toy_outputs(inputs))  # the count of calls included
    assert again.resumed == 0


def test_the_estimate_is_that_of_the_bytes_on_the_line(elf: Path) -> None:
    """What is estimated before a run against what then goes over the line."""
    sent = 0

    class Counting:
        def __init__(self, port: object) -> None:
            self._port = port

        def __getattr__(self, name: str) -> object:
            return getattr(self._port, name)

        def write(self, data: bytes) -> None:
            nonlocal sent
            sent += len(data)
            self._port.write(data)  # type: ignore[attr-defined]

    from tinydeploy.devices.link import SocketPort

    samples = 20
    with NativeFirmware(elf) as firmware:
        host, port = firmware.url.removeprefix("socket://").split(":")
        with Link(Counting(SocketPort(host, int(port))), "counted") as link:  # type: ignore[arg-type]
            session = Session(link)
            identity = session.identify()
            before = link.received_bytes + sent
            for row in zip(*toy_inputs(samples), strict=True):
                session.infer(b"".join(part.tobytes() for part in row))
            real = (link.received_bytes + sent - before) * 10 / 9600
    estimate = seconds_on_the_line(identity, samples, 9600)
    assert 0.7 * real < estimate < 1.3 * real
