"""`manifest.json`: every file of a folder by sha256, and the lineage of what they are.

::

    {"format": "tinydeploy-manifest/1",
     "kind": "variant" | "board" | "profile" | "bundle",
     "lineage": {...},
     "files": {"model.tflite": {"sha256": "...", "bytes": 123}, ...}}

The manifest lists neither itself nor the signature beside it. Who holds the sha256 of a manifest
(a tag in the registry, a signature) can tell whether any byte of its folder was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.store import read_json, sha256_file, write_json

MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "signature.json"
FORMAT = "tinydeploy-manifest/1"

PROFILE_FOLDER = "profile"
"""Below the firmware of a run on a board, with a manifest of its own: see `layers`."""

# MLflow leaves a note of where a model came from in the folder that it loads from.
UNLISTED = (MANIFEST_FILE, SIGNATURE_FILE, PROFILE_FOLDER, "registered_model_meta")


def write_manifest(folder: Path, kind: str, lineage: Mapping[str, Any]) -> str:
    """Describe all files below `folder`; the sha256 of the manifest that was written."""
    files = {
        name: {"sha256": sha256_file(folder / name), "bytes": (folder / name).stat().st_size}
        for name in content(folder)
    }
    manifest = {"format": FORMAT, "kind": kind, "lineage": dict(lineage), "files": files}
    write_json(folder / MANIFEST_FILE, manifest)
    return sha256_file(folder / MANIFEST_FILE)


def content(folder: Path) -> list[str]:
    """The files below `folder` that a manifest lists, as sorted POSIX paths."""
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir())
    return sorted(name for name in found if name.split("/")[0] not in UNLISTED)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder. Raises RegistryError if there is none or it is malformed."""
    try:
        found = read_json(folder / MANIFEST_FILE)
        if found["format"] != FORMAT:
            raise ValueError(f"format {found['format']!r}")
        for entry in found["files"].values():
            if not (isinstance(entry["sha256"], str) and isinstance(entry["bytes"], int)):
                raise ValueError("a file without sha256 and size")
        found["lineage"].items()
        str(found["kind"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise RegistryError(
            f"{folder / MANIFEST_FILE} cannot be read: {e}",
            hint="the folder is damaged, or older than manifests: deploy again",
        ) from e
    return dict(found)


def problems(folder: Path, manifest_sha256: str | None = None) -> list[tuple[str, str]]:
    """(file, what is wrong) for every file that is not what the manifest says, sorted.

    `manifest_sha256` is what the manifest itself has to hash to, if that is known. Empty if all
    is well. Reads every byte.
    """
    if not (folder / MANIFEST_FILE).exists():
        return [(MANIFEST_FILE, "is missing")]
    try:
        manifest = read_manifest(folder)
    except RegistryError as e:
        return [(MANIFEST_FILE, e.message)]
    found = []
    if manifest_sha256 is not None and sha256_file(folder / MANIFEST_FILE) != manifest_sha256:
        found.append((MANIFEST_FILE, "is not the manifest that was registered"))
    listed, present = manifest["files"], set(content(folder))
    if manifest["kind"] != "board" and (folder / PROFILE_FOLDER).exists():
        found.append((PROFILE_FOLDER, "is not listed in the manifest"))
    found += [(name, "is missing") for name in listed.keys() - present]
    found += [(name, "is not listed in the manifest") for name in present - listed.keys()]
    for name in present & listed.keys():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            found.append((name, "is not a plain file"))
        elif path.stat().st_size != listed[name]["bytes"]:
            found.append(
                (name, f"has {path.stat().st_size} bytes, expected {listed[name]['bytes']}")
            )
        elif (sha256 := sha256_file(path)) != listed[name]["sha256"]:
            found.append(
                (
                    name,
                    f"has the sha256 {sha256[:12]}..., expected {listed[name]['sha256'][:12]}...",
                )
            )
    return sorted(found)
