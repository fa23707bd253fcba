"""The firmware's end of the line: the real C code as a process, under the sanitizers."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from toy import FIRMWARE, INPUT_BYTES, LINE_BYTES, TOY, compile_toy, toy_inputs, toy_outputs

from tinydeploy.devices import protocol
from tinydeploy.devices.protocol import Answer, command, crc32, decode_answer

SCRIPT = {"TD_NATIVE": "latency_us=1250 energy_nj=41500"}
BANNER = ["m-timestamp-mode-performance", "m-lap-us-0", "m-init-done", "m-ready"]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
KNOWN_LINE = re.compile(
    rb"m-[ -~]*|e-\[[ -~]*\]|td (\d+|-) (ok|err)[ -~]*|tinydeploy [ -~]*|\r?|[0-9a-f-]+"
)


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toy") / "firmware"
    return compile_toy(out, *SANITIZERS, "-DTD_PORT_HAS_ENERGY")


def talk(elf: Path, data: bytes) -> list[bytes]:
    """All lines that the firmware answers to `data`, without the banner."""
    done = subprocess.run([elf], input=data, env=SCRIPT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr
    lines = done.stdout.split(b"\r\n")
    assert [line.decode() for line in lines[: len(BANNER)]] == BANNER
    assert lines[-1] == b""
    return lines[len(BANNER) : -1]


def answers(elf: Path, data: bytes) -> list[Answer]:
    """The answers to `td` commands."""
    decoded = [decode_answer(line) for line in talk(elf, data)]
    return [answer for answer in decoded if answer is not None]


def load(data: bytes, seq: int = 1) -> bytes:
    parts = protocol.split_for_lines(data, LINE_BYTES)
    return b"".join(command(seq, "load", at, part) for at, part in parts)


def infer(seq: int, data: bytes, n: int = 1) -> bytes:
    return command(seq, "infer", n, f"{crc32(data):08x}")


def row(seed: int) -> tuple[bytes, list[np.ndarray]]:
    inputs = toy_inputs(1, seed)
    return b"".join(x.tobytes() for x in inputs), toy_outputs(inputs)


# ---------------------------------------------------------------- the document
def transcripts() -> list[list[str]]:
    text = (FIRMWARE / "PROTOCOL.md").read_text("utf-8")
    blocks = re.findall(r"^```\n(> .*?)^```", text, re.DOTALL | re.MULTILINE)
    return [block.splitlines() for block in blocks]


@pytest.mark.parametrize("lines", transcripts(), ids=lambda lines: lines[0])
def test_the_document_shows_what_the_firmware_does(elf: Path, lines: list[str]) -> None:
    sent = "".join(line[2:] for line in lines if line.startswith("> "))
    shown = [line[2:] for line in lines if line.startswith("<")]
    assert [line.decode() for line in talk(elf, sent.encode())] == shown


def test_the_document_has_both_command_sets() -> None:
    assert len(transcripts()) == 2


# ---------------------------------------------------------------- td commands
def test_identity(elf: Path) -> None:
    (answer,) = answers(elf, command(1, "id"))
    identity = protocol.decode_identity(answer)
    assert identity.board == "loopback"
    assert identity.build_id == "1" * 64
    assert identity.capabilities == {"time", "energy"}
    assert (identity.line_bytes, identity.window, identity.chunk_bytes) == (LINE_BYTES, 4, 54)
    assert [(t.dtype, t.bytes) for t in identity.inputs] == [("int8", 100), ("float32", 8)]
    assert [(t.dtype, t.bytes) for t in identity.outputs] == [("int8", 100), ("int16", 6)]


def test_an_inference_computes_on_what_was_loaded(elf: Path) -> None:
    data, outputs = row(1)
    out = [command(5, "out", 0, 0, 54), command(6, "out", 0, 54, 46), command(7, "out", 1, 0, 6)]
    *loaded, ran, a, b, c = answers(elf, load(data) + infer(4, data) + b"".join(out))
    assert sum(answer.number("n") for answer in loaded) == INPUT_BYTES
    assert a.data("data") + b.data("data") == outputs[0].tobytes()
    assert c.data("data") == outputs[1].tobytes()
    assert ran.text("crc") == f"{crc32(outputs[0].tobytes() + outputs[1].tobytes()):08x}"
    assert (ran.number("us"), ran.number("nj")) == (1250, 41500)


def test_parts_of_the_input_may_come_in_any_order_and_twice(elf: Path) -> None:
    data, _ = row(2)
    parts = protocol.split_for_lines(data, LINE_BYTES)
    twice = [*reversed(parts), *parts]
    sent = b"".join(command(1, "load", at, part) for at, part in twice)
    assert answers(elf, sent + command(2, "crc"))[-1].text("crc") == f"{crc32(data):08x}"


def test_every_repetition_starts_from_the_received_input(elf: Path) -> None:
    """The model destroys its inputs, so that a second invoke without a copy would differ."""
    data, outputs = row(3)
    sent = load(data) + infer(2, data, n=3) + command(3, "out", 1, 0, 4)
    *_, ran, out = answers(elf, sent)
    assert out.data("data") == outputs[1].tobytes()[:4]
    assert (ran.number("us"), ran.number("nj")) == (3 * 1250, 3 * 41500)


def test_a_repeated_infer_is_answered_and_not_run_again(elf: Path) -> None:
    data, _ = row(4)
    *_, first, second, counters = answers(
        elf, load(data) + infer(9, data) + infer(9, data) + command(10, "counters")
    )
    assert first == second
    assert counters.number("inferences") == 1


def test_a_late_repetition_is_answered_even_when_the_next_input_is_there(elf: Path) -> None:
    data, _ = row(5)
    other, _ = row(6)
    *_, late, counters = answers(
        elf,
        load(data) + infer(9, data) + load(other, 10) + infer(9, data) + command(11, "counters"),
    )
    assert late.code == 0
    assert counters.number("inferences") == 1


def test_a_refused_infer_stays_refused_when_its_input_comes_late(elf: Path) -> None:
    """Its repetition, still in some queue, must not run what the host asks for anew."""
    data, _ = row(13)
    sent = infer(9, data) + load(data) + infer(9, data) + infer(10, data)
    got = answers(elf, sent + command(11, "counters"))
    assert [a.code for a in got if a.seq in (9, 10)] == [protocol.ERR_INPUT] * 2 + [0]
    assert got[-1].number("inferences") == 1


def test_outputs_of_another_inference_are_not_taken_for_the_repeated_one(elf: Path) -> None:
    data, _ = row(14)
    sent = (
        load(data)
        + infer(9, data)
        + load(data, 10)
        + b"infer 1 0%"
        + load(data, 10)
        + infer(9, data)
    )
    assert answers(elf, sent + command(11, "counters"))[-1].number("inferences") == 3


def test_an_input_serves_one_inference(elf: Path) -> None:
    """It stands where the model computes."""
    data, _ = row(15)
    sent = load(data) + infer(8, data) + infer(10, data) + load(data, 10) + infer(11, data)
    got = [a.code for a in answers(elf, sent) if "at" not in a.fields][-3:]
    assert got == [0, protocol.ERR_INPUT, 0]
    lines = talk(elf, db(data) + b"infer 1 0%infer 1 0%")
    assert lines.count(b"m-infer-done") == 1
    assert lines[-2:] == [b"e-[Input db has 0 bytes, expected 108]", b"m-ready"]


def test_a_late_infer_does_not_use_up_the_next_input(elf: Path) -> None:
    """Not even when the next input is the same one."""
    data, _ = row(20)
    sent = load(data, 10) + infer(12, data) + load(data, 13) + infer(9, data) + infer(14, data)
    got = answers(elf, sent + infer(14, data) + command(15, "counters"))
    assert [a.code for a in got if a.seq in (9, 14)] == [protocol.ERR_INPUT, 0, 0]
    assert got[-1].number("inferences") == 2


@pytest.mark.parametrize("seq", [9, 65535, 1])
def test_a_late_repetition_of_a_load_spoils_nothing(elf: Path, seq: int) -> None:
    """The host goes on when it has the answers; a command of before may still be in some queue."""
    data, outputs = row(19)
    before, after = (seq - 2) % 65535 + 1, seq % 65535 + 1
    late = command(before, "load", 0, bytes(20))
    sent = load(data, before) + infer(seq, data) + late + command(after, "out", 1, 0, 6)
    got = answers(elf, sent)
    assert (got[-2].code, got[-2].number("n")) == (0, 20)
    assert got[-1].data("data") == outputs[1].tobytes()


def test_half_an_input_does_not_complete_a_spent_one(elf: Path) -> None:
    data, _ = row(16)
    half = command(20, "load", 0, data[:54])
    lines = talk(elf, db(data) + b"infer 1 0%" + half + b"infer 1 0%")
    assert lines[-2:] == [b"e-[Input db has 54 bytes, expected 108]", b"m-ready"]


def test_outputs_are_gone_when_the_next_input_comes(elf: Path) -> None:
    """It may lie over them."""
    data, _ = row(17)
    out = command(30, "out", 0, 0, 4)
    sent = out + load(data) + infer(9, data) + out + load(data, 10) + out
    got = [a.code for a in answers(elf, sent) if a.seq == 30]
    assert got == [protocol.ERR_INPUT, 0, protocol.ERR_INPUT]
    lines = talk(elf, db(data) + b"infer 1 0%" + db(data) + b"results%")
    assert lines[-2:] == [b"e-[No results]", b"m-ready"]


ERR_RANGE = -2


def test_a_board_without_room_for_a_copy_of_the_input_repeats_nothing(tmp_path: Path) -> None:
    data, _ = row(18)
    room = INPUT_BYTES + 1024
    for stack, code in ((room, 0), (room - 1, ERR_RANGE)):
        flag = f"-DTD_NATIVE_STACK_BYTES={stack}u"
        elf = compile_toy(tmp_path / f"firmware{stack}", *SANITIZERS, "-DTD_PORT_HAS_ENERGY", flag)
        twice = [a for a in answers(elf, load(data) + infer(9, data, n=2)) if a.seq == 9]
        assert [a.code for a in twice] == [code]
        once = [a for a in answers(elf, load(data) + infer(9, data)) if a.seq == 9]
        assert [a.code for a in once] == [0]
        for sent, runs in (
            (b"infer 1 1%", code == 0),
            (b"infer 2 0%", code == 0),
            (b"infer 1 0%", True),
        ):
            assert (b"m-infer-done" in talk(elf, db(data) + sent)) == runs


@pytest.mark.parametrize("between", [command(1, "id"), command(1, "reset")])
def test_a_new_host_is_not_answered_from_memory(elf: Path, between: bytes) -> None:
    data, _ = row(7)
    sent = load(data) + infer(9, data) + between + load(data) + infer(9, data)
    sent += command(2, "counters")
    assert answers(elf, sent)[-1].number("inferences") == 2


def test_reset_puts_the_model_into_its_first_state(elf: Path) -> None:
    data, _ = row(8)
    calls = command(5, "out", 1, 4, 2)
    sent = (
        load(data) + infer(1, data) + load(data, 2) + infer(3, data) + calls + command(4, "reset")
    )
    got = answers(elf, sent + load(data, 5) + infer(6, data) + calls)
    assert [a.data("data") for a in got if "data" in a.fields] == [b"\x02\x00", b"\x01\x00"]


def test_nothing_runs_on_another_input(elf: Path) -> None:
    data, _ = row(9)
    other, _ = row(10)
    *_, refused, counters = answers(elf, load(data) + infer(2, other) + command(3, "counters"))
    assert (refused.code, refused.name) == (protocol.ERR_INPUT, "input")
    assert counters.number("inferences") == 0


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("load", (0,), "syntax"),
        ("load", (0, b"a", b"b"), "syntax"),
        ("load", ("x", b"a"), "range"),
        ("load", (4294967295, b"a"), "range"),
        ("load", (4294967296, b"a"), "range"),
        ("load", (INPUT_BYTES, b"a"), "range"),
        ("load", (0, bytes(INPUT_BYTES + 1)), "range"),
        ("load", (0, "a="), "syntax"),
        ("infer", (0, "00000000"), "syntax"),
        ("infer", (1, "0000000G"), "syntax"),
        ("infer", (1, "ABCDABCD"), "syntax"),
        ("infer", (1, "000000000"), "syntax"),
        ("out", (2, 0, 1), "range"),
        ("out", (0, 101, 1), "range"),
        ("out", (0, 100, 1), "range"),
        ("out", (0, 4294967295, 2), "range"),
        ("out", (0, 0, 55), "range"),
        ("out", (0, 0, 0), "range"),
        ("out", (0, 0, "a"), "syntax"),
        ("id", (1,), "syntax"),
        ("mem", (1, 2, 3, 4), "syntax"),
        ("weather", (), "unknown"),
    ],
)
def test_refusals(elf: Path, name: str, args: tuple[str | int | bytes, ...], error: str) -> None:
    refused, crc = answers(elf, command(65535, name, *args) + command(1, "crc"))
    assert (refused.seq, refused.name) == (65535, error)
    assert crc.text("crc") == f"{crc32(bytes(INPUT_BYTES)):08x}"


@pytest.mark.parametrize("body", [b"td 65536 id", b"td  ", b"td x id", b"td 1"])
def test_commands_without_a_number_or_a_name(elf: Path, body: bytes) -> None:
    assert [a.name for a in answers(elf, protocol.frame(body) + b"%")] == ["syntax"]


def test_no_damaged_byte_of_a_command_gets_through(elf: Path) -> None:
    whole = command(77, "load", 3, b"some %escaped% data")
    damaged = [
        whole[:at] + bytes([byte]) + whole[at + 1 :]
        for at in range(len(whole) - 1)
        for byte in range(256)
        if byte != whole[at]
    ]
    assert len(damaged) > 8000
    got = answers(elf, b"%".join(damaged) + b"%" + command(1, "crc"))
    assert all(a.code == protocol.ERR_CRC for a in got[:-1])
    assert got[-1].text("crc") == f"{crc32(bytes(INPUT_BYTES)):08x}"


def test_what_is_longer_than_the_line_is_refused_and_the_next_is_not(elf: Path) -> None:
    longest = command(1, "load", 0, b"a" * (LINE_BYTES - len("td 1 load 0  ffffffff")))
    assert len(longest) == LINE_BYTES + 1
    longer = command(2, "load", 0, b"b" * (LINE_BYTES - len("td 2 load 0  ffffffff") + 1))
    fits, refused, counters = answers(elf, longest + longer + command(3, "counters"))
    assert fits.name == "range"  # it was understood: the data are longer than the input
    assert (refused.seq, refused.name) == (None, "long")
    assert counters.number("long") == 1


# ---------------------------------------------------------------- MLPerf Tiny
def db(data: bytes) -> bytes:
    parts = [data[at : at + 31] for at in range(0, len(data), 31)]
    return b"db load %d%%" % len(data) + b"".join(b"db %s%%" % p.hex().encode() for p in parts)


def test_mlperf_inference(elf: Path) -> None:
    data, outputs = row(11)
    lines = [line.decode() for line in talk(elf, db(data) + b"infer 2 3%results%")]
    results = "m-results-[" + ",".join(map(str, outputs[0][0])) + "]"
    assert lines[: lines.index("m-load-done") + 2] == [
        "m-[Expecting 108 bytes]",
        *(["m-ready"] * 4),
        "m-load-done",
        "m-ready",
    ]
    assert lines[lines.index("m-load-done") + 2 :] == [
        "m-warmup-start-3",
        "m-warmup-done",
        "m-infer-start-2",
        "m-lap-us-3750",
        "m-lap-us-6250",
        "m-infer-done",
        results,
        "m-ready",
        results,
        "m-ready",
    ]


def test_infer_runs_once_after_ten_warm_ups_if_nothing_is_said(elf: Path) -> None:
    data, _ = row(12)
    lines = talk(elf, db(data) + b"infer%")
    assert b"m-warmup-start-10" in lines
    assert b"m-infer-start-1" in lines


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"db%", "Command 'db' requires a subcommand"),
        (b"db load%", "Command 'db load' requires the # of bytes"),
        (b"db load 0%", "Command 'db load' must be >0 bytes"),
        (b"db load x%", "Command 'db load' must be >0 bytes"),
        (b"db load 109%", "Supplied buffer size 109 exceeds maximum of 108"),
        (b"db 00%", "Command 'db load' has to come first"),
        (b"db load 2%db 0%", "Insufficent number of hex digits"),
        (b"db load 2%db 0g%", "Invalid hex digit '0g'"),
        (b"infer 0%", "Inference iterations must be >0"),
        (b"infer -1%", "Inference iterations must be >0"),
        (b"infer 1 -1%", "Inference warmup must be >=0"),
        (b"infer 1 0%", "Input db has 0 bytes, expected 108"),
        (b"db load 2%db 0000%infer 1 0%", "Input db has 2 bytes, expected 108"),
        (b"we\x00ird\x1b!%", "Unknown command: we?ird?!"),
        (b"x" * 81 + b"%", "Command longer than 80 bytes"),
        (b"x" * 500 + b"%", "Command longer than 80 bytes"),
    ],
)
def test_mlperf_errors(elf: Path, sent: bytes, error: str) -> None:
    assert [line.decode() for line in talk(elf, sent)][-2:] == [f"e-[{error}]", "m-ready"]


@pytest.mark.parametrize("sent", [b"infer 1 0%", b"db load 4%", b"db 0102%"])
def test_what_is_left_of_a_damaged_command_is_not_taken_for_one_of_mlperfs(
    elf: Path, sent: bytes
) -> None:
    """A bit that turns the number of "td 5 infer 1 CRC" into % leaves "infer 1 CRC" behind."""
    data, _ = row(21)
    lines = talk(elf, db(data) + command(1, "id") + sent + b"name%" + b"infer 1 0%")
    assert lines.count(b"e-[name% first]") == 1
    assert lines.count(b"m-infer-done") == 1


def test_surplus_digits_are_ignored(elf: Path) -> None:
    lines = talk(elf, b"db load 2%db 010203%db print%")
    assert b"m-buffer-01-02" in lines


def truncated(value: float) -> str:
    """Three decimals, truncated, by exact arithmetic; clamped where the firmware clamps."""
    if value != value or abs(value) == float("inf"):
        return "nan" if value != value else str(value)
    thousandths = min(int(abs(value) * 1000), 2**32 - 1)
    sign = "-" if value < 0 and thousandths else ""
    return f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}"


FLOATS = [0.0, -0.0, 1.0, -1.0, 0.999, 0.5, 1e-3, 9.999e-4, -9.999e-4, 0.1234, 1e-40, 123.4567]
FLOATS += [4294967.0, 4294968.0, -1e9, 3e38, float("inf"), float("-inf"), float("nan"), 1e-45]
FLOATS += [2.0**22, 65536.125, -0.0625, 1 / 3, 1e-30]


@pytest.mark.parametrize(
    ("dtype", "flags", "data", "shown"),
    [
        (
            "TD_FLOAT32",
            (),
            struct.pack("<25f", *FLOATS),
            [truncated(float(x)) for x in np.float32(FLOATS)],
        ),
        ("TD_INT16", (), struct.pack("<50h", *range(-25, 25)), list(map(str, range(-25, 25)))),
        ("TD_UINT8", (), bytes(range(156, 256)), list(map(str, range(156, 256)))),
        ("TD_INT32", (), struct.pack("<25i", -(2**31), *range(24)), None),
        (
            "TD_INT8",
            ("-DTD_OUTPUT_MILLI_Q16=256000u", "-DTD_OUTPUT_ZERO_POINT=(-128)"),
            bytes(range(206, 256)) + bytes(range(50)),
            [truncated((q + 128) / 256) for q in [*range(-50, 0), *range(50)]],
        ),
        (
            "TD_INT16",
            ("-DTD_OUTPUT_MILLI_Q16=2000u", "-DTD_OUTPUT_ZERO_POINT=0"),
            struct.pack("<50h", -32768, 32767, *range(-24, 24)),
            [truncated(q / 32768) for q in [-32768, 32767, *range(-24, 24)]],
        ),
    ],
    ids=["float32", "int16", "uint8", "int32", "int8 with scale", "int16 with scale"],
)
def test_results(
    tmp_path: Path, dtype: str, flags: tuple[str, ...], data: bytes, shown: list[str] | None
) -> None:
    elf = compile_toy(tmp_path / "firmware", *SANITIZERS, f"-DTOY_ECHO={dtype}", *flags)
    done = subprocess.run(
        [elf], input=db(data + bytes(8)) + b"infer 1 0%", env={}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    results = re.findall(rb"m-results-\[(.*)\]", done.stdout)
    expected = shown or [str(-(2**31)), *map(str, range(24))]
    assert [r.decode().split(",") for r in results] == [expected]


# ---------------------------------------------------------------- garbage
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


# ---------------------------------------------------------------- configuration and size
def test_a_missing_value_is_a_build_error_that_says_what_to_do(tmp_path: Path) -> None:
    header = (TOY / "td_build.h").read_text("utf-8")
    command_line = ["cc", "-fsyntax-only", f"-I{tmp_path}", f"-I{FIRMWARE}/lib/td_link"]
    for name in re.findall(r"#define (TD_\w+) ", header):
        without = "".join(
            line + "\n" for line in header.splitlines() if not line.startswith(f"#define {name} ")
        )
        (tmp_path / "td_build.h").write_text(without)
        (tmp_path / "empty.c").write_text('#include "td_config.h"\n')
        done = subprocess.run(
            [*command_line, tmp_path / "empty.c"],
            capture_output=True,
            text=True,
        )
        assert f"td_build.h: define {name}" in done.stderr, name


def test_firmware_for_another_model_runs_nothing(tmp_path: Path) -> None:
    header = (TOY / "td_build.h").read_text("utf-8")
    (tmp_path / "td_build.h").write_text(header.replace("INPUT_BYTES 108", "INPUT_BYTES 64"))
    (tmp_path / "td_model.c").write_text((TOY / "td_model.c").read_text("utf-8"))
    elf = compile_toy(tmp_path / "firmware", *SANITIZERS, folder=tmp_path)
    done = subprocess.run(
        [elf],
        input=infer(1, bytes(64)) + db(bytes(64)) + b"infer 1 0%",
        capture_output=True,
        timeout=60,
        env={},
    )
    lines = done.stdout.split(b"\r\n")
    assert b"e-[TD_INPUT_BYTES is not the size of the model's inputs]" in lines
    assert [a.name for line in lines if (a := decode_answer(line))] == ["config"]
    assert b"m-infer-done" not in lines


def test_the_protocol_is_small_and_needs_no_library(tmp_path: Path) -> None:
    """For boards with 16 KiB of RAM and no FPU: no printf, no malloc, no floating point."""
    compiler = ["arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m0", "-std=c11", "-Os"]
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Werror"]
    includes = [f"-I{FIRMWARE}/include", f"-I{TOY}"]
    objects = []
    for source in sorted((FIRMWARE / "lib" / "td_link").glob("*.c")):
        objects.append(tmp_path / f"{source.stem}.o")
        files = ["-c", source, "-o", objects[-1]]
        subprocess.run([*compiler, *warnings, *includes, *files], check=True)
    sizes = subprocess.run(
        ["arm-none-eabi-size", "-t", *objects], check=True, capture_output=True, text=True
    )
    text, data, bss = (int(n) for n in sizes.stdout.splitlines()[-1].split()[:3])
    assert text < 6144
    assert data == 0
    assert bss < LINE_BYTES + INPUT_BYTES + 96
    whole = tmp_path / "whole.o"
    subprocess.run(["arm-none-eabi-ld", "-r", *objects, "-o", whole], check=True)
    wanted = subprocess.run(
        ["arm-none-eabi-nm", "-u", whole], check=True, capture_output=True, text=True
    )
    names = {line.split()[-1] for line in wanted.stdout.splitlines()}
    libgcc = {n for n in names if n.startswith("__")}
    assert names - libgcc - {n for n in names if n.startswith("td_")} == {"memcpy"}
    assert not {n for n in libgcc if n.startswith(("__aeabi_f", "__aeabi_d", "__aeabi_i2"))}
