"""Conversations with devices that lose, damage, delay, refuse, crash, hang and flood."""

from __future__ import annotations

import os
import re
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer import Peer, answer
from toy import compile_toy, toy_build, toy_inputs, toy_outputs

from tinydeploy.devices import exchange
from tinydeploy.devices.link import open_link
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.devices.protocol import frame
from tinydeploy.devices.session import Session
from tinydeploy.errors import DeviceError, FirmwareFaultError, LinkError, WrongFirmwareError

DATA = b"\x01%\xff "


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware", "-DTD_PORT_HAS_ENERGY")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat after 10 ms, so that the tests need not wait."""
    monkeypatch.setattr(exchange, "FIRST_RESEND_S", 0.01)


def session(peer: Peer, timeout_s: float = 0.5) -> Session:
    return Session(peer.link(), timeout_s=timeout_s, infer_timeout_s=timeout_s)


def names(peer: Peer) -> list[str]:
    return [c.split(b" ")[2].decode() for c in peer.commands if c]


# ---------------------------------------------------------------- peers
def test_an_inference_takes_two_commands_in_one_packet() -> None:
    peer = Peer()
    result = session(peer).infer(DATA)
    assert result.outputs == (DATA,)
    assert (result.device_us, result.energy_uj) == (7, 2.5)
    assert names(peer) == ["id", "load", "infer"]


def test_the_window_is_kept() -> None:
    under_way: list[bytes] = []
    most = 0

    class Slow(Peer):
        def write(self, data: bytes) -> None:
            nonlocal most
            under_way.extend(re.findall(rb"td [^%]+", data))
            most = max(most, len(under_way))
            super().write(data)

        def read(self, timeout_s: float) -> bytes:
            under_way.clear()
            return super().read(timeout_s)

    session(Slow(window=1)).infer(DATA)
    assert most == 1


def test_numbers_go_up_and_start_anywhere() -> None:
    numbers = []
    for _ in range(4):
        peer = Peer()
        session(peer).infer(DATA)
        numbers.append([int(c.split(b" ")[1]) for c in peer.commands if c])
    for run in numbers:
        assert [b % 65535 for b in run[1:]] == [(a % 65535 + 1) % 65535 for a in run[:-1]]
    assert len({run[0] for run in numbers}) > 1


@pytest.mark.usefixtures("quick")
def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    """Each answer is held back until the command was repeated and another one has followed."""
    held: list[bytes] = []

    def late(command: bytes, said: bytes) -> bytes:
        if b" infer " not in command:
            return said
        held.append(said)
        return held.pop(0) + held[0] * 2 if len(held) > 1 else b""

    peer = Peer(late)
    talk = session(peer)
    inputs = [bytes([i] * 4) for i in range(20)]
    assert [talk.infer(data).outputs[0] for data in inputs] == inputs
    assert talk.resends > 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("lost", ["id", "load", "infer"])
def test_a_lost_answer_is_asked_for_again(lost: str) -> None:
    seen: set[bytes] = set()

    def lose(command: bytes, said: bytes) -> bytes:
        if f" {lost} ".encode() in command + b" " and command not in seen:
            seen.add(command)
            return b""
        return said

    talk = session(Peer(lose))
    assert talk.infer(DATA).outputs == (DATA,)
    assert talk.resends >= 1


@pytest.mark.parametrize(
    "instead",
    [
        answer("-", "err -4 crc"),
        b"e-[Unknown command: ud]\r\nm-ready\r\n",
        b"td 5 ok n=1 us=7 nj=2500 crc=00000000 ou\xff=\x00 12345678\r\n",
    ],
)
def test_a_damaged_command_or_answer_is_repeated_at_once(instead: bytes) -> None:
    seen: set[bytes] = set()

    def damage(command: bytes, said: bytes) -> bytes:
        if command and command not in seen:
            seen.add(command)
            return instead
        return said

    talk = session(Peer(damage))
    assert talk.infer(DATA).outputs == (DATA,)
    assert talk.resends == 3


