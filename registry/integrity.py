"""Re-hashes what is registered and finds what was changed: model, firmware, manifest, signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.registry import files, layers, signing
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.keys import load_public
from tinydeploy.registry.manifest import (
    MANIFEST_FILE,
    PROFILE_FOLDER,
    SIGNATURE_FILE,
    content,
    problems,
    read_manifest,
)
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.mlmodel import MODEL_FILE
from tinydeploy.registry.schema import TAG_SIGNED_BY, VersionRecord
from tinydeploy.store import read_json, sha256_file


@dataclass(frozen=True)
class Problem:
    """One file that is not what was registered, relative to its folder, and what is wrong."""

    file: str
    reason: str


@dataclass(frozen=True)
class Checked:
    """One folder that was re-hashed: `part` is "model", "firmware" (of `board`) or "bundle".

    `signature` is "unsigned", "trusted", "untrusted" (by a key that is not trusted) or "invalid".
    """

    part: str
    name: str
    version: str
    board: str
    run_id: str
    folder: Path
    files: int
    bytes: int
    signature: str
    key_id: str
    problems: tuple[Problem, ...]


def verify(registry: MlflowRegistry, name: str, version: str = "") -> list[Checked]:
    """Every folder of a version, or of all versions of a model, re-hashed.

    Raises RegistryError only for what does not exist; what was changed is in `problems`.
    """
    view = registry.only(name, version) if version else registry.view(name)
    checked = []
    for v in view.versions:
        checked.append(check_model(registry, v))
        checked += [check_board(registry, v, r) for r in view.of(v)]
    return checked


def check_model(registry: MlflowRegistry, version: VersionRecord) -> Checked:
    """The model folder and the evaluation of a version."""
    run = registry.state_folder(version)
    folder = run / files.MODEL_FOLDER
    more = [*lineage_problems(folder, {"model_sha256": version.model_sha256})]
    if hash_of(folder / MODEL_FILE) not in (version.model_sha256, None):
        more.append(Problem(MODEL_FILE, "is not the model of this version"))
    try:
        expected = read_manifest(folder)["lineage"].get("evaluation_sha256")
    except RegistryError:
        expected = None
    if expected is None or hash_of(run / files.EVALUATION_FILE) != expected:
        more.append(Problem(files.EVALUATION_FILE, "is not the evaluation that was registered"))
    return _checked(version, version, folder, more)


def check_board(
    registry: MlflowRegistry, version: VersionRecord, record: BoardRecord, *, profile: bool = True
) -> Checked:
    """Firmware and measurement of a run on a board, and its profile unless that is left out."""
    folder = registry.run_folder(version.name, record.run_id)
    said = {
        "model_sha256": version.model_sha256,
        "build_id": record.build_id,
        "firmware_sha256": record.firmware_sha256,
        "board": record.board,
    }
    more = [*lineage_problems(folder, said), *build_problems(folder, said)]
    image = files.IMAGE_FILE if (folder / files.IMAGE_FILE).exists() else files.FIRMWARE_FILES[1]
    if hash_of(folder / image) not in (record.firmware_sha256, None):
        more.append(Problem(image, "is not the firmware that was measured"))
    if profile:
        more += [Problem(*p) for p in layers.changed(folder / PROFILE_FOLDER, record)]
    return _checked(version, record, folder, more)


def sign(registry: MlflowRegistry, name: str, version: str, private_key: Path) -> list[Checked]:
    """Sign the model of a version and its runs on boards, if they are intact; what they are then.

    Raises RegistryError naming the first file that was changed: nothing is signed then.
    """
    found = registry.get(name, version)
    for checked in verify(registry, name, version):
        require_intact(checked)
    key_id = load_public(private_key).key_id
    with registry.place.locked() as client:
        for record in registry.view(name).of(found):
            folder = registry.run_folder(name, record.run_id)
            signing.sign_folder(folder, f"{found.variant}@{record.board}", private_key)
            registry.place.put(name, record.run_id, folder / SIGNATURE_FILE, SIGNATURE_FILE)
            client.set_tag(record.run_id, TAG_SIGNED_BY, key_id)
        folder = registry.state_folder(found) / files.MODEL_FOLDER
        signing.sign_folder(folder, found.variant, private_key)
        path = f"{found.folder}/{files.MODEL_FOLDER}/{SIGNATURE_FILE}".lstrip("/")
        registry.place.put(name, found.run_id, folder / SIGNATURE_FILE, path)
        client.set_model_version_tag(name, version, TAG_SIGNED_BY, key_id)
    return verify(registry, name, version)


def require_intact(checked: Checked, *, signed: bool = False) -> Checked:
    """What was checked. Raises RegistryError naming the first changed file, or if not signed."""
    what = f"version {checked.version} of {checked.name}" if checked.version else checked.name
    what += f" on {checked.board}" if checked.board else ""
    if checked.problems:
        first = checked.problems[0]
        more = len(checked.problems) - 1
        raise RegistryError(
            f"{what} is refused: {first.file} {first.reason}"
            + (f" ({more} more problems)" if more else ""),
            hint="`tinydeploy verify` shows all, and what to do about it",
        )
    if signed:
        signing.require_signature(checked.folder, what, required=True)
    return checked


def _checked(
    version: VersionRecord, record: VersionRecord | BoardRecord, folder: Path, more: list[Problem]
) -> Checked:
    if not record.manifest_sha256:
        more.append(Problem(MANIFEST_FILE, "is not registered: deploy again"))
    board = getattr(record, "board", "")
    signed = bool(record.signed_by)
    return examined(
        "firmware" if board else "model",
        folder,
        (version.name, version.version, board, record.run_id),
        record.manifest_sha256 or None,
        more,
        signed=signed,
    )


def examined(
    part: str,
    folder: Path,
    what: tuple[str, str, str, str],
    manifest_sha256: str | None,
    more: Iterable[Problem] = (),
    *,
    signed: bool = False,
) -> Checked:
    """A folder with a manifest, re-hashed; `what` is name, version, board and run id.

    `more` are problems found already; `signed` says that it was signed once.
    """
    found = [Problem(*p) for p in problems(folder, manifest_sha256)]
    verdict = signing.check_signature(folder)
    if verdict.status == "invalid":
        found.append(Problem(verdict.file, f"signature: {verdict.reason}"))
    if verdict.status == "unsigned" and signed:
        found.append(Problem(SIGNATURE_FILE, "is missing: it was signed"))
    names = content(folder) if folder.is_dir() else []
    unique = dict.fromkeys([*found, *more])
    name, version, board, run_id = what
    return Checked(
        part=part,
        name=name,
        version=version,
        board=board,
        run_id=run_id,
        folder=folder,
        files=len(names),
        bytes=sum((folder / n).stat().st_size for n in names if (folder / n).is_file()),
        signature=verdict.status,
        key_id=verdict.key_id,
        problems=tuple(unique),
    )


def lineage_problems(folder: Path, said: Mapping[str, str]) -> Iterator[Problem]:
    """Where the manifest's lineage is not what the registry says."""
    try:
        lineage = read_manifest(folder)["lineage"]
    except RegistryError:
        return  # `problems` says so
    for key, value in said.items():
        if lineage.get(key) != value:
            yield Problem(MANIFEST_FILE, f"says another {key} than the registry")


def build_problems(folder: Path, said: Mapping[str, Any]) -> Iterator[Problem]:
    """Where build.json, by which the host knows the device, is not what the registry says."""
    try:
        build = read_json(folder / "build.json")
        for key, value in said.items():
            if build.get(key, value) != value:
                yield Problem("build.json", f"says another {key} than the registry")
    except FileNotFoundError:
        yield Problem("build.json", "is missing")
    except (OSError, ValueError, AttributeError) as e:
        yield Problem("build.json", f"cannot be read: {e}")


def hash_of(path: Path) -> str | None:
    """None for a file that is not there, which `problems` says."""
    return sha256_file(path) if path.is_file() else None
