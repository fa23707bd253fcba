"""UF2, the format of boot loaders that show up as a USB drive.

A file is a row of 512-byte blocks, each with its own target address and the family of chips that it
is for. Source of the layout: Microsoft's UF2 specification (github.com/microsoft/uf2, README).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.elf import Elf
from tinydeploy.devices.upload.commands import protocols
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.store import write_atomic
from tinydeploy.types import DeviceProfile

FILE = "firmware.uf2"
BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
# RP2040's boot ROM counts blocks to know when it has to erase the next sector of 4 KiB (bootrom,
# virtual_disk.c): but for the last one, each sector that is written has all of its 16 blocks.
SECTOR_BYTES = 4096
FLAG_NOT_MAIN_FLASH = 0x0001
FLAG_FILE = 0x1000
FLAG_FAMILY = 0x2000
MAGIC_START = (0x0A324655, 0x9E5D5157)
MAGIC_END = 0x0AB16F30
_BLOCK = struct.Struct("<8I476sI")

Part = tuple[int, bytes]
"""An address, and the bytes that belong there."""


@dataclass(frozen=True)
class Block:
    """One block: `data` belongs at `address` of a chip of `family` (None: the file names none)."""

    address: int
    data: bytes
    number: int
    count: int
    family: int | None


def write(parts: Iterable[Part], family: int) -> bytes:
    """A UF2 file that puts each part at its address; the rest of the sectors up to the end is zero.

    Raises UsageError where there is nothing to put, or for addresses of more than 32 bits.
    """
    pages = _pages(parts)
    if not pages or min(pages) < 0 or max(pages) + PAYLOAD_BYTES > 1 << 32:
        raise UsageError("a UF2 file cannot hold this firmware", hint="build again")
    last = max(pages)
    for sector in {address // SECTOR_BYTES for address in pages}:
        for page in range(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES, PAYLOAD_BYTES):
            if page < last:
                pages.setdefault(page, bytearray(PAYLOAD_BYTES))
    return b"".join(
        _BLOCK.pack(
            *MAGIC_START, FLAG_FAMILY, address, PAYLOAD_BYTES, number, len(pages), family,
            bytes(pages[address]), MAGIC_END,
        )
        for number, address in enumerate(sorted(pages))
    )  # fmt: skip


def read(file: bytes) -> list[Block]:
    """The blocks of a UF2 file that are for flash, in their order.

    Raises DeviceError for what is no UF2 file. Blocks that the specification lets a boot loader
    pass over (files of a container, other memory) are left out.
    """
    if not file or len(file) % BLOCK_BYTES:
        raise DeviceError(
            f"{len(file):,} B are no UF2 file", hint=f"it has blocks of {BLOCK_BYTES} B"
        )
    blocks = []
    for first, second, flags, address, size, number, count, family, data, end in (
        _BLOCK.iter_unpack(file)
    ):  # fmt: skip
        if (first, second, end) != (*MAGIC_START, MAGIC_END) or size > len(data):
            raise DeviceError("a block of the UF2 file is damaged", hint="build again")
        if not flags & (FLAG_NOT_MAIN_FLASH | FLAG_FILE):
            known = family if flags & FLAG_FAMILY else None
            blocks.append(Block(address, data[:size], number, count, known))
    return blocks


def holds(file: bytes, parts: Iterable[Part], family: int) -> bool:
    """Whether a UF2 file puts every byte of all parts where it belongs, on chips of a family."""
    try:
        blocks = [b for b in read(file) if b.family in (family, None)]
    except DeviceError:
        return False
    return all(_placed(blocks, address, len(data)) == data for address, data in parts)


def of_firmware(elf: Path, device: DeviceProfile) -> bytes:
    """The load segments of an ELF file as UF2, for a board that `takes` it.

    Raises UsageError for bytes outside the flash that the board file gives to firmware: a boot
    loader may be there.
    """
    parts = Elf(elf).parts()
    low = int(device.upload["address"], 16)
    high = device.flash_origin + device.flash_bytes
    for address, data in parts:
        if address // SECTOR_BYTES * SECTOR_BYTES < low or address + len(data) > high:
            raise UsageError(
                f"{elf.name} has {len(data):,} B at {address:#x}, which a UF2 boot loader cannot "
                f"put into the flash of {device.name} ({low:#x} to {high:#x})",
                hint="upload.address, flash_origin and flash_bytes in the board file; the address "
                f"is a multiple of {SECTOR_BYTES}",
            )
    return write(parts, _family(device))


def takes(device: DeviceProfile) -> bool:
    """Whether the board file says all that a UF2 file needs."""
    return "uf2" in protocols(device)


def put(folder: Path, device: DeviceProfile) -> None:
    """Write firmware.uf2 beside the firmware.elf of a build, for a board that takes it.

    The file that the board's own platform made stays if it holds the same firmware: some add
    blocks for a boot loader's errata. Raises as `of_firmware`.
    """
    if not takes(device):
        return
    made = of_firmware(folder / "firmware.elf", device)
    own = folder / FILE
    parts = Elf(folder / "firmware.elf").parts()
    if not (own.is_file() and holds(own.read_bytes(), parts, _family(device))):
        write_atomic(own, made)


def _family(device: DeviceProfile) -> int:
    return int(device.upload["uf2_family"], 16)


def _pages(parts: Iterable[Part]) -> dict[int, bytearray]:
    """The payloads that the parts touch, by address; bytes of no part are zero."""
    pages: dict[int, bytearray] = {}
    for address, data in parts:
        at = 0
        while at < len(data):
            offset = (address + at) % PAYLOAD_BYTES
            piece = data[at : at + PAYLOAD_BYTES - offset]
            page = pages.setdefault(address + at - offset, bytearray(PAYLOAD_BYTES))
            page[offset : offset + len(piece)] = piece
            at += len(piece)
    return pages


def _placed(blocks: Iterable[Block], address: int, size: int) -> bytes | None:
    """What blocks put at an address; None unless each of its bytes comes from one block."""
    found = bytearray(size)
    placed = 0
    for block in blocks:
        low = max(address, block.address)
        high = min(address + size, block.address + len(block.data))
        if low < high:
            found[low - address : high - address] = block.data[
                low - block.address : high - block.address
            ]
            placed += high - low
    return bytes(found) if placed == size else None