def test_an_echo_is_no_answer_and_no_damage() -> None:
    talk = session(Peer(lambda command, said: command + b"%" + said))
    assert talk.infer(DATA).outputs == (DATA,)
    assert talk.resends == 0


def test_noise_between_answers_is_ignored() -> None:
    noise = b"\x00\xff\x80 rubbish\r\n\r\nm-ready\r\n!FAUL\n"
    talk = session(Peer(lambda _, said: noise + said + noise))
    assert talk.infer(DATA).outputs == (DATA,)


@pytest.mark.usefixtures("quick")
def test_a_silent_device_says_where_and_why() -> None:
    with pytest.raises(LinkError, match="no firmware answers on peer") as caught:
        session(Peer(lambda *_: b""), timeout_s=0.05).identify()
    assert "flashed" in caught.value.hint


@pytest.mark.usefixtures("quick")
def test_another_firmware_shows_what_it_said() -> None:
    with pytest.raises(LinkError, match="lately 'login: ', 'login: '"):
        session(Peer(lambda *_: b"login: \r\n"), timeout_s=0.05).identify()


@pytest.mark.usefixtures("quick")
def test_a_device_that_hangs_in_an_inference() -> None:
    peer = Peer(lambda command, said: b"" if b" infer " in command else said)
    with pytest.raises(LinkError, match=r"did not answer 'infer' within 0\.05 s") as caught:
        session(peer, timeout_s=0.05).infer(DATA)
    assert "hangs" in caught.value.hint


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("end", [b"\r\n", b""])
def test_a_crash_gives_the_registers(end: bytes) -> None:
    line = b"td 3 ok n=\r\n" + frame(b"!FAULT pc=0000021a cfsr=00010000") + end
    peer = Peer(lambda command, said: line if b" infer " in command else said)
    with pytest.raises(FirmwareFaultError, match="pc=0x0000021a") as caught:
        session(peer, timeout_s=0.05).infer(DATA)
    assert caught.value.registers == {"pc": 0x21A, "cfsr": 0x10000}
    assert "devices fault" in caught.value.hint


def test_a_line_that_damages_everything_ends() -> None:
    peer = Peer(lambda command, said: answer("-", "err -4 crc") if command else said)
    with pytest.raises(LinkError, match="damaged"):
        session(peer).identify()


def test_a_refusal_names_command_and_error() -> None:
    with pytest.raises(DeviceError, match=r"refused 'mem': unknown \(-3\)"):
        session(Peer()).memory()


def test_a_device_that_keeps_losing_its_input() -> None:
    def forget(command: bytes, said: bytes) -> bytes:
        seq = int(command.split(b" ")[1]) if command else 0
        return answer(seq, "err -5 input") if b" infer " in command else said

    peer = Peer(forget)
    with pytest.raises(LinkError, match="spoilt"):
        session(peer).infer(DATA)
    assert names(peer).count("load") == 3


def test_an_input_lost_once_is_loaded_again() -> None:
    lost = False

    def forget(command: bytes, said: bytes) -> bytes:
        nonlocal lost
        if b" infer " not in command or lost:
            return said
        lost = True
        return answer(int(command.split(b" ")[1]), "err -5 input")

    peer = Peer(forget)
    talk = session(peer)
    assert talk.infer(DATA).outputs == (DATA,)
    assert names(peer) == ["id", "load", "infer", "load", "infer"]
    assert talk.inferences == 1


@pytest.mark.parametrize(
    "instead", ["crc=00000000 out=01020304", "crc=b63cfbcd out=0102", "crc=b63cfbcd"]
)
def test_outputs_that_are_not_what_was_computed(instead: str) -> None:
    def swap(command: bytes, said: bytes) -> bytes:
        seq = int(command.split(b" ")[1]) if command else 0
        text = f"ok n=1 us=7 nj=0 {instead}"
        return answer(seq, text) if b" infer " in command else said

    with pytest.raises(DeviceError):
        session(Peer(swap)).infer(DATA)


