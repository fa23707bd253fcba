"""Garbage does the firmware no harm: its real C code as a process, under the sanitizers."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from td_line import infer, load, talk
from toy import INPUT_BYTES

from tinydeploy.devices import protocol
from tinydeploy.devices.protocol import command, decode_answer

KNOWN_LINE = re.compile(
    rb"m-[ -~]*|e-\[[ -~]*\]|td (\d+|-) (ok|err)[ -~]*|tinydeploy [ -~]*|\r?|[0-9a-f-]+"
)

SEEDS = [
    *(
        b"%",
        b"td ",
        b"td 1 id",
        b" ffffffff%",
        b"td 1 load 0 ",
        b"=%",
        b"a" * 200,
        b"\x00",
        b"\r\n",
    ),
    *(b"db ", b"db load ", b"db load 108%", b"00ff%", b"db print%", b"infer 1 0%", b"results%"),
    *(b"name%", command(1, "id"), command(2, "mem"), command(3, "load", 0, b"abc")),
    *(command(4, "out"), load(bytes(INPUT_BYTES)), infer(5, bytes(INPUT_BYTES))),
]
pieces = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(SEEDS),
    st.builds(
        lambda name, args: command(6, name, *args),
        st.sampled_from(["load", "infer", "out", "id", "crc"]),
        st.lists(st.one_of(st.binary(max_size=40), st.integers(0, 2**33)), max_size=4),
    ),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(pieces, max_size=25).map(b"".join))
@example(b"")
@example(b"%" * 500)
@example(bytes(range(256)) * 4)
@example(b"td %td%td 1%td 1 %td 1 id%td 1 id 000%")
@example(protocol.frame(b"td 1 load 0 =") + b"%")
@example(protocol.frame(b"td 1 load 107 ==") + b"%" + protocol.frame(b"td 1 load 107 ===") + b"%")
@example(b"db load 108%" + b"db " + b"0" * 76 + b"%" * 5)
@example(protocol.frame(b"td 1 infer 1 ") + b"%")
def test_garbage_does_no_harm(elf: Path, garbage: bytes) -> None:
    """No sanitizer speaks, every line is of a known form, and the next command is understood."""
    garbage = re.sub(rb"infer +\d{2,}[ \d]*", b"infer 1 1", garbage)  # else it runs for long
    lines = talk(elf, garbage + b"%" + command(4242, "mem"))
    for line in lines:
        assert KNOWN_LINE.fullmatch(line), line
    last = decode_answer(lines[-1])
    assert last is not None
    assert (last.seq, last.number("input")) == (4242, INPUT_BYTES)
