"""UF2, the format of boot loaders that show up as a USB drive.

A file is a row of 512-byte blocks, each with its own target address and the family of chips that it
is for. Source of the layout: Microsoft's UF2 specification (github.com/microsoft/uf2, README).
"""

from __future__ import annotations

import struct

from tinydeploy.errors import UsageError

BLOCK_BYTES = 512
PAYLOAD_BYTES = 256
FLAG_FAMILY = 0x2000
MAGIC_START = (0x0A324655, 0x9E5D5157)
MAGIC_END = 0x0AB16F30
_HEADER = struct.Struct("<8I")
_DATA_BYTES = 476
_ADDRESSES = 1 << 32


def from_binary(image: bytes, address: int, family: int) -> bytes:
    """A UF2 file that puts `image` at `address`; the last block is filled with zeros.

    Raises UsageError for an empty image, or one that does not lie at a block's border in 32 bits.
    """
    if not image:
        raise UsageError("the firmware is empty", hint="build again")
    if address % PAYLOAD_BYTES or address < 0 or address + len(image) > _ADDRESSES:
        raise UsageError(
            f"a UF2 file cannot put {len(image):,} B at {address:#x}",
            hint=f"upload.address in the board file is a multiple of {PAYLOAD_BYTES}",
        )
    count = -(-len(image) // PAYLOAD_BYTES)
    blocks = []
    for number in range(count):
        offset = number * PAYLOAD_BYTES
        data = image[offset : offset + PAYLOAD_BYTES].ljust(PAYLOAD_BYTES, b"\0")
        header = _HEADER.pack(
            *MAGIC_START, FLAG_FAMILY, address + offset, PAYLOAD_BYTES, number, count, family
        )
        blocks.append(header + data.ljust(_DATA_BYTES, b"\0") + struct.pack("<I", MAGIC_END))
    return b"".join(blocks)
