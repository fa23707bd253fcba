"""Bytes to messages and back: what is right passes, what is damaged does not."""

from __future__ import annotations

import binascii
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinydeploy.devices import protocol
from tinydeploy.devices.protocol import Answer, ProtocolError, decode_answer

IDENTITY = {
    "protocol": "2",
    "firmware": "0.1.0",
    "board": "b",
    "engine": "aot",
    "build": "1" * 64,
    "model": "2" * 64,
    "name": "toy",
    "caps": "time,energy",
    "line": "140",
    "window": "4",
    "chunk": "54",
    "in": "int8:100,float32:8",
    "out": "int16:6",
}

seqs = st.integers(0, protocol.MAX_SEQ)
values = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
keys = st.text(
    st.characters(min_codepoint=ord("a"), max_codepoint=ord("z")), min_size=1, max_size=8
)
fields = st.dictionaries(keys, values, max_size=6)


def answer_line(seq: int | str, pairs: dict[str, str]) -> bytes:
    words = ["td", str(seq), "ok", *(f"{k}={v}" for k, v in pairs.items())]
    return protocol.frame(" ".join(words).encode())


def unescape(data: bytes) -> bytes:
    return re.sub(rb"=(.)", lambda m: bytes([m[1][0] ^ 0x40]), data, flags=re.DOTALL)


def test_crc_is_that_of_zlib() -> None:
    assert protocol.crc32(b"123456789") == 0xCBF43926
    assert protocol.crc32(b"") == 0


@settings(deadline=None)
@given(st.binary(max_size=400))
@example(bytes(range(256)))
def test_escaped_data_holds_nothing_that_means_something_and_comes_back(data: bytes) -> None:
    escaped = protocol.escape(data)
    assert not set(escaped) & set(b" \r\n%\x11\x13")
    assert unescape(escaped) == data


@settings(deadline=None)
@given(st.binary(max_size=2000), st.integers(protocol.MIN_LINE_BYTES, 2000))
@example(b"%" * 1000, 80)
@example(b"x" * 999 + b"%" * 999, 1024)
def test_parts_fit_the_line_and_are_the_data(data: bytes, line_bytes: int) -> None:
    parts = protocol.split_for_lines(data, line_bytes)
    assert b"".join(part for _, part in parts) == data
    at = 0
    for offset, part in parts:
        assert offset == at
        assert part
        at += len(part)
        sent = protocol.command(protocol.MAX_SEQ, "load", offset, part)
        assert len(sent) <= line_bytes + len(b"%")


def test_as_few_parts_as_the_line_allows() -> None:
    assert len(protocol.split_for_lines(bytes(490), 1024)) == 1
    assert len(protocol.split_for_lines(b"%" * 490, 1024)) == 1
    assert len(protocol.split_for_lines(bytes(784), 140)) == 8


@settings(deadline=None)
@given(seqs, fields)
def test_an_answer_comes_back(seq: int, pairs: dict[str, str]) -> None:
    assert decode_answer(answer_line(seq, pairs)) == Answer(seq, pairs)


@settings(deadline=None)
@given(st.binary(max_size=60), seqs, fields)
@example(b"td 1 ok 0000", 1, {})
@example(protocol.command(7, "id"), 7, {"a": "1"})
@example(b"\xfftd td td ", 7, {})
def test_an_answer_behind_noise_or_echo_comes_back(
    noise: bytes, seq: int, pairs: dict[str, str]
) -> None:
    assert decode_answer(noise + answer_line(seq, pairs)) == Answer(seq, pairs)


def test_refusals() -> None:
    assert decode_answer(protocol.frame(b"td 7 err -2 range")) == Answer(7, {}, -2, "range")
    assert decode_answer(protocol.frame(b"td - err -4 crc")) == Answer(None, {}, -4, "crc")


def test_any_damaged_byte_is_detected() -> None:
    line = answer_line(4711, {"n": "1", "us": "1250", "crc": "55da", "out": "0102fffe"})
    assert decode_answer(line) is not None
    for at in range(len(line)):
        for byte in range(256):
            if byte != line[at]:
                damaged = line[:at] + bytes([byte]) + line[at + 1 :]
                assert decode_answer(damaged) is None, (at, byte)


def test_what_sixteen_bits_let_through() -> None:
    """Two bytes sent twice: the energy is ten times as large, and the old CRC-16 is the same."""
    out = "out=00ff102030405060708090a0"
    sent = f"td 4711 ok n=1 us=1250 nj=41500 crc=78cf1a1c {out}".encode()
    damaged = f"td 4711 ok n=1 us=1250 nj=415000 crrc=78cf1a1c {out}".encode()
    assert binascii.crc_hqx(sent, 0xFFFF) == binascii.crc_hqx(damaged, 0xFFFF)
    assert decode_answer(protocol.frame(sent)) is not None
    assert decode_answer(damaged + protocol.frame(sent)[-9:]) is None


