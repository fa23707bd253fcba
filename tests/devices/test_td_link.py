"""The firmware's end of the line: the real C code as a process, under the sanitizers."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from td_line import SANITIZERS, answers, db, infer, load, row, talk
from toy import FIRMWARE, INPUT_BYTES, LINE_BYTES, TOY, compile_toy

from tinydeploy.devices import protocol
from tinydeploy.devices.protocol import command, crc32, decode_answer


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
