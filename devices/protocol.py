"""The wire format of `firmware/PROTOCOL.md`: bytes to messages and back. No I/O.

Commands go to the device as ``td SEQ NAME ARGS CRC%``, answers come back as lines
``td SEQ ok KEY=VALUE ... CRC`` or ``td SEQ err CODE NAME CRC``. All that a line can hold besides,
noise, echo and the lines of MLPerf Tiny's protocol, decodes to nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from tinydeploy.errors import LinkError, UsageError

VERSION = 3
OLDEST_VERSION = 2  # it differs in updates alone
MAX_SEQ = 65535
MIN_LINE_BYTES = 80
ERR_CRC = -4
ERR_INPUT = -5

DTYPE_BYTES = {
    "int8": 1,
    "int16": 2,
    "float32": 4,
    "int32": 4,
    "uint8": 1,
    "bool": 1,
    "int64": 8,
}

_ANSWER = re.compile(
    rb"td (?P<seq>-|0|[1-9][0-9]{0,4}) "
    rb"(?:ok(?P<fields>(?: [a-z]+=[!-~]*)*)|err (?P<code>-[1-9][0-9]{0,2}) (?P<name>[a-z]+))"
    rb" (?P<crc>[0-9a-f]{8})"
)
_SPECIAL = re.compile(rb"[ \r\n%=\x11\x13]")
_LOAD_OVERHEAD = len("td 65535 load 4294967295  ffffffff")
PATCH_OVERHEAD = len("td 65535 patch 4294967295  ffffffff")
_FAULT = re.compile(rb"(?P<body>!FAULT((?: [a-z_0-9]+=[0-9a-f]{1,16})*)) (?P<crc>[0-9a-f]{8})")


class ProtocolError(LinkError):
    """An answer whose CRC is right and whose content makes no sense."""

    def __init__(self, message: str) -> None:
        super().__init__(
            message, hint="firmware and host speak different protocols: build and flash again"
        )


def crc32(data: bytes) -> int:
    """The CRC-32 of Ethernet and zlib, check value 0xCBF43926."""
    return zlib.crc32(data)


def frame(body: bytes) -> bytes:
    """`body` with a space and its CRC behind it: a command without terminator, or an answer."""
    return body + b" %08x" % crc32(body)


def command(seq: int, name: str, *args: str | int | bytes) -> bytes:
    """One complete command, with its terminator. Bytes travel escaped, see `escape`."""
    words = [escape(a) if isinstance(a, bytes) else str(a).encode("ascii") for a in args]
    return frame(b" ".join([b"td", b"%d" % seq, name.encode("ascii"), *words])) + b"%"


def escape(data: bytes) -> bytes:
    """Data as an argument of a command.

    Bytes that mean something in a line (space, CR, LF, ``%``, ``=``) or to flow control (XON,
    XOFF) become ``=`` and the byte with bit 6 flipped; all others stay.
    """
    return _SPECIAL.sub(lambda match: b"=" + bytes([match[0][0] ^ 0x40]), data)


def split_for_lines(data: bytes, line_bytes: int) -> list[tuple[int, bytes]]:
    """Offsets and parts of `data` such that ``load OFFSET PART`` fits a device's longest line."""
    room = line_bytes - _LOAD_OVERHEAD
    parts = []
    at = 0
    while at < len(data):
        part = fitting(data[at : at + room], room)
        parts.append((at, part))
        at += len(part)
    return parts


