"""Sections and symbols of an ELF file: as much as footprints and the counter need.

Format: the System V ABI, chapters "Object Files" and "Symbol Table"; 32 and 64 bit, little endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.errors import DeviceError

MAX_IMAGE_BYTES = 64 << 20
PT_LOAD = 1
SHT_SYMTAB = 2
SHT_NOBITS = 8
STT_FUNC = 2
SHF_WRITE = 1
SHF_ALLOC = 2


@dataclass(frozen=True)
class Section:
    """One section header. `size` is in memory; NOBITS sections have no bytes in the file."""

    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int

    @property
    def in_memory(self) -> bool:
        """Whether it occupies memory when the program runs."""
        return bool(self.flags & SHF_ALLOC) and self.size > 0

    @property
    def loaded(self) -> bool:
        """Whether its bytes have to be in flash."""
        return self.in_memory and self.kind != SHT_NOBITS

    @property
    def writable(self) -> bool:
        """Whether it lives in RAM."""
        return self.in_memory and bool(self.flags & SHF_WRITE)


class Elf:
    """A parsed file. Raises DeviceError for anything that is not a little-endian ELF file."""

    def __init__(self, path: Path) -> None:
        try:
            self._data = path.read_bytes()
            self._wide = self._class(self._data) == 2
            self.sections = self._read_sections()
            self._symbols = tuple(self._read_symbols())
        except (OSError, struct.error, ValueError, IndexError) as e:
            raise DeviceError(f"{path} is not a readable ELF file: {e}", hint="build again") from e
        self._path = path

    @staticmethod
    def _class(data: bytes) -> int:
        if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] != 1:
            raise ValueError("no little-endian ELF header")
        return data[4]

    def _read_sections(self) -> tuple[Section, ...]:
        start = struct.unpack_from(
            "<Q" if self._wide else "<I", self._data, 40 if self._wide else 32
        )
        size, count, names = struct.unpack_from("<3H", self._data, 58 if self._wide else 46)
        layout = struct.Struct("<2I4Q2I" if self._wide else "<8I")
        headers = [layout.unpack_from(self._data, start[0] + i * size) for i in range(count)]
        texts = headers[names][4]
        return tuple(
            Section(self._text(texts + h[0]), h[1], h[2], h[3], h[4], h[5], h[6]) for h in headers
        )

    def _text(self, offset: int) -> str:
        return self._data[offset : self._data.index(b"\0", offset)].decode("ascii", "replace")

    def parts(self) -> list[tuple[int, bytes]]:
        """Address and bytes of each section that is loaded, in the order of addresses.

        A section lies where its segment is loaded (p_paddr), not where it runs: .data is in flash.
        """
        start = struct.unpack_from("<Q", self._data, 32) if self._wide else (
            struct.unpack_from("<I", self._data, 28)
        )  # fmt: skip
        size, count = struct.unpack_from("<2H", self._data, 54 if self._wide else 42)
        layout = struct.Struct("<2I6Q" if self._wide else "<8I")
        parts: list[tuple[int, bytes]] = []
        for i in range(count):
            h = layout.unpack_from(self._data, start[0] + i * size)
            # type, offset, physical address, size in the file
            kind, offset, address, length = (
                (h[0], h[2], h[4], h[5]) if self._wide else (h[0], h[1], h[3], h[4])
            )
            if kind != PT_LOAD:
                continue
            for s in self.sections:
                if s.loaded and offset <= s.offset and s.offset + s.size <= offset + length:
                    data = self._data[s.offset : s.offset + s.size]
                    parts.append((address + s.offset - offset, data))
        return sorted(parts)

    def image(self) -> tuple[int, bytes]:
        """Address and bytes of what is loaded, gaps filled with zeros: `objcopy -O binary`.

        Raises DeviceError if no segment is loaded, or if the gaps are larger than 64 MiB.
        """
        parts = self.parts()
        low = min((a for a, _ in parts), default=0)
        high = max((a + len(d) for a, d in parts), default=0)
        if not parts or high - low > MAX_IMAGE_BYTES:
            raise DeviceError(f"{self._path} holds no image", hint="build again")
        flat = bytearray(high - low)
        for address, data in parts:
            flat[address - low : address - low + len(data)] = data
        return low, bytes(flat)

    def symbols(self) -> dict[str, int]:
        """Addresses by name; Thumb's bit 0 of functions is kept. Local names may repeat."""
        return {name: address for name, address, _, _ in self._symbols}

    def functions(self) -> list[tuple[int, int, str]]:
        """Address (without Thumb's bit 0), size in bytes and name of every function, by address."""
        kept = [s for s in self._symbols if s[3] == STT_FUNC]
        return sorted((address & ~1, size, name) for name, address, size, _ in kept)

    def extent(self, symbol: str) -> tuple[int, int] | None:
        """Address and size of a symbol, or None if there is none."""
        found = (s for s in self._symbols if s[0] == symbol)
        return next(((address, size) for _, address, size, _ in found), None)

    def read(self, address: int, size: int) -> bytes:
        """The bytes that a loaded section has at an address. Raises DeviceError if none has."""
        for s in self.sections:
            inside = s.address <= address and address + size <= s.address + s.size
            if s.loaded and inside:
                at = s.offset + address - s.address
                return self._data[at : at + size]
        raise DeviceError(f"{self._path} has nothing at {address:#x}", hint="build again")

    def _read_symbols(self) -> Iterator[tuple[str, int, int, int]]:
        """Name, address, size and type of every symbol."""
        layout = struct.Struct("<IBBHQQ" if self._wide else "<IIIBBH")
        for table in self.sections:
            if table.kind != SHT_SYMTAB:
                continue
            texts = self.sections[table.link].offset
            for values in layout.iter_unpack(self._data[table.offset : table.offset + table.size]):
                name = self._text(texts + values[0])
                if self._wide:
                    yield name, values[4], values[5], values[1] & 15
                else:
                    yield name, values[1], values[2], values[3] & 15

    def address(self, symbol: str) -> int:
        """Address of a symbol. Raises DeviceError if there is none."""
        try:
            return self.symbols()[symbol]
        except KeyError:
            raise DeviceError(
                f"{self._path} has no symbol {symbol}", hint="it is not tinydeploy's firmware"
            ) from None
