"""Exported projects, compiled with the system's compilers and a stand-in for the framework."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.devices.project import room_bytes
from tinydeploy.types import DeviceProfile

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
STAND_IN = Path(__file__).parent / "data" / "arduino"
# The board's own port and start-up code, out of the way of those that the project brings.
OURS = (
    "port_init", "port_getc", "port_putc", "port_timestamp_us",
    "stack_reserved", "stack_high_water", "mark_begin", "mark_end", "crc32",
)  # fmt: skip
C = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-O1")
CXX = ("-std=c++11", "-Wall", "-Wextra", "-Werror", "-fno-exceptions", "-fno-rtti", "-O1")


def renames() -> list[str]:
    """Compiler flags for the board's own sources: td_port_putc becomes board_putc, and so on."""
    return [f"-Dtd_{name}=board_{name.removeprefix('port_')}" for name in OURS]


def arduino_board(emulated: str) -> DeviceProfile:
    """An emulated board that says of itself that an Arduino platform builds for it."""
    board = find("nucleo-l4r5zi")
    return dataclasses.replace(
        find(emulated),
        platform=board.platform,
        port=board.port,
        platformio=board.platformio,
        upload=board.upload,
    )


def export(model: Path, device: DeviceProfile, folder: Path) -> Path:
    """A model's project for a board."""
    compiled = AotCompiler().compile(model, folder / "source", device=device)
    PlatformioBuilder().export(compiled, model, device, folder / "project")
    return folder / "project"


def compile_objects(
    device: DeviceProfile, sources: list[Path], flags: list[str], out: Path
) -> list[Path]:
    """Object files of C and C++ sources for a board's core, warnings being errors."""
    out.mkdir(parents=True, exist_ok=True)
    for suffix, compiler, level in ((".c", "gcc", C), (".cpp", "g++", CXX)):
        some = [str(s) for s in sources if s.suffix == suffix]
        if some:
            command = [f"{device.toolchain_prefix}{compiler}", *device.arch_flags, *level, *flags]
            subprocess.run([*command, "-c", *some], cwd=out, check=True, capture_output=True)
    return sorted(out.glob("*.o"))


def project_objects(
    project: Path, device: DeviceProfile, part: str, out: Path, *more: str
) -> list[Path]:
    """Objects of an exported project: the library, and `part`, which is src or measure."""
    library = project / "lib" / "td_model"
    sources = [*library.glob("*.c"), *(project / part).glob("*.c*")]
    flags = [f"-I{library}", f"-I{STAND_IN}", *more]
    if device.toolchain_prefix.startswith("riscv"):
        flags.append("--specs=picolibc.specs")
    return compile_objects(device, sources, flags, out)


def link(objects: list[Path], emulated: DeviceProfile, out: Path) -> Path:
    """An ELF of these objects, the stand-in, and the start-up code of an emulated board."""
    macros = {**emulated.defines, "F_CPU": f"{emulated.clock_hz}u"}
    flags = [f"-D{k}={v}" for k, v in macros.items()] + renames()
    flags += [f"-I{FIRMWARE / folder}" for folder in ("include", "lib/td_link")]
    riscv = emulated.toolchain_prefix.startswith("riscv")
    specs = "--specs=picolibc.specs" if riscv else "--specs=nano.specs"
    ours = [
        *(
            FIRMWARE / "src" / f"{name}.c"
            for name in ("startup", "startup_cm", "startup_rv", "fault")
        ),
        FIRMWARE / "ports" / f"{emulated.port}.c",
        STAND_IN / "core.cpp",
        FIRMWARE / "lib" / "td_link" / "td_crc32.c",
    ]
    board = compile_objects(emulated, ours, [*flags, specs], out / "board")
    flash_room, ram_room = room_bytes(emulated)
    symbols = {
        "TD_FLASH_ORIGIN": emulated.flash_origin, "TD_FLASH_ROOM": flash_room,
        "TD_RAM_ORIGIN": emulated.ram_origin, "TD_RAM_ROOM": ram_room,
        "TD_RAM_BYTES": emulated.ram_bytes,
    }  # fmt: skip
    elf = out / "firmware.elf"
    subprocess.run(
        [
            f"{emulated.toolchain_prefix}gcc", *emulated.arch_flags, specs, "-Wl,--gc-sections",
            *(["-nostdlib"] if riscv else ["-nostartfiles"]),
            f"-T{FIRMWARE / 'platform' / 'ld' / 'firmware.ld'}",
            *(f"-Wl,--defsym={k}={v:#x}" for k, v in symbols.items()),
            *map(str, [*objects, *board]), "-lm", *(["-lc", "-lgcc"] if riscv else []),
            "-o", str(elf),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return elf