def fitting(data: bytes, room: int) -> bytes:
    """As much of the start of `data` as takes `room` characters when it is escaped."""
    size = min(room, len(data))
    while len(escape(data[:size])) > room:
        # Each escaped byte takes two, so that half the surplus at least has to go.
        size -= max(1, (len(escape(data[:size])) - room) // 2)
    return data[:size]


@dataclass(frozen=True)
class Answer:
    """One answer. `seq` is None where the device could not read the command's number.

    `code` is 0 for success, otherwise a negative `enum td_err` with its `name`.
    """

    seq: int | None
    fields: Mapping[str, str]
    code: int = 0
    name: str = ""

    def text(self, key: str) -> str:
        """A field as text. Raises ProtocolError if it is missing."""
        if key not in self.fields:
            raise ProtocolError(f"the device's answer has no {key!r}")
        return self.fields[key]

    def number(self, key: str) -> int:
        """A field as a decimal number that is not negative."""
        text = self.text(key)
        if not re.fullmatch(r"[0-9]{1,10}", text):
            raise ProtocolError(f"the device's answer says {key}={text!r}, expected a number")
        return int(text)

    def numbers(self, key: str) -> list[int]:
        """A field as decimal numbers separated by commas."""
        text = self.text(key)
        if not re.fullmatch(r"[0-9]{1,10}(,[0-9]{1,10})*", text):
            raise ProtocolError(f"the device's answer says {key}={text[:40]!r}, expected numbers")
        return [int(number) for number in text.split(",")]

    def data(self, key: str) -> bytes:
        """A field as bytes, written in hex digits."""
        text = self.text(key)
        if not re.fullmatch(r"([0-9a-f]{2})*", text):
            raise ProtocolError(f"the device's answer says {key}={text[:40]!r}, expected hex")
        return bytes.fromhex(text)


def decode_answer(line: bytes) -> Answer | None:
    """The answer at the end of a line, or None if there is none with a right CRC.

    An answer may stand behind noise or the echo of the command, never before them.
    """
    start = line.rfind(b"td ")
    while start >= 0:
        match = _ANSWER.fullmatch(line, start)
        if match and crc32(line[start : match.start("crc") - 1]) == int(match["crc"], 16):
            return _answer(match)
        start = line.rfind(b"td ", 0, start)
    return None


def _answer(match: re.Match[bytes]) -> Answer:
    seq = None if match["seq"] == b"-" else int(match["seq"])
    if match["code"]:
        return Answer(seq, {}, int(match["code"]), match["name"].decode())
    pairs = (match["fields"] or b"").decode().split()
    return Answer(seq, dict(pair.split("=", 1) for pair in pairs))


def is_damaged(line: bytes) -> bool:
    """Whether a line that is no answer shows that a command or an answer was damaged.

    Either the device says that it could not read what it got (MLPerf's ``e-[...]``), or the line
    was an answer, or the report of a crash, once (the echo of a command ends with its terminator).
    """
    if line.startswith(b"e-[") or b"!FAULT " in line:
        return True
    return b"td " in line and not line.endswith(b"%")


def decode_fault(line: bytes) -> dict[str, int] | None:
    """The registers of a line ``!FAULT pc=... lr=... CRC`` (hex), or None for any other line."""
    match = _FAULT.search(line)
    if match is None or crc32(match["body"]) != int(match["crc"], 16):
        return None
    pairs = (pair.split("=", 1) for pair in match[2].decode().split())
    return {key: int(value, 16) for key, value in pairs}


def read_fault(text: str) -> dict[str, int]:
    """The registers of a ``!FAULT`` line that somebody copied, with its CRC or without.

    Raises UsageError if there are none, or if the CRC shows that a digit is wrong.
    """
    match = re.search(r"!FAULT((?: [a-z_0-9]+=[0-9a-f]{1,16})+)( [0-9a-f]{8})?", text)
    if match is None:
        raise UsageError(
            f"{text[:80]!r} holds no registers", hint='a line such as "!FAULT pc=0000021a lr=..."'
        )
    if match[2] and decode_fault(match[0].encode()) is None:
        raise UsageError(
            "the CRC of the line is not right", hint="a digit got lost: send the board any command"
        )
    pairs = (pair.split("=", 1) for pair in match[1].split())
    return {key: int(value, 16) for key, value in pairs}


@dataclass(frozen=True)
class TensorInfo:
    """dtype (numpy's name) and size of one input or output of the model."""

    dtype: str
    bytes: int


@dataclass(frozen=True)
class Identity:
    """What a device says about itself.

    `capabilities` holds some of "time", "virtual-time", "instructions", "energy", "profile".
    `line_bytes` is the longest command it takes without the terminator, `window` how many commands
    may be under way at once, `chunk_bytes` how many bytes of output one answer carries.
    """

    protocol: int
    firmware: str
    board: str
    engine: str
    build_id: str
    model_sha256: str
    model_name: str
    capabilities: frozenset[str]
    line_bytes: int
    window: int
    chunk_bytes: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs together."""
        return sum(t.bytes for t in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs together."""
        return sum(t.bytes for t in self.outputs)


def decode_identity(answer: Answer) -> Identity:
    """The answer to `id`. Raises ProtocolError for another protocol or senseless values."""
    protocol = answer.number("protocol")
    if not OLDEST_VERSION <= protocol <= VERSION:
        raise ProtocolError(
            f"the device speaks protocol {protocol}, this host speaks {OLDEST_VERSION} to {VERSION}"
        )
    identity = Identity(
        protocol=protocol,
        firmware=answer.text("firmware"),
        board=answer.text("board"),
        engine=answer.text("engine"),
        build_id=answer.text("build"),
        model_sha256=answer.text("model"),
        model_name=answer.text("name"),
        capabilities=frozenset(answer.text("caps").split(",")),
        line_bytes=answer.number("line"),
        window=answer.number("window"),
        chunk_bytes=answer.number("chunk"),
        inputs=_tensors(answer, "in"),
        outputs=_tensors(answer, "out"),
    )
    if identity.window < 1 or identity.chunk_bytes < 1 or identity.line_bytes < MIN_LINE_BYTES:
        raise ProtocolError("the device names an impossible window or line length")
    return identity


def _tensors(answer: Answer, key: str) -> tuple[TensorInfo, ...]:
    tensors = []
    for item in answer.text(key).split(","):
        dtype, _, size = item.partition(":")
        if dtype not in DTYPE_BYTES or not re.fullmatch(r"[1-9][0-9]{0,8}", size):
            raise ProtocolError(f"the device names an impossible tensor {item!r}")
        if int(size) % DTYPE_BYTES[dtype]:
            raise ProtocolError(f"the device names a tensor of {size} bytes of {dtype}")
        tensors.append(TensorInfo(dtype, int(size)))
    return tuple(tensors)
