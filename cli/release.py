"""What `verify`, `sign`, `export`, `import` and `flash` share: a target, and whether it is intact.

A target is `NAME@ALIAS`, `NAME/VERSION` or `NAME` of a registry, a bundle (.zip), or a folder that
`tinydeploy build` wrote.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.cli import wiring
from tinydeploy.errors import RegistryError, UsageError

if TYPE_CHECKING:
    from tinydeploy.registry.boards import BoardRecord
    from tinydeploy.registry.integrity import Checked
    from tinydeploy.registry.mlflow import MlflowRegistry
    from tinydeploy.registry.schema import VersionRecord
    from tinydeploy.types import Build

BUNDLE = ".zip"


def required(asked: bool) -> bool:
    """Whether nothing may be used unsigned: by an option, or by the environment."""
    from tinydeploy.registry.keys import signatures_required

    return signatures_required(asked)


def check(target: str, registry: Path | str, signed: bool) -> list[Checked]:
    """Every folder of a registered version (or of all), or of a bundle, re-hashed.

    Raises RegistryError for what does not exist or, with `signed`, for an intact target that no
    trusted key has signed; what was changed is in `problems`.
    """
    from tinydeploy.registry import archive, integrity
    from tinydeploy.registry.bundle import check_bundle

    if target.endswith(BUNDLE):
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            archive.unpack(Path(target), Path(scratch))
            found = check_bundle(Path(scratch))
            _require_signed(found, signed)
            return found
    store = wiring.registry(registry)
    name, version, _ = store.locate(target)
    found = integrity.verify(store, name, version)
    _require_signed(found, signed)
    return found


def sign(target: str, registry: Path | str, key: Path) -> dict[str, Any]:
    """Sign a version and its runs on boards, or a folder with firmware; what was signed."""
    from tinydeploy.registry import integrity, signing
    from tinydeploy.registry.keys import load_public

    key_id = load_public(key).key_id
    if Path(target).is_dir():
        build = wiring.builder().load(Path(target))
        signing.sign_folder(Path(target), f"{build.model_sha256[:12]}@{build.board}", key)
        return {"key_id": key_id, "signed": [target]}
    store = wiring.registry(registry)
    name, version, _ = store.locate(target)
    if not version:
        raise UsageError(f"{target!r} names no version", hint="write NAME@ALIAS or NAME/VERSION")
    found = integrity.sign(store, name, version, key)
    return {
        "key_id": key_id,
        "signed": [f"{name}/{version} {c.board or c.part}" for c in found],
    }


def is_registered(target: str) -> bool:
    """Whether a target is one of a registry, not a file or a folder."""
    return not target.endswith(BUNDLE) and not Path(target).is_dir()


def name_of(target: str) -> str:
    """The registered model of NAME@BOARD, NAME/VERSION or models:/..., without asking for it."""
    return re.split("[@/]", target.removeprefix("models:/"))[0]


def require_unchanged(found: list[Checked], *, signed: bool = False) -> None:
    """Raises RegistryError naming the first changed file, or an unsigned part that has to be."""
    from tinydeploy.registry.integrity import require_intact

    for checked in found:
        require_intact(checked)
    if signed:
        for checked in found:
            require_intact(checked, signed=True)


def locate(
    store: MlflowRegistry, target: str, board: str = ""
) -> tuple[VersionRecord, BoardRecord]:
    """The version behind NAME@BOARD or NAME/VERSION, and its run on the board.

    The run is the one that was selected for the board, or the only one there is; `board` names it
    where the target does not. Raises RegistryError if there is none, or UsageError if it is not
    clear which.
    """
    name, number, alias = store.locate(target)
    alias = board or alias
    if not number:
        raise UsageError(f"{target!r} names no version", hint="write NAME@BOARD")
    version, view = store.get(name, number), store.view(name)
    records = view.of(version)
    chosen = version.selected.get(alias)
    fitting = [r for r in records if r.run_id == chosen] or [
        r for r in records if not alias or r.board == alias
    ]
    if not fitting:
        raise RegistryError(
            f"version {number} of {name} has no firmware{f' for {alias}' if alias else ''}",
            hint=f"it has for: {', '.join(sorted({r.board for r in records})) or 'none'}",
        )
    if len({r.board for r in fitting}) > 1:
        raise UsageError(f"{target!r} runs on several boards", hint=f"write {name}@BOARD")
    return version, fitting[0]


def intact(
    store: MlflowRegistry,
    found: tuple[VersionRecord, BoardRecord],
    *,
    signed: bool,
    profile: bool = True,
) -> tuple[VersionRecord, BoardRecord]:
    """A version and its run on a board, re-hashed; `profile` as for `check_board`.

    Raises RegistryError.
    """
    from tinydeploy.registry import integrity

    version, record = found
    on_board = integrity.check_board(store, version, record, profile=profile)
    require_unchanged([integrity.check_model(store, version), on_board], signed=signed)
    return found


def firmware_of(bundle: Path, folder: Path) -> Build:
    """The build of an unpacked and checked bundle, in a new folder as a builder makes it."""
    from tinydeploy.registry.bundle import FIRMWARE_FOLDER
    from tinydeploy.registry.files import MODEL_FOLDER
    from tinydeploy.registry.mlmodel import MODEL_FILE

    shutil.copytree(bundle / FIRMWARE_FOLDER, folder)
    shutil.copyfile(bundle / MODEL_FOLDER / MODEL_FILE, folder / MODEL_FILE)
    return wiring.builder().load(folder)


def build_of(
    target: str,
    registry: Path | str,
    scratch: Path,
    *,
    signed: bool = False,
    board: str = "",
    in_place: bool = False,
) -> Build:
    """The firmware of a target, every byte of it checked first, below the empty folder `scratch`.

    `signed` demands the signature of a trusted key; `board` names the board where the target does
    not. A folder is copied, so that what was checked is what is used, unless `in_place`. Raises
    RegistryError for what a registry, a bundle or a signature says otherwise, DeviceError for a
    changed folder of `build`.
    """
    from tinydeploy.registry import archive, integrity, signing
    from tinydeploy.registry.bundle import check_bundle

    if target.endswith(BUNDLE):
        archive.unpack(Path(target), scratch / "bundle")
        require_unchanged(check_bundle(scratch / "bundle"), signed=signed)
        return firmware_of(scratch / "bundle", scratch / "firmware")
    if not is_registered(target):
        folder = Path(target)
        if not in_place:
            folder = scratch / "firmware"
            shutil.copytree(target, folder)
        signing.require_signature(folder, target, signed)
        return wiring.builder().load(folder)
    store = wiring.registry(registry)
    found = locate(store, target, board)
    version, record = intact(store, found, signed=signed, profile=False)
    folder = scratch / "firmware"
    shutil.copytree(store.run_folder(version.name, record.run_id), folder)
    # What was copied is what is flashed: it is checked, not only what it was copied from.
    copied = integrity.examined(
        "firmware",
        folder,
        (version.name, version.version, record.board, ""),
        record.manifest_sha256,
    )
    require_unchanged([copied], signed=signed)
    model = store.artifact(version.name, version.version).path
    shutil.copyfile(model, folder / "model.tflite")
    return wiring.builder().load(folder)


def _require_signed(found: list[Checked], signed: bool) -> None:
    if signed and not any(c.problems for c in found):
        require_unchanged(found, signed=True)
