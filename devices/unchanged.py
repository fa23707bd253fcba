"""Whether a folder still holds what was built: `SHA256SUMS`, as `sha256sum --check` reads it."""

from __future__ import annotations

from pathlib import Path

from tinydeploy.errors import DeviceError
from tinydeploy.results import SUMS_FILE, read_sums
from tinydeploy.store import sha256_file
from tinydeploy.types import Build


def require_unchanged(build: Build) -> Build:
    """The build, its files compared with `SHA256SUMS` and with what build.json says.

    A folder without the list (out of a registry, which has a manifest instead) is compared with
    build.json alone. Raises DeviceError naming the first file that is not the one that was built.
    """
    sums = build.directory / SUMS_FILE
    if sums.is_file():
        for name, sha256 in _read(sums).items():
            path = build.directory / name
            if not path.is_file() or sha256_file(path) != sha256:
                raise _changed(path)
    if not build.model_path.is_file() or sha256_file(build.model_path) != build.model_sha256:
        raise _changed(build.model_path)
    image = build.directory / "firmware.bin"
    image = image if image.is_file() else build.elf
    if sha256_file(image) != build.firmware_sha256:
        raise _changed(image)
    return build


def _read(sums: Path) -> dict[str, str]:
    try:
        listed = read_sums(sums.parent)
    except ValueError as e:
        raise DeviceError(str(e), hint="build again") from e
    if not {p.name for p in sums.parent.glob("firmware.*")} <= set(listed):
        raise DeviceError(f"{sums} is damaged", hint="build again")
    return listed


def _changed(path: Path) -> DeviceError:
    return DeviceError(
        f"{path} is not what was built", hint="it was changed or damaged: build again"
    )
