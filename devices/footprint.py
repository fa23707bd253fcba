"""The bytes of a linked firmware, and what they are for.

The totals are the linker's: flash is every loaded section (.data included), RAM every writable one
plus the stack. They are split by the linker's map, input section by input section; padding counts
to what stands before it, so the parts add up exactly.

What belongs to the engine is the linker's own answer as well: the same objects are linked once
more with `td_model_invoke` and `td_model_init` as the only roots, and whatever --gc-sections keeps
there is reachable from them, functions of libgcc and libc included.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tinydeploy.devices.elf import Elf, Section
from tinydeploy.devices.toolchain import require
from tinydeploy.errors import DeviceError
from tinydeploy.types import Footprint

FLASH_PARTS = ("weights", "tables", "engine_code", "protocol", "libc_startup")
# `io` is what inputs and outputs take outside the arena: nothing, they are received and read in it.
RAM_PARTS = ("arena", "io", "engine_statics", "stack", "protocol", "libc")
DEFAULT_STACK_BYTES = 2048

# The whole .tflite file, which the tflm engine reads as it is.
TFLM_MODEL = ".g_model_data"
# The model's own library in an exported project.
LIBRARY = "libtd_model.a"
_ROOTS = ("td_model_invoke", "td_model_init")
_LINK_TIMEOUT_S = 120.0
_MAP_START = "Linker script and memory map"
# ".text  0x00000000  0x2a20" opens an output section, " .text.td_conv  0x0000012c  0xf0 td_conv.o"
# is an input section in it; a long name has the rest on the next line.
_ENTRY = re.compile(
    r"^(?:(?P<output>[.\w]\S*)(?=\s)"
    r"| (?P<section>\.[^\s*]\S*|COMMON)"
    r"\s+0x(?P<address>[0-9a-f]+)\s+0x(?P<size>[0-9a-f]+) (?P<object>.+)$)",
    re.MULTILINE,
)
_LOADED = re.compile(r"^LOAD (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Piece:
    """One input section in the linked firmware: where it went, and its object file."""

    output: str
    section: str
    address: int
    size: int
    object: str

    @property
    def key(self) -> tuple[str, str]:
        """What names it in every link of the same objects."""
        return (self.section, self.object)


def read_map(text: str) -> list[Piece]:
    """The input sections of a linker map that have a size, by address.

    Raises DeviceError for a text that is no map of GNU ld.
    """
    _, start, body = text.partition(_MAP_START)
    if not start:
        raise DeviceError("the linker wrote no map", hint="build again")
    pieces = []
    output = ""
    for m in _ENTRY.finditer(body):
        if m["output"]:
            output = m["output"]
        elif size := int(m["size"], 16):
            pieces.append(Piece(output, m["section"], int(m["address"], 16), size, m["object"]))
    return sorted(pieces, key=lambda p: p.address)


def analyse(
    elf: Path,
    map_text: str,
    engine: Iterable[tuple[str, str]],
    *,
    arena_bytes: int,
    stack_bytes: int = DEFAULT_STACK_BYTES,
) -> Footprint:
    """The footprint of a linked firmware.

    `engine` holds the keys of the input sections that the engine reaches (`engine_sections`),
    `stack_bytes` stands for the stack until a device has reported how deep it went
    (`Footprint.with_stack`). Raises DeviceError for an unreadable ELF file or map.
    """
    pieces = read_map(map_text)
    reached = frozenset(engine)
    flash = dict.fromkeys(FLASH_PARTS, 0)
    ram = dict.fromkeys(RAM_PARTS, 0)
    for section in Elf(elf).sections:
        for piece, size in _extents(section, pieces):
            if section.loaded:
                flash[_flash_part(piece, reached)] += size
            if section.writable:
                ram[_ram_part(piece, reached)] += size
    ram["stack"] = stack_bytes
    return Footprint(
        flash_bytes=sum(flash.values()),
        ram_bytes=sum(ram.values()),
        arena_bytes=arena_bytes,
        code_bytes=flash["engine_code"],
        flash=flash,
        ram=ram,
    )


def engine_sections(
    map_text: str, compiler: str, arch_flags: Sequence[str], folder: Path
) -> set[tuple[str, str]]:
    """Keys of the input sections that the model's invoke and init reach.

    Links the files that `map_text` says were linked (paths relative to `folder`) once more, with
    those two as the only roots. `compiler` is the name of the gcc that linked them.
    """
    loaded = [name for name in _LOADED.findall(map_text) if name.endswith((".o", ".a"))]
    objects = [name for name in loaded if not PurePosixPath(name).name.startswith("crt")]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        map_path = Path(scratch, "engine.map")
        command = [
            require(compiler),
            *arch_flags,
            "-nostdlib",
            "-Wl,--gc-sections,--unresolved-symbols=ignore-all",
            f"-Wl,-e,{_ROOTS[0]},-u,{_ROOTS[1]},-Map,{map_path}",
            "-o",
            str(Path(scratch, "engine.elf")),
            "-Wl,--start-group",
            *objects,
            "-Wl,--end-group",
        ]
        try:
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                capture_output=True,
                text=True,
                timeout=_LINK_TIMEOUT_S,
            )
        except subprocess.SubprocessError as e:
            said = getattr(e, "stderr", None) or str(e)
            raise DeviceError(
                f"the engine's part of the firmware cannot be told: {said.strip()}",
                hint="is the compiler installed completely? see `tinydeploy doctor`",
            ) from e
        return {piece.key for piece in read_map(map_path.read_text(errors="replace"))}


def library_sections(map_text: str) -> set[tuple[str, str]]:
    """Keys of the input sections of the exported library that were linked.

    For firmware of compilers that are not ours to call: code of libc and libgcc that the engine
    alone needs is not among them.
    """
    return {piece.key for piece in read_map(map_text) if _origin(piece) == "model"}


def _extents(section: Section, pieces: Sequence[Piece]) -> list[tuple[Piece, int]]:
    """Each piece of an output section with the bytes up to the next one."""
    if not section.in_memory:
        return []
    end = section.address + section.size
    inside = [p for p in pieces if p.output == section.name and section.address <= p.address < end]
    # What the linker itself made (tables of a shared executable) stands under no object's name.
    if not inside or inside[0].address > section.address:
        inside.insert(0, Piece(section.name, section.name, section.address, 0, ""))
    starts = [p.address for p in inside]
    return [(p, stop - p.address) for p, stop in zip(inside, [*starts[1:], end], strict=True)]


def _flash_part(piece: Piece, engine: frozenset[tuple[str, str]]) -> str:
    if ".td_weights_" in piece.section or piece.section.endswith(TFLM_MODEL):
        return "weights"
    if ".td_tables_" in piece.section:
        return "tables"
    if piece.key in engine:
        return "engine_code"
    origin = _origin(piece)
    if origin == "model":  # what describes inputs and outputs
        return "tables"
    return "protocol" if origin == "protocol" else "libc_startup"


def _ram_part(piece: Piece, engine: frozenset[tuple[str, str]]) -> str:
    if piece.section.endswith(".td_arena"):
        return "arena"
    if piece.key in engine or _origin(piece) == "model":
        return "engine_statics"
    return "protocol" if _origin(piece) == "protocol" else "libc"


def _origin(piece: Piece) -> str:
    """Where an object file comes from, by the folders of the firmware project."""
    path = PurePosixPath(piece.object.partition("(")[0])
    if "model" in path.parts or path.name == LIBRARY:
        return "model"
    if "measure" in path.parts:  # of an exported project
        return "protocol"
    if path.name.startswith(("startup", "fault")):
        return "startup"
    return "protocol" if ".pio" in path.parts else "libc"
