"""Firmware as an image that MCUboot verifies and boots, signed with Ed25519 by `imgtool`.

Format: MCUboot's design document, "Image Format" (a header, the firmware, TLVs with hash and
signature). The firmware has to be linked behind the header: the board's `flash_origin` is the
slot's address plus the header's size. Untested on hardware.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from tinydeploy.errors import DeviceError, ToolMissingError, UsageError


def sign_image(
    firmware: Path,
    out: Path,
    private_key: Path,
    *,
    version: str = "1.0.0",
    header_bytes: int = 0x200,
    slot_bytes: int = 0,
    align: int = 4,
) -> None:
    """Write the signed image of a .bin.

    `slot_bytes` is the size of the slot that it has to fit with its trailer, 0 not to check.
    `align` is the flash's write size. Raises ToolMissingError without imgtool, UsageError for a
    version or sizes that make no sense, DeviceError for firmware that does not fit the slot.
    """
    image_of, keys, versions = _imgtool()
    import click

    try:
        decoded = versions.decode_version(version)
    except ValueError as e:
        raise UsageError(f"{version!r} is no version", hint="1.2.3 or 1.2.3+4") from e
    if header_bytes < 32 or header_bytes % 4 or align not in (1, 2, 4, 8, 16, 32):
        raise UsageError("the header or the alignment makes no sense", hint="0x200 and 4 are usual")
    try:
        image = image_of(
            version=decoded,
            header_size=header_bytes,
            pad_header=True,
            align=align,
            slot_size=slot_bytes,
        )
        with contextlib.redirect_stdout(sys.stderr):  # imgtool tells what it does
            image.load(str(firmware))
            image.create(keys.load(str(private_key)), "hash", None)
            image.save(str(out))
    except click.ClickException as e:
        raise DeviceError(
            f"{firmware} becomes no image for MCUboot: {e.message}", hint="see the slot's size"
        ) from e


def check_image(image: Path, public_key: Path) -> str:
    """The version of a signed image, "1.2.3+4". Raises DeviceError unless the key signed it."""
    image_of, keys, _ = _imgtool()
    from imgtool.image import VerifyResult

    try:
        result, version, *_ = image_of.verify(str(image), keys.load(str(public_key)))
    except Exception as e:  # imgtool reads past the end of what it is given
        raise DeviceError(f"{image} is no image for MCUboot: {e!r}", hint="export again") from e
    if result != VerifyResult.OK:
        raise DeviceError(
            f"{image} is refused: {result.name.lower().replace('_', ' ')}", hint="export again"
        )
    return "{}.{}.{}+{}".format(*version)


def _imgtool() -> tuple[Any, Any, Any]:
    try:
        from imgtool import keys, version
        from imgtool.image import Image
    except ImportError as e:
        raise ToolMissingError(
            "images for MCUboot need imgtool", hint="pip install 'tinydeploy[release]'"
        ) from e
    return Image, keys, version
