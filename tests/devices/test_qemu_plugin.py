"""The counter's decoder and cycle model, against the assembler, objdump and published timings."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from builds import Small
from objdump import Shown, assemble, disassemble, named_class, tool

from tinydeploy.devices.catalogue import find

DATA = Path(__file__).parent / "data" / "decode"
LISTS = {
    "thumb": ("thumb", ["-mcpu=cortex-m7", "-mfpu=fpv5-d16"]),
    "armv8_1m": ("thumb", ["-march=armv8.1-m.main+mve.fp+fp.dp+dsp"]),
    "rv32": ("rv32", ["-march=rv32imafdc_zicsr_zifencei", "-mabi=ilp32"]),
}


@dataclass(frozen=True)
class Decoded:
    name: str
    registers: int
    writes_pc: bool
    size: int
    cycles: int


Decode = Callable[..., list[Decoded]]


@pytest.fixture(scope="module")
def decode(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Decode:
    """The plugin's decoder: of an ISA, with a core's cycles, for codes in memory order."""
    source = root / "firmware" / "qemu"
    program = tmp_path_factory.mktemp("decode") / "decode"
    files = [p for p in sorted(source.glob("*.c")) if p.name != "plugin.c"]
    warnings = ("-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address")
    tool(
        *("gcc", "-std=c11", "-O1", *warnings, f"-I{source}", str(DATA / "decode_main.c")),
        *(*map(str, files), "-o", str(program)),
    )

    def run(isa: str, core: str, codes: list[str]) -> list[Decoded]:
        lines = tool(str(program), isa, core, stdin="\n".join(codes) + "\n").splitlines()
        words = [line.split() for line in lines]
        return [Decoded(w[0], int(w[1]), w[2] == "1", int(w[3]), int(w[4])) for w in words]

    return run


def expectations(name: str) -> list[tuple[str, str, int | None, bool]]:
    """(instruction, class, registers or None, writes the PC) of a list in data/decode."""
    rows = []
    for line in (DATA / f"{name}.txt").read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)(?: registers=(\d+))?( jumps)?\]", line):
            registers = int(header[2]) if header[2] else None
            expected = (header[1], registers, header[3] is not None)
        elif line:
            rows.append((line, *expected))
    return rows


@pytest.mark.parametrize("name", LISTS)
def test_decodes_what_the_assembler_made(name: str, decode: Decode, tmp_path: Path) -> None:
    isa, flags = LISTS[name]
    rows = expectations(name)
    assert len(rows) > 80
    shown = assemble(isa, [row[0] for row in rows], flags, tmp_path)
    core = "ibex" if isa == "rv32" else "m4"
    decoded = decode(isa, core, [s.code for s in shown])
    for (instruction, class_name, registers, jumps), s, d in zip(rows, shown, decoded, strict=True):
        what = f"{instruction} ({s.code})"
        assert d.name == class_name, what
        assert d.writes_pc == jumps, what
        assert d.size * 2 == len(s.code), what
        assert registers is None or d.registers == registers, what


def test_bytes_that_end_early_are_no_instruction(decode: Decode) -> None:
    for isa, core, code in (("thumb", "m4", "df"), ("thumb", "m4", "dff8"), ("rv32", "ibex", "37")):
        assert [d.name for d in decode(isa, core, [code])] == ["other"]


# Cortex-M4: TRM DDI 0439D, table 3-1, section 3.3.2, table 7-1; M3: DDI 0337I; M0: DDI 0432C.
TIMINGS = [
    ("m4", "ldr r0,[r1]; ldr r1,[r2]", 3),
    ("m4", "ldr r0,[r1,r2]; str r0,[r3,#20]", 3),
    ("m4", "ldr r0,[r1,r2]; str r1,[r3,r2]", 3),
    ("m4", "ldr r0,[r1,r5]; ldr r1,[r2]; ldr r2,[r3,#4]", 4),
    ("m4", "ldr r0,[r1]; ldr r2,[r0]", 4),
    ("m4", "adds r1,#4; ldr r0,[r1]", 4),
    ("m4", "adds r3,#4; ldr r0,[r1]", 3),
    ("m4", "str r0,[r1,#4]; ldr r2,[r3]", 3),
    ("m4", "ldmia r0!,{r1,r2,r3}", 4),
    ("m4", "ldrd r0,r1,[r2]", 3),
    ("m4", "smlad r0,r1,r2,r3; smull r0,r1,r2,r3", 2),
    ("m3", "mla r0,r1,r2,r3; mul r4,r5,r6", 3),
    ("m3", "smull r0,r1,r2,r3; smlal r0,r1,r2,r3", 10),
    ("m4", "vldr s0,[r0]; vmla.f32 s0,s1,s2; vdiv.f32 s0,s1,s2", 19),
    ("m4", "vmov s0,r1; vmov d0,r0,r1; vldr d0,[r0]", 7),
    ("m0", "ldr r0,[r1]; ldr r2,[r3]; muls r0,r1,r0", 5),
]


@pytest.mark.parametrize(("core", "sequence", "cycles"), TIMINGS)
def test_cycles_of_sequences(
    core: str, sequence: str, cycles: int, decode: Decode, tmp_path: Path
) -> None:
    instructions = [word.strip() for word in sequence.split(";")]
    shown = assemble("thumb", instructions, LISTS["thumb"][1], tmp_path)
    assert sum(d.cycles for d in decode("thumb", core, [s.code for s in shown])) == cycles


def is_plain_branch(shown: Shown) -> bool:
    """B without a condition of its own: objdump shows an IT block's, which the plugin follows."""
    first = bytes.fromhex(shown.code)
    if len(first) == 2:
        return first[1] >> 3 == 0b11100
    return first[3] & 0xD0 == 0x90


@pytest.mark.parametrize("board", ["qemu-cortex-m0", "qemu-cortex-m55", "qemu-rv32"])
def test_agrees_with_objdump_on_real_firmware(board: str, decode: Decode, small: Small) -> None:
    isa = "rv32" if find(board).core.startswith("rv32") else "thumb"
    # Linked with parts for lesser cores, an ELF file does not say that it holds Helium.
    flags = ("-m", "armv8.1-m.main") if find(board).helium else ()
    shown = disassemble(isa, small(board).elf, *flags)
    decoded = decode(isa, "ibex" if isa == "rv32" else "m4", [s.code for s in shown])
    known = 0
    for s, d in zip(shown, decoded, strict=True):
        expected = named_class(isa, s)
        if expected == "bc" and isa == "thumb" and is_plain_branch(s):
            expected = "b"
        if expected is not None:
            known += 1
            assert (d.name, d.size * 2) == (expected, len(s.code)), s
    assert known > 0.99 * len(shown) > 2000