@settings(deadline=None)
@given(seqs, fields, st.data())
def test_any_burst_of_32_bits_is_detected(
    seq: int, pairs: dict[str, str], data: st.DataObject
) -> None:
    line = answer_line(seq, pairs)
    burst = data.draw(st.integers(1, 0xFFFFFFFF))
    shift = data.draw(st.integers(0, 8 * len(line) - 32))
    number = int.from_bytes(line, "big") ^ burst << shift
    assert decode_answer(number.to_bytes(len(line), "big")) is None


@settings(deadline=None)
@given(seqs, fields, st.data())
def test_a_cut_answer_is_none(seq: int, pairs: dict[str, str], data: st.DataObject) -> None:
    line = answer_line(seq, pairs)
    cut = data.draw(st.integers(0, len(line) - 1))
    assert decode_answer(line[:cut]) is None


@settings(deadline=None)
@given(st.binary(max_size=300))
@example(b"td 99999 ok 0000")
@example(protocol.frame(b"td 1 ok a"))
@example(protocol.frame(b"td 1 ok =1"))
@example(protocol.frame(b"td 01 ok"))
@example(protocol.frame(b"td 1 err 0 fine"))
@example(b"!FAULT pc=")
def test_garbage_decodes_to_nothing_and_raises_nothing(garbage: bytes) -> None:
    assert decode_answer(garbage) is None
    protocol.decode_fault(garbage)
    protocol.is_damaged(garbage)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(IDENTITY)), values))
@example({"in": "int8:0"})
@example({"in": "float32:6"})
@example({"out": "int8:100,"})
@example({"window": "0"})
@example({"line": "79"})
@example({"chunk": "0"})
def test_a_senseless_identity_raises_its_own_error(changed: dict[str, str]) -> None:
    try:
        identity = protocol.decode_identity(Answer(1, IDENTITY | changed))
    except ProtocolError as e:
        assert e.hint
    else:
        assert identity.window >= 1
        assert identity.input_bytes > 0
        assert identity.output_bytes > 0


@pytest.mark.parametrize("key", IDENTITY)
def test_an_identity_without_a_key_says_which(key: str) -> None:
    pairs = {k: v for k, v in IDENTITY.items() if k != key}
    with pytest.raises(ProtocolError, match=key):
        protocol.decode_identity(Answer(1, pairs))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("in", "int8:0"),
        ("in", "float32:6"),
        ("in", "complex64:8"),
        ("out", "int8:100,"),
        ("window", "0"),
        ("window", "-1"),
        ("line", "79"),
        ("chunk", "0"),
        ("line", "99999999999"),
    ],
)
def test_impossible_identities(key: str, value: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_identity(Answer(1, IDENTITY | {key: value}))


def test_identity() -> None:
    identity = protocol.decode_identity(Answer(1, IDENTITY))
    assert identity.capabilities == {"time", "energy"}
    assert (identity.input_bytes, identity.output_bytes) == (108, 6)
    assert [t.dtype for t in identity.inputs] == ["int8", "float32"]


@pytest.mark.parametrize("version", [1, protocol.VERSION + 1])
def test_another_protocol_version_is_refused(version: int) -> None:
    with pytest.raises(ProtocolError, match=f"protocol {version}, this host speaks 2 to 3"):
        protocol.decode_identity(Answer(1, IDENTITY | {"protocol": str(version)}))


def test_the_version_before_is_understood() -> None:
    assert protocol.decode_identity(Answer(1, IDENTITY | {"protocol": "2"})).protocol == 2


def test_values_of_fields() -> None:
    answer = Answer(1, {"n": "12", "data": "00ff", "bad": "0g", "odd": "012"})
    assert answer.number("n") == 12
    assert answer.data("data") == b"\x00\xff"
    for key in ("bad", "odd", "none"):
        with pytest.raises(ProtocolError):
            answer.data(key)
    with pytest.raises(ProtocolError):
        answer.number("data2")


def test_fault_lines() -> None:
    line = protocol.frame(b"!FAULT pc=0000021a lr=000001f3 cfsr=00010000")
    assert protocol.decode_fault(line) == {"pc": 0x21A, "lr": 0x1F3, "cfsr": 0x10000}
    assert protocol.decode_fault(b"\xff td 1 " + line) == protocol.decode_fault(line)
    assert protocol.decode_fault(protocol.frame(b"!FAULT")) == {}
    assert protocol.decode_fault(b"!FAULT pc=0000021a") is None
    damaged = line.replace(b"21a", b"21b")
    assert protocol.decode_fault(damaged) is None
    assert protocol.is_damaged(damaged)
    assert protocol.decode_fault(b"e-[Unknown command: !FAULT pc=1]") is None


def test_what_shows_damage() -> None:
    assert protocol.is_damaged(b"e-[Unknown command: ud]")
    assert protocol.is_damaged(b"td 5 ok n=1 us=1 0000")
    assert not protocol.is_damaged(protocol.command(5, "id"))
    assert not protocol.is_damaged(b"m-ready")
