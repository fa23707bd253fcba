"""Lines over real transports: a pseudo terminal through pyserial, a socket, and arbitrary bytes."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
import tty
from pathlib import Path

import pytest
import serial
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.devices import link as link_module
from tinydeploy.devices.link import Link, open_link
from tinydeploy.errors import LinkError, UsageError


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


class Chunks:
    """A port that delivers prepared chunks, then nothing."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def read(self, timeout_s: float) -> bytes:
        return self._chunks.pop(0) if self._chunks else b""

    def write(self, data: bytes) -> None:
        raise OSError(errno.EIO, "unplugged")

    def close(self) -> None:
        raise OSError(errno.EIO, "unplugged")


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50)))
def test_any_stream_becomes_its_lines(chunks: list[bytes]) -> None:
    *whole, rest = b"".join(chunks).split(b"\n")
    waiting = [c for c in chunks if c]
    link = Link(Chunks(waiting), "test")
    got = []
    while (line := link.read_line(soon(0))) is not None or waiting:
        if line is not None:
            got.append(line)
    assert got == [line.strip(b"\r") for line in whole]
    assert link.partial == rest


def test_memory_is_bounded_whatever_comes() -> None:
    chunk = b"x" * 4096
    link = Link(Chunks([chunk] * 100 + [b"\nfine\n"]), "test")
    lines = [link.read_line(soon()), link.read_line(soon())]
    assert lines[1] == b"fine"
    assert len(lines[0] or b"") <= link_module.MAX_LINE_BYTES
    assert link.discarded_bytes + len(lines[0] or b"") == 100 * len(chunk)


def test_what_has_arrived_is_returned_after_the_deadline() -> None:
    link = Link(Chunks([b"one\ntwo\n"]), "test")
    assert link.read_line(soon()) == b"one"
    assert link.read_line(time.monotonic() - 1) == b"two"
    assert link.read_line(time.monotonic() - 1) is None


def test_a_held_up_host_still_gets_what_waits_in_the_port() -> None:
    link = Link(Chunks([b"one\n", b"t", b"wo\n"]), "test")
    late = time.monotonic() - 1
    assert [link.read_line(late) for _ in range(3)] == [b"one", None, b"two"]


def test_a_line_that_breaks_is_a_link_error_and_closing_it_is_not() -> None:
    link = Link(Chunks([]), "/dev/ttyX")
    with pytest.raises(LinkError, match=r"/dev/ttyX.*unplugged") as caught:
        link.write(b"x")
    assert caught.value.hint
    link.close()


def test_a_serial_device_through_pyserial() -> None:
    master, slave = os.openpty()
    tty.setraw(master)
    try:
        with open_link(os.ttyname(slave)) as link:
            os.write(master, b"m-ready\r\nhalf")
            assert link.read_line(soon()) == b"m-ready"
            assert link.read_line(soon(0.05)) is None
            os.write(master, b" and half\r\n" + bytes(range(256)) + b"\n")
            assert link.read_line(soon()) == b"half and half"
            assert link.read_line(soon()) == bytes(range(10))
            link.write(bytes(range(256)))
            assert os.read(master, 1000) == bytes(range(256))
            link.read_line(soon())
            os.close(master)
            master = -1
            with pytest.raises(LinkError, match="broke"):
                while link.read_line(soon(1)) is None:
                    link.write(b"x")
    finally:
        os.close(slave)
        if master >= 0:
            os.close(master)


def test_a_terminal_that_another_program_holds() -> None:
    """That of another user, whose lock file is not ours to see."""
    master, slave = os.openpty()
    try:
        with open_link(os.ttyname(slave)):
            with pytest.raises(LinkError, match="cannot open") as caught:
                open_link(os.ttyname(slave))
            assert "another program" in caught.value.hint
    finally:
        os.close(slave)
        os.close(master)


def test_a_socket_and_its_end() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        link = open_link(f"socket://127.0.0.1:{server.getsockname()[1]}")
        peer, _ = server.accept()
        peer.sendall(b"hello\r\n")
        assert link.read_line(soon()) == b"hello"
        link.write(b"name%")
        assert peer.recv(100) == b"name%"
        peer.close()
        with pytest.raises(LinkError, match="closed the connection"):
            link.read_line(soon())
        link.close()


def test_opening_waits_for_whoever_is_about_to_listen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        opener = threading.Timer(0.2, server.listen)
        opener.start()
        open_link(f"socket://127.0.0.1:{server.getsockname()[1]}", timeout_s=10).close()
        opener.join()


def test_nobody_listens() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(LinkError, match="cannot open") as caught:
            open_link(url, timeout_s=0.1)
        assert "has not started" in caught.value.hint


def test_a_device_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LinkError) as caught:
        open_link(str(tmp_path / "ttyACM0"))
    assert "plugged in" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "text", "hint"),
    [
        (errno.EACCES, "could not open port: Permission denied", "dialout"),
        (None, "[Errno 13] could not open port: Permission denied", "dialout"),
        (errno.EBUSY, "Device or resource busy", "another program"),
        (errno.EIO, "Input/output error", "cable"),
    ],
)
def test_hints(monkeypatch: pytest.MonkeyPatch, code: int | None, text: str, hint: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(code, text) if code else serial.SerialException(text)

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(LinkError) as caught:
        open_link("/dev/ttyACM0")
    assert hint in caught.value.hint


def test_the_hint_names_the_group_that_owns_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    port = tmp_path / "ttyACM0"
    port.touch()
    with pytest.raises(LinkError) as caught:
        open_link(str(port))
    assert f"usermod -aG {port.group()} " in caught.value.hint


@pytest.mark.parametrize("url", ["socket://", "socket://host", "socket://h:99999", "nosuch://x"])
def test_urls_that_make_no_sense(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_link(url)
    assert caught.value.hint
