"""What each layer takes on a board, kept beside the firmware that it explains.

::

    RUN/artifacts/profile/profile.json    of a run on a board: a row a layer, as `profile` prints
    RUN/artifacts/profile/layers.svg      the same as a picture, which the MLflow UI shows
    RUN/artifacts/profile/manifest.json   both by sha256; the run's tag `profile_sha256` is its own

A profile may come long after the run, and again. The firmware's manifest and its signature are not
about it, so that they stay. While it is written the tag says so, and by whom: `gc` finds what a
killed process left.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import RegistryError
from tinydeploy.lineage import Lineage
from tinydeploy.registry import charts, process
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.files import made_with
from tinydeploy.registry.manifest import (
    MANIFEST_FILE,
    PROFILE_FOLDER,
    problems,
    read_manifest,
    write_manifest,
)
from tinydeploy.registry.place import FRESH
from tinydeploy.registry.schema import TAG_PROFILE, UNFINISHED, Row
from tinydeploy.registry.writer import Writer
from tinydeploy.store import sha256_file, write_json

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry

PROFILE_FILE = "profile.json"
UNITS = ("instructions", "latency_us")
"""What layers are counted in: emulators count, real boards take the time."""


def write_profile(
    folder: Path, record: BoardRecord, found: Mapping[str, Any], lineage: Lineage
) -> str:
    """Fill an empty folder with a profile; the sha256 of its manifest."""
    write_json(folder / PROFILE_FILE, found)
    charts.write_layers(folder, found)
    said = {key: getattr(record, key) for key in ("board", "build_id", "engine", "optimize")}
    return write_manifest(folder, "profile", {**said, **made_with(lineage)})


def keep(registry: MlflowRegistry, name: str, record: BoardRecord, files: Path) -> None:
    """Make the files of a profile artifacts of a run on a board, in place of an older one's."""
    sha256 = sha256_file(files / MANIFEST_FILE)
    if record.profile_sha256 == sha256:
        there = registry.place.read(name, record.run_id, PROFILE_FOLDER, FRESH)
        if not changed(there, record):
            return
    with registry.place.locked() as client:
        writer = Writer(client, registry.place, name)
        run_id = record.run_id
        begun = f"{UNFINISHED} {int(time.time())} {process.identity()}"
        writer.log(run_id, Row(tags={TAG_PROFILE: begun}))
        registry.place.remove(name, run_id, PROFILE_FOLDER)
        with registry.place.filling(name, run_id) as folder:
            shutil.copytree(files, folder / PROFILE_FOLDER)
        writer.log(run_id, Row(tags={TAG_PROFILE: sha256}))


def read(registry: MlflowRegistry, name: str, record: BoardRecord) -> dict[str, Any] | None:
    """The profile of a run on a board, every byte of it checked; None without.

    Raises RegistryError if it was changed.
    """
    sha256 = record.profile_sha256
    if not sha256 or unfinished(sha256):
        return None
    folder = registry.place.read(name, record.run_id, PROFILE_FOLDER, sha256)
    if wrong := changed(folder, record):
        raise RegistryError(
            f"the profile of {record.board} was changed: {wrong[0][0]} {wrong[0][1]}",
            hint=f"make it anew: `tinydeploy profile {name}@{record.board}`",
        )
    try:
        found: dict[str, Any] = json.loads((folder / PROFILE_FILE).read_text(encoding="utf-8"))
        unit = found["unit"]
        if unit not in UNITS or any(not _costs(row, unit) for row in found["layers"]):
            raise ValueError("a layer without figures")
        found["origin"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise RegistryError(
            f"the profile of {record.board} cannot be read: {e!r}",
            hint=f"make it anew: `tinydeploy profile {name}@{record.board}`",
        ) from e
    return found


def _costs(row: Mapping[str, Any], unit: str) -> bool:
    return isinstance(row["layer"], int) and isinstance(row[unit], int | float)


def changed(folder: Path, record: BoardRecord) -> list[tuple[str, str]]:
    """(file, what is wrong) with the folder of a run's profile; nothing where there is none."""
    sha256 = record.profile_sha256
    if unfinished(sha256):
        return []
    if not sha256:
        return [(PROFILE_FOLDER, "is not registered")] if folder.exists() else []
    found = problems(folder, sha256)
    if not found and read_manifest(folder)["lineage"].get("build_id") != record.build_id:
        found = [(MANIFEST_FILE, "is of another build than the firmware")]
    return [(f"{PROFILE_FOLDER}/{name}", reason) for name, reason in found]


def unfinished(tag: str) -> bool:
    """Whether the tag of a profile says that it is being written, or was when its writer died."""
    return tag.startswith(UNFINISHED)


def is_left(tag: str, oldest_ms: float) -> bool:
    """Whether an unfinished profile was begun before `oldest_ms` (since 1970), or by a process
    of this machine that is no more.
    """
    _, begun, writer = tag.split(" ", 2)
    return int(begun) * 1000 < oldest_ms or process.has_ended(writer)
