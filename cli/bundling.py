"""What `export` and `import` do: a version on a board as a bundle, and back."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.cli import release, wiring
from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.store import write_atomic

if TYPE_CHECKING:
    from tinydeploy.registry.restore import Imported
    from tinydeploy.types import Build, DeviceProfile


@dataclass(frozen=True)
class McuBoot:
    """How to sign the firmware for MCUboot: see `tinydeploy.devices.mcuboot`."""

    key: Path
    version: str = "1.0.0"
    header_bytes: int = 0x200
    slot_bytes: int = 0


def export(
    target: str,
    out: Path,
    registry: Path | str,
    profiles: tuple[Path, ...],
    *,
    key: Path | None = None,
    mcuboot: McuBoot | None = None,
) -> dict[str, Any]:
    """Write the bundle of a version on a board to the file `out`; what is in it.

    `target` is NAME@BOARD. With `key` it is signed. Raises RegistryError for files that were
    changed, ToolMissingError without the extra `release`.
    """
    from tinydeploy.registry import archive, bundle
    from tinydeploy.registry.manifest import read_manifest

    if out.suffix != release.BUNDLE:
        raise UsageError(f"{out} is no name for a bundle", hint="it ends in .zip")
    store = wiring.registry(registry)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch) / "bundle"
        found = release.locate(store, target)
        version, record = release.intact(store, found, signed=release.required(False))
        tags = store.view(version.name).tags
        bundle.assemble(
            folder,
            store.state_folder(version),
            store.run_folder(version.name, record.run_id),
            version.name,
            {"selection": tags.get(f"selection.{record.board}", "")},
        )
        release.require_unchanged(bundle.check_parts(folder))
        build = release.firmware_of(folder, Path(scratch) / "firmware")
        device = wiring.devices([record.board], profiles)[record.board]
        wiring.compiler().compile(
            build.model_path,
            folder / "source",
            device=device,
            engine=record.engine,
            optimize=record.optimize,
            standalone=True,
        )
        _images(build, device, folder / "images", mcuboot)
        bundle.finish(folder, key)
        release.require_unchanged(bundle.check_bundle(folder))
        archive.pack(folder, out)
        files = read_manifest(folder)["files"]
    return {
        "bundle": out,
        "bytes": out.stat().st_size,
        "name": version.name,
        "version": version.version,
        "board": record.board,
        "build_id": record.build_id,
        "signed": key is not None,
        "files": sorted(files),
    }


def import_bundle(
    path: Path, registry: Path | str, *, name: str = "", signed: bool = False
) -> Imported:
    """Register the version of a bundle, every byte of which is checked first.

    With `signed` a trusted key has to have signed it. Raises RegistryError.
    """
    from tinydeploy.registry import archive
    from tinydeploy.registry.bundle import check_bundle
    from tinydeploy.registry.restore import restore

    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch) / "bundle"
        archive.unpack(path, folder)
        release.require_unchanged(check_bundle(folder), signed=signed)
        build = release.firmware_of(folder, Path(scratch) / "firmware")
        return restore(wiring.registry(registry), folder, build, name)


def _images(build: Build, device: DeviceProfile, folder: Path, mcuboot: McuBoot | None) -> None:
    """The same firmware for other ways to flash it: Intel HEX, UF2, and signed for MCUboot.

    Nothing for a board that is a process of the host, and no HEX or UF2 beside one that the build
    has, nor HEX where the image is more than the ELF's bytes (ESP32).
    """
    image = build.directory / "firmware.bin"
    if not image.is_file():
        return
    from tinydeploy.devices.elf import Elf
    from tinydeploy.devices.upload import uf2

    folder.mkdir()
    if uf2.takes(device) and not (build.directory / uf2.FILE).exists():
        write_atomic(folder / uf2.FILE, uf2.of_firmware(build.elf, device))
    address, data = Elf(build.elf).image()
    if data == image.read_bytes() and not (build.directory / "firmware.hex").exists():
        write_hex(folder / "firmware.hex", address, data)
    if mcuboot:
        from tinydeploy.devices.mcuboot import check_image, sign_image

        signed = folder / "firmware.mcuboot.bin"
        sign_image(
            image,
            signed,
            mcuboot.key,
            version=mcuboot.version,
            header_bytes=mcuboot.header_bytes,
            slot_bytes=mcuboot.slot_bytes,
        )
        check_image(signed, mcuboot.key)


def write_hex(path: Path, address: int, data: bytes) -> None:
    """Bytes that belong at an address as Intel HEX. Raises ToolMissingError."""
    try:
        from intelhex import IntelHex
    except ImportError as e:
        raise ToolMissingError(
            "a bundle needs the package intelhex", hint="pip install 'tinydeploy[release]'"
        ) from e
    image = IntelHex()
    image.frombytes(data, offset=address)
    with open(path, "w", encoding="ascii", newline="\n") as f:
        image.write_hex_file(f)
