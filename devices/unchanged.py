"""Whether a folder still holds what was built: `SHA256SUMS`, as `sha256sum --check` reads it."""

from __future__ import annotations

import re
from pathlib import Path

from tinydeploy.errors import DeviceError
from tinydeploy.store import sha256_file, write_atomic
from tinydeploy.types import Build

SUMS_FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  ([\w.-]+)", flags=re.ASCII)


def write_sums(folder: Path) -> None:
    """List every file of a folder that was built."""
    names = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name != SUMS_FILE)
    lines = [f"{sha256_file(folder / name)}  {name}\n" for name in names]
    write_atomic(folder / SUMS_FILE, "".join(lines))


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
    found = [_LINE.fullmatch(line) for line in sums.read_text("utf-8", "replace").splitlines()]
    listed = {m[2]: m[1] for m in found if m}
    present = {p.name for p in sums.parent.glob("firmware.*")}
    if not all(found) or not present <= set(listed):
        raise DeviceError(f"{sums} is damaged", hint="build again")
    return listed


def _changed(path: Path) -> DeviceError:
    return DeviceError(
        f"{path} is not what was built", hint="it was changed or damaged: build again"
    )
