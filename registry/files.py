"""The files behind a version and behind a run on a board, each folder with its manifest.

::

    RUN/artifacts/evaluation.json     of a variant: the metric and every sample's result
    RUN/artifacts/model/              of a variant: see `mlmodel`; manifest.json, signature.json
    RUN/artifacts/states/KEY/         both again, if it was evaluated anew: see `renewal`
    RUN/artifacts/                    of a board: build.json, firmware.elf, firmware.bin,
                                      measurement.json, manifest.json, signature.json
    RUN/artifacts/profile/            what its layers take there, once that was asked: `layers`
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinydeploy import tflite
from tinydeploy.lineage import Lineage
from tinydeploy.registry.card import variant_card
from tinydeploy.registry.manifest import (
    MANIFEST_FILE,
    PROFILE_FOLDER,
    SIGNATURE_FILE,
    write_manifest,
)
from tinydeploy.registry.mlmodel import CARD_FILE, write_model_folder
from tinydeploy.registry.schema import TAG_MANIFEST, TAG_PROFILE
from tinydeploy.store import sha256_file, sha256_json, write_json
from tinydeploy.types import Artifact, Build, Evaluation, Measurement, ModelSource, to_json

MODEL_FOLDER = "model"
EVALUATION_FILE = "evaluation.json"
MEASUREMENT_FILE = "measurement.json"
FIRMWARE_FILES = ("build.json", "firmware.elf")
IMAGE_FILE = "firmware.bin"  # not of boards that are a process of the host
_IMAGES = (IMAGE_FILE, "firmware.hex", "firmware.uf2")

_MAX_NOTE = 5000  # of MLflow's column


def write_variant(
    folder: Path,
    run_id: str,
    source: ModelSource,
    artifact: Artifact,
    evaluation: Evaluation,
    data: Mapping[str, Mapping[str, Any]],
    lineage: Lineage,
) -> dict[str, str]:
    """Evaluation and model folder of a variant; the tags of its run that follow from them."""
    write_json(folder / EVALUATION_FILE, to_json(evaluation))
    described = {
        "model_sha256": artifact.sha256,
        "source": {"name": source.name, "format": source.format, "sha256": source.sha256},
        "recipe": {"name": artifact.recipe, "sha256": lineage.recipe_sha256},
        "calibration_sha256": artifact.data_sha256,
        "data": {
            name: {"sha256": d["sha256"], "samples": d["samples"], "context": d["context"]}
            for name, d in sorted(data.items())
        },
        "evaluation_sha256": sha256_file(folder / EVALUATION_FILE),
        **made_with(lineage),
    }
    card = variant_card(artifact, tflite.read_graph(artifact.path), evaluation, described)
    model = folder / MODEL_FOLDER
    write_model_folder(model, artifact, run_id, card=card)
    # A signature is of what was there before.
    (model / SIGNATURE_FILE).unlink(missing_ok=True)
    return {
        TAG_MANIFEST: write_manifest(model, "variant", described),
        "mlflow.note.content": card[:_MAX_NOTE],
    }


def write_board(
    folder: Path, build: Build, measurement: Measurement | None, lineage: Lineage
) -> dict[str, str]:
    """What was flashed, and every raw sample; the tags of the run that follow from them."""
    images = [name for name in _IMAGES if (build.directory / name).is_file()]
    for name in (*FIRMWARE_FILES, *images):
        shutil.copyfile(build.directory / name, folder / name)
    if measurement:
        write_json(folder / MEASUREMENT_FILE, to_json(measurement))
    described = {
        "model_sha256": build.model_sha256,
        "board": build.board,
        "build_id": build.build_id,
        "firmware_sha256": build.firmware_sha256,
        "engine": {
            "name": build.engine,
            "optimize": build.optimize,
            "sha256": engine_sha256(lineage.code),
        },
        "compiler": build.compiler,
        **made_with(lineage),
    }
    return {TAG_MANIFEST: write_manifest(folder, "board", described)}


def copy_variant(files: Path, folder: Path) -> dict[str, str]:
    """As `write_variant`, from files that it wrote on another machine: not a byte differs."""
    shutil.copyfile(files / EVALUATION_FILE, folder / EVALUATION_FILE)
    model = folder / MODEL_FOLDER
    shutil.copytree(files / MODEL_FOLDER, model, dirs_exist_ok=True)
    return {
        TAG_MANIFEST: sha256_file(model / MANIFEST_FILE),
        "mlflow.note.content": note_of(model),
    }


def note_of(model: Path) -> str:
    """The card of a model folder, as far as MLflow has room for it in the note of a run."""
    return (model / CARD_FILE).read_text(encoding="utf-8", errors="replace")[:_MAX_NOTE]


def copy_board(files: Path, folder: Path) -> dict[str, str]:
    """As `write_board`, from files that it wrote on another machine: not a byte differs."""
    shutil.copytree(files, folder, dirs_exist_ok=True)
    tags = {TAG_MANIFEST: sha256_file(folder / MANIFEST_FILE)}
    profile = folder / PROFILE_FOLDER / MANIFEST_FILE
    return {**tags, TAG_PROFILE: sha256_file(profile)} if profile.exists() else tags


def engine_sha256(code: Mapping[str, str]) -> str:
    """One hash of the compiler and of the firmware's sources, "" if they are not known."""
    parts = {room: code[room] for room in ("compiler", "firmware") if room in code}
    return sha256_json(parts) if parts else ""


def made_with(lineage: Lineage) -> dict[str, Any]:
    """The part of a manifest's lineage that does not depend on the model."""
    return {"code": dict(lineage.code), "tools": dict(lineage.tools)}
