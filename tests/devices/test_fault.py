"""What a crash report means; the emulated boards crash in test_emulator.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy import compile_toy

from tinydeploy.devices.elf import Elf
from tinydeploy.devices.fault import causes, explain, place
from tinydeploy.devices.protocol import frame, read_fault
from tinydeploy.errors import FirmwareFaultError, UsageError


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(
        tmp_path_factory.mktemp("toy") / "firmware", "-g1", "-no-pie", "-falign-functions=16"
    )


def test_an_address_becomes_function_and_line(elf: Path) -> None:
    start, size, _ = next(f for f in Elf(elf).functions() if f[2] == "td_link_byte")
    found = place(start + size // 2, Elf(elf), elf, "")
    assert (found.function, found.file) == ("td_link_byte", "td_link.c")
    assert found.line is not None
    text = (Path(__file__).parents[2] / "firmware/lib/td_link/td_link.c").read_text().splitlines()
    begins = next(i for i, line in enumerate(text, 1) if line.startswith("void td_link_byte"))
    assert begins <= found.line < begins + 20
    assert str(found).startswith(f"td_link_byte at td_link.c:{found.line} (0x")


def test_without_addr2line_the_function_is_told(elf: Path) -> None:
    start = next(f[0] for f in Elf(elf).functions() if f[2] == "td_link_byte")
    found = place(start, Elf(elf), elf, "no-such-toolchain-")
    assert (found.function, found.file, found.line) == ("td_link_byte", "", None)


def test_an_address_outside_is_said_so(elf: Path) -> None:
    error = FirmwareFaultError("the firmware crashed", registers={"pc": 0x7, "lr": 0x9})
    told = explain(error, elf)
    assert "outside of the program, at (0x00000006)" in told.message
    assert told.registers == error.registers
    assert "TD_STACK_BYTES" in told.hint


@pytest.mark.parametrize(
    ("registers", "words"),
    [
        ({"cfsr": 0x00010000}, ["UNDEFINSTR"]),
        ({"cfsr": 0x00008200}, ["PRECISERR"]),
        ({"cfsr": 0x02001000}, ["STKERR", "DIVBYZERO"]),
        ({"mcause": 2}, ["an instruction"]),
        ({"mcause": 77}, ["mcause 77"]),
        ({"pc": 1}, []),
    ],
)
def test_causes(registers: dict[str, int], words: list[str]) -> None:
    found = causes(registers)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_a_copied_line() -> None:
    line = frame(b"!FAULT pc=0000021a lr=000001f3").decode()
    registers = {"pc": 0x21A, "lr": 0x1F3}
    assert read_fault(line) == read_fault(line[:-9]) == read_fault(f"it said: {line}") == registers
    with pytest.raises(UsageError, match="CRC"):
        read_fault(line.replace("21a", "21b"))
    with pytest.raises(UsageError, match="no registers"):
        read_fault("hello")