def test_wrong_firmware_is_refused(tmp_path: Path) -> None:
    talk = session(Peer())
    assert talk.require(toy_build(tmp_path)).build_id == "1" * 64
    with pytest.raises(WrongFirmwareError, match=r"runs build 111111111111 .*expected 3333") as e:
        talk.require(toy_build(tmp_path, build_id="3" * 64))
    assert "flash" in e.value.hint


def test_input_of_another_size_is_the_callers_fault() -> None:
    with pytest.raises(ValueError, match="takes 4 bytes, got 5"):
        session(Peer()).infer(b"12345")


class Around:
    """What is entered around an inference."""

    def __init__(self, events: list[str]) -> None:
        self.events = events

    def __enter__(self) -> None:
        self.events.append("enter")

    def __exit__(self, *_: object) -> None:
        self.events.append("leave")


def test_what_is_entered_holds_the_inference_and_not_the_loading() -> None:
    events: list[str] = []

    def watch(command: bytes, said: bytes) -> bytes:
        events.append(command.split(b" ")[2].decode() if command else "wake")
        return said

    session(Peer(watch)).infer(DATA, around=Around(events))
    assert events == ["wake", "id", "load", "enter", "infer", "leave"]


@pytest.mark.usefixtures("quick")
def test_a_window_with_waiting_in_it_is_measured_again() -> None:
    lost = False
    events: list[str] = []

    def lose(command: bytes, said: bytes) -> bytes:
        nonlocal lost
        if b" infer " not in command or lost:
            return said
        lost = True
        return b""

    session(Peer(lose)).infer(DATA, around=Around(events))
    assert events == ["enter", "leave"] * 2


# ---------------------------------------------------------------- the real firmware
@pytest.fixture
def on_a_terminal(elf: Path) -> Iterator[str]:
    """The firmware at one end of a pseudo terminal, as a USB serial port looks to pyserial."""
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    process = subprocess.Popen([elf], stdin=master, stdout=master, env={})
    os.close(master)
    try:
        yield path
    finally:
        os.close(slave)
        process.kill()
        process.wait()


def test_over_a_serial_port(on_a_terminal: str) -> None:
    inputs = toy_inputs(20)
    outputs = toy_outputs(inputs)
    with open_link(on_a_terminal) as link:
        talk = Session(link)
        for index in range(20):
            result = talk.infer(b"".join(x[index].tobytes() for x in inputs))
            assert result.outputs == tuple(y[index].tobytes() for y in outputs)
        assert talk.counters()["inferences"] == 20
        assert talk.resends == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "script", ["damage_in=701", "damage_out=499", "damage_in=997 damage_out=797"]
)
def test_a_line_with_errors_gives_right_results_and_runs_nothing_twice(
    elf: Path, script: str
) -> None:
    inputs = toy_inputs(40)
    outputs = toy_outputs(inputs)
    with NativeFirmware(elf, script) as firmware, open_link(firmware.url) as link:
        talk = Session(link)
        talk.reset()
        for index in range(40):
            result = talk.infer(b"".join(x[index].tobytes() for x in inputs))
            assert result.outputs == tuple(y[index].tobytes() for y in outputs)
        assert talk.resends > 0
        assert talk.counters()["inferences"] == 40


def test_a_host_after_a_host_that_left_half_a_command(on_a_terminal: str) -> None:
    with open_link(on_a_terminal) as link:
        link.write(b"td 5 load 0 abc")
    with open_link(on_a_terminal) as link:
        assert Session(link).identify().board == "loopback"


def test_memory(elf: Path) -> None:
    with NativeFirmware(elf) as firmware, open_link(firmware.url) as link:
        memory = Session(link).memory()
    assert (memory.arena_bytes, memory.input_bytes) == (216, 108)
    assert memory.stack_reserved_bytes is None
    assert memory.stack_used_bytes is None
