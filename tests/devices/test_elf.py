"""The ELF reader, against binutils."""

from __future__ import annotations

import re
import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objdump import tool

from tinydeploy.devices.elf import Elf
from tinydeploy.errors import DeviceError

SOURCE = """
int initialized = 7;
int zeroed[100];
const char constant[] = "constant";
int function(int x) { return x + initialized + zeroed[x] + constant[x]; }
int main(void) { return function(1); }
"""
COMPILERS = {
    "": [],
    "arm-none-eabi-": ["-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-e", "main"],
    "riscv64-unknown-elf-": ["-march=rv32imac", "-mabi=ilp32", "-nostdlib", "-e", "main"],
}


def link(prefix: str, folder: Path) -> Path:
    source, program = folder / "test.c", folder / "test.elf"
    source.write_text(SOURCE)
    tool(f"{prefix}gcc", *COMPILERS[prefix], str(source), "-o", str(program))
    return program


@pytest.mark.parametrize("prefix", COMPILERS, ids=["host", "arm", "riscv"])
def test_agrees_with_binutils(prefix: str, tmp_path: Path) -> None:
    path = link(prefix, tmp_path)
    elf = Elf(path)
    text, data, bss = map(int, tool(f"{prefix}size", str(path)).splitlines()[1].split()[:3])
    loaded = sum(s.size for s in elf.sections if s.loaded)
    writable = sum(s.size for s in elf.sections if s.writable)
    assert (loaded, writable) == (text + data, data + bss)
    for address, kind, name in re.findall(
        r"^([0-9a-f]+) (\w) (\w+)$", tool(f"{prefix}nm", str(path)), re.MULTILINE
    ):
        thumb = prefix.startswith("arm") and kind in "tT"
        assert elf.address(name) == int(address, 16) + thumb, name


def test_an_unknown_symbol(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="has no symbol td_mark_begin"):
        Elf(link("", tmp_path)).address("td_mark_begin")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return link("arm-none-eabi-", tmp_path_factory.mktemp("elf")).read_bytes()


@given(data=st.data())
def test_damage_is_an_error_of_ours(program: bytes, data: st.DataObject) -> None:
    damaged = bytearray(program)
    for _ in range(data.draw(st.integers(1, 4))):
        # The header, the section headers at the end, or anywhere.
        at = data.draw(
            st.integers(0, 51)
            | st.integers(len(damaged) - 400, len(damaged) - 1)
            | st.integers(0, len(damaged) - 1)
        )
        damaged[at] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged)) | st.just(len(damaged))) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "damaged.elf")
        path.write_bytes(damaged)
        try:
            Elf(path).symbols()
        except DeviceError as e:
            assert "damaged.elf" in e.message


def test_the_image_is_what_objcopy_writes(tmp_path: Path) -> None:
    """Initialised data lies in flash, behind the code, with a gap that is filled with zeros."""
    source, script = tmp_path / "a.c", tmp_path / "a.ld"
    source.write_text("int data = 0x12345678; int bss; int _start(void) { return data + bss; }")
    script.write_text(
        "MEMORY { FLASH (rx): ORIGIN = 0x8000, LENGTH = 4K  RAM (rw): ORIGIN = 0x20000000, "
        "LENGTH = 4K }\nSECTIONS { .text : { *(.text*) } > FLASH\n"
        ".data : ALIGN(64) { *(.data*) } > RAM AT > FLASH\n.bss : { *(.bss*) } > RAM }"
    )
    prefix, elf = "arm-none-eabi-", tmp_path / "a.elf"
    flags = ["-mcpu=cortex-m4", "-nostdlib", f"-Wl,-T,{script}", "-Wl,--no-warn-rwx-segments"]
    subprocess.run([f"{prefix}gcc", *flags, source, "-o", elf], check=True)
    subprocess.run([f"{prefix}objcopy", "-O", "binary", elf, tmp_path / "a.bin"], check=True)
    address, data = Elf(elf).image()
    assert address == 0x8000
    assert data == (tmp_path / "a.bin").read_bytes()
    assert data.endswith(bytes.fromhex("78563412"))


def test_an_elf_without_an_image(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int f(void) { return 1; }")
    subprocess.run(["cc", "-c", "a.c", "-o", "a.o"], cwd=tmp_path, check=True)
    with pytest.raises(DeviceError, match="holds no image"):
        Elf(tmp_path / "a.o").image()
