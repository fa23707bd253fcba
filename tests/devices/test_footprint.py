"""Footprints: they add up to the linker's figures, byte for byte, and say what is what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from builds import MODELS, Small, compile_small
from objdump import tool

from tinydeploy.devices import project
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.footprint import (
    DEFAULT_STACK_BYTES,
    FLASH_PARTS,
    RAM_PARTS,
    engine_sections,
    read_map,
)
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.errors import DeviceError

BOARDS = ("qemu-cortex-m0", "qemu-cortex-m4", "qemu-rv32", "loopback")

MAP = """
Discarded input sections

 .text.unused   0x00000000       0x10 a.o

Memory Configuration

Linker script and memory map

LOAD a.o
LOAD lib/libb.a
                0x00004000                td_stack_top = 0x4000

.text           0x00000000       0x30
 *(.vectors)
 .vectors       0x00000000       0x10 a.o
                0x00000000                vectors
 .text.a_function_with_a_long_name
                0x00000010       0x0a b.a(member.o)
 *fill*         0x0000001a        0x2 
 .text          0x0000001c        0x0 a.o
 .text          0x0000001c       0x14 path with a space/c.o

.data           0x20000000        0x4 load address 0x00000030
 .data.x        0x20000000        0x4 a.o

.debug_info     0x00000000      0x100
 .debug_info    0x00000000       0x80 a.o
"""  # noqa: W291


def test_reads_a_map() -> None:
    assert [(p.output, p.section, p.address, p.size, p.object) for p in read_map(MAP)] == [
        (".text", ".vectors", 0, 0x10, "a.o"),
        (".debug_info", ".debug_info", 0, 0x80, "a.o"),
        (".text", ".text.a_function_with_a_long_name", 0x10, 0xA, "b.a(member.o)"),
        (".text", ".text", 0x1C, 0x14, "path with a space/c.o"),
        (".data", ".data.x", 0x20000000, 4, "a.o"),
    ]


def test_a_text_that_is_no_map() -> None:
    with pytest.raises(DeviceError, match="wrote no map"):
        read_map("nothing")


@pytest.mark.parametrize("board", BOARDS)
def test_adds_up_to_the_linkers_figures(board: str, small: Small) -> None:
    build = small(board)
    bytes_of = build.footprint
    prefix = find(board).toolchain_prefix
    row = tool(f"{prefix}size", str(build.elf)).splitlines()[1].split()
    text, data, bss = (int(word) for word in row[:3])
    assert (*bytes_of.flash,) == FLASH_PARTS and (*bytes_of.ram,) == RAM_PARTS
    assert sum(bytes_of.flash.values()) == bytes_of.flash_bytes == text + data
    assert sum(bytes_of.ram.values()) == bytes_of.ram_bytes == data + bss + DEFAULT_STACK_BYTES
    assert bytes_of.code_bytes == bytes_of.flash["engine_code"] > 0
    if board != "loopback":
        assert (build.directory / "firmware.bin").stat().st_size == bytes_of.flash_bytes


def symbol_bytes(elf: Path, prefix: str, pattern: str) -> int:
    sizes = re.findall(
        rf"^[0-9a-f]+ ([0-9a-f]+) \w {pattern}$", tool(f"{prefix}nm", "-S", str(elf)), re.MULTILINE
    )
    return sum(int(size, 16) for size in sizes)


@pytest.mark.parametrize("board", ["qemu-cortex-m4", "qemu-rv32"])
def test_parts_are_the_symbols_sizes(board: str, small: Small) -> None:
    """Up to the padding behind a symbol."""
    build = small(board)
    prefix = find(board).toolchain_prefix
    padding = 4 * 64
    for actual, pattern in (
        (build.footprint.flash["weights"], r"td_weights_\w+"),
        (build.footprint.ram["arena"], "td_arena"),
    ):
        named = symbol_bytes(build.elf, prefix, pattern)
        assert 0 < named <= actual < named + padding, pattern
    assert build.footprint.arena_bytes == symbol_bytes(build.elf, prefix, "td_arena")
    assert build.footprint.ram["io"] == 0
    protocol = r"(?:td_(?:mlperf|command|link|put|crc32|runtime)\w*|main)"
    assert symbol_bytes(build.elf, prefix, protocol) <= build.footprint.flash["protocol"]


def test_the_engine_has_all_that_it_reaches(tmp_path: Path) -> None:
    """A float model on a core without an FPU needs libgcc's arithmetic; the protocol does not."""
    board, model = find("qemu-cortex-m0"), MODELS / "dscnn_float32.tflite"
    compiled = compile_small(model, board, tmp_path)
    build = PlatformioBuilder().build(compiled, model, board, tmp_path / "build")
    map_text = (build.directory / "firmware.map").read_text()
    with project.opened(board, "balanced") as held:
        keys = engine_sections(map_text, "arm-none-eabi-gcc", board.arch_flags, held.folder)
    linked = {piece.key for piece in read_map(map_text)}
    code = {key for key in keys & linked if key[0].startswith(".text")}
    members = {re.sub(r".*\((.*)\)", r"\1", name) for _, name in code}
    assert {"addsf3.o", "mulsf3.o", "divsf3.o", "td_conv.o", "td_float.o"} <= members
    assert not {m for m in members if re.search("main|startup|nrf51|td_command|td_mlperf", m)}
    assert ".text.td_model_invoke" in {section for section, _ in keys}
    assert ".text.startup.main" in {section for section, _ in linked - keys}


def test_the_measured_stack_takes_the_reserves_place(small: Small) -> None:
    reserved = small("qemu-cortex-m4").footprint
    measured = reserved.with_stack(440)
    assert measured.ram["stack"] == 440
    assert measured.ram_bytes == reserved.ram_bytes - DEFAULT_STACK_BYTES + 440
