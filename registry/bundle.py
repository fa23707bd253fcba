"""A version on a board as one self-contained folder, which `archive` makes a zip file of.

::

    manifest.json, signature.json   every file below by sha256
    MODEL_CARD.md, LICENSE, sbom.cdx.json
    model/                          the MLmodel folder, with its own manifest and signature
    evaluation.json                 metric and every sample's result
    firmware/                       build.json, firmware.elf, .bin, measurement.json: likewise
    images/                         the same firmware as .hex and .uf2, or signed for MCUboot
    source/                         the model's C and the kernels, which compile on their own

No time, version number or path of an export is in it: another registry that imports it and exports
it again gives the same bytes. (An ELF's debug information names the folder that it was built in.)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.registry import signing
from tinydeploy.registry.card import board_card
from tinydeploy.registry.files import (
    EVALUATION_FILE,
    FIRMWARE_FILES,
    IMAGE_FILE,
    MEASUREMENT_FILE,
    MODEL_FOLDER,
)
from tinydeploy.registry.integrity import (
    Checked,
    Problem,
    build_problems,
    examined,
    hash_of,
    lineage_problems,
)
from tinydeploy.registry.manifest import (
    MANIFEST_FILE,
    SIGNATURE_FILE,
    UNLISTED,
    read_manifest,
    write_manifest,
)
from tinydeploy.registry.mlmodel import CARD_FILE, MODEL_FILE
from tinydeploy.registry.sbom import sbom
from tinydeploy.store import sha256_file, write_atomic

FIRMWARE_FOLDER = "firmware"
CARD = "MODEL_CARD.md"
CHOICE_FILE = "choice.json"
_LICENCE = "Apache-2.0"
_SHARED = ("model_sha256", "board", "build_id", "firmware_sha256")


def assemble(
    folder: Path, variant: Path, firmware: Path, name: str, choice: Mapping[str, str]
) -> None:
    """Put the artifacts of a version's run and of its run on a board together.

    `choice` is how it was selected for the board: objective and constraints. `source/` and
    `images/` are the caller's; `finish` then completes the bundle. Raises ToolMissingError.
    """
    left_out = shutil.ignore_patterns(*UNLISTED[2:])
    shutil.copytree(variant / MODEL_FOLDER, folder / MODEL_FOLDER, ignore=left_out)
    shutil.copyfile(variant / EVALUATION_FILE, folder / EVALUATION_FILE)
    shutil.copytree(firmware, folder / FIRMWARE_FOLDER)
    of_model = read_manifest(folder / MODEL_FOLDER)["lineage"]
    of_board = read_manifest(folder / FIRMWARE_FOLDER)["lineage"]
    label = of_model["model_sha256"][:12]
    write_atomic(folder / "sbom.cdx.json", sbom(name, label, of_model, of_board, _LICENCE))
    write_atomic(folder / "LICENSE", _licence())
    card = (folder / MODEL_FOLDER / CARD_FILE).read_text(encoding="utf-8")
    build = json.loads((folder / FIRMWARE_FOLDER / FIRMWARE_FILES[0]).read_text("utf-8"))
    measured = folder / FIRMWARE_FOLDER / MEASUREMENT_FILE
    found = json.loads(measured.read_text("utf-8")) if measured.exists() else None
    write_atomic(folder / CARD, card + "\n" + board_card(build, found))
    write_atomic(folder / CHOICE_FILE, json.dumps({"name": name, **choice}, indent=2) + "\n")


def finish(folder: Path, private_key: Path | None = None) -> None:
    """Write the bundle's manifest; with a key sign the model, the firmware and the bundle."""
    choice = json.loads((folder / CHOICE_FILE).read_text("utf-8"))
    of_board = read_manifest(folder / FIRMWARE_FOLDER)["lineage"]
    label = f"{choice['name']}@{of_board['board']}"
    if private_key:
        signing.sign_folder(folder / MODEL_FOLDER, choice["name"], private_key)
        signing.sign_folder(folder / FIRMWARE_FOLDER, label, private_key)
    lineage = {
        "name": choice["name"],
        **{key: of_board[key] for key in _SHARED},
        "model_manifest_sha256": sha256_file(folder / MODEL_FOLDER / MANIFEST_FILE),
        "firmware_manifest_sha256": sha256_file(folder / FIRMWARE_FOLDER / MANIFEST_FILE),
    }
    write_manifest(folder, "bundle", lineage)
    if private_key:
        signing.sign_folder(folder, label, private_key)


def check_bundle(folder: Path) -> list[Checked]:
    """The bundle, its model and its firmware, re-hashed and compared with each other.

    Raises RegistryError only if it has no manifest.
    """
    if not (folder / MANIFEST_FILE).exists():
        raise RegistryError(
            f"the bundle holds no {MANIFEST_FILE}", hint="`tinydeploy export` writes one"
        )
    manifest = read_manifest(folder)
    lineage, more = manifest["lineage"], []
    if manifest["kind"] != "bundle":
        raise RegistryError(
            f"{MANIFEST_FILE} is not that of a bundle", hint="`tinydeploy export` writes one"
        )
    said = {key: lineage.get(key) for key in _SHARED}
    name, board = str(lineage.get("name")), str(said["board"])
    model, firmware = folder / MODEL_FOLDER, folder / FIRMWARE_FOLDER
    for path, key in ((model, "model_manifest_sha256"), (firmware, "firmware_manifest_sha256")):
        if hash_of(path / MANIFEST_FILE) != lineage.get(key):
            more.append(Problem(f"{path.name}/{MANIFEST_FILE}", "is not the one that was exported"))
    in_model = [*lineage_problems(model, {"model_sha256": said["model_sha256"]})]
    if hash_of(model / MODEL_FILE) != said["model_sha256"]:
        in_model.append(Problem(MODEL_FILE, "is not the model of this bundle"))
    evaluation = _lineage_of(model).get("evaluation_sha256")
    if hash_of(folder / EVALUATION_FILE) != evaluation:
        more.append(Problem(EVALUATION_FILE, "is not the evaluation that was registered"))
    in_firmware = [*lineage_problems(firmware, said), *build_problems(firmware, said)]
    image = IMAGE_FILE if (firmware / IMAGE_FILE).exists() else FIRMWARE_FILES[1]
    if hash_of(firmware / image) != said["firmware_sha256"]:
        in_firmware.append(Problem(image, "is not the firmware of this bundle"))
    signed = (folder / SIGNATURE_FILE).exists()
    return [
        examined("bundle", folder, (name, "", "", ""), None, more),
        examined("model", model, (name, "", "", ""), None, in_model, signed=signed),
        examined("firmware", firmware, (name, "", board, ""), None, in_firmware, signed=signed),
    ]


def check_parts(folder: Path) -> list[Checked]:
    """The copied model and firmware of a bundle that is not finished, re-hashed."""
    parts = (("model", MODEL_FOLDER), ("firmware", FIRMWARE_FOLDER))
    return [examined(part, folder / name, ("the copy", "", "", ""), None) for part, name in parts]


def _lineage_of(folder: Path) -> dict[str, Any]:
    try:
        return dict(read_manifest(folder)["lineage"])
    except RegistryError:
        return {}


def _licence() -> str:
    text = distribution("tinydeploy").read_text("licenses/LICENSE")
    if text is None:
        raise RegistryError("the licence is not installed", hint="install tinydeploy again")
    return text
