"""A bundle becomes a version again: the same files, not a byte of them written anew."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.lineage import Lineage
from tinydeploy.objective import parse_objective
from tinydeploy.registry import layers
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.bundle import CHOICE_FILE, FIRMWARE_FOLDER
from tinydeploy.registry.files import EVALUATION_FILE, MEASUREMENT_FILE, MODEL_FOLDER
from tinydeploy.registry.manifest import PROFILE_FOLDER, read_manifest
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.mlmodel import read_model_folder
from tinydeploy.registry.schema import TAG_SIGNED_BY, read_selection_tag
from tinydeploy.registry.signing import check_signature
from tinydeploy.store import read_json
from tinydeploy.types import (
    Build,
    Evaluation,
    Measurement,
    ModelSource,
    Selection,
    from_json,
    to_json,
)


@dataclass(frozen=True)
class Imported:
    """What an import made, or found: `selected` says whether the board's alias points to it."""

    name: str
    version: str
    run_id: str
    board: str
    selected: bool


@dataclass(frozen=True)
class _DataSet:
    """A data set in the manifest of a model."""

    sha256: str
    samples: int
    context: str


@dataclass(frozen=True)
class _Engine:
    """The engine in the manifest of a board."""

    name: str
    optimize: str
    sha256: str


def restore(registry: MlflowRegistry, folder: Path, build: Build, name: str = "") -> Imported:
    """Register the version and the run of a checked bundle; `build` is its firmware.

    The board's alias points to it if the board had none; a choice that was made here stays.
    `name` replaces the model's name. Raises RegistryError for a description that makes no sense.
    """
    lineage = read_manifest(folder / MODEL_FOLDER)["lineage"]
    firmware = folder / FIRMWARE_FOLDER
    of_board = read_manifest(firmware)["lineage"]
    try:
        choice = _json(folder / CHOICE_FILE)
        artifact = read_model_folder(folder / MODEL_FOLDER, lineage["model_sha256"])
        evaluation = from_json(Evaluation, _json(folder / EVALUATION_FILE))
        if not math.isfinite(evaluation.value):
            raise ValueError(f"{evaluation.metric} is {evaluation.value}")
        measured = firmware / MEASUREMENT_FILE
        found = from_json(Measurement, _json(measured)) if measured.exists() else None
        source = from_json(ModelSource, {**lineage["source"], "path": ""})
        sets = {key: from_json(_DataSet, entry) for key, entry in lineage["data"].items()}
        data = {key: {**to_json(entry), "path": ""} for key, entry in sets.items()}
        for part in (lineage, of_board):  # what an export of it will need
            from_json(Lineage, {"code": part["code"], "tools": part["tools"]})
        from_json(_Engine, of_board["engine"])
        name = name or str(choice["name"])
        made = read_selection_tag(build.board, {f"selection.{build.board}": choice["selection"]})
        if made:
            parse_objective(made[0])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as e:
        raise RegistryError(
            f"the bundle describes nothing that can be registered: {e!r}",
            hint="it was written by another version: export it again",
        ) from e
    with registry.place.changing():
        version = registry.register(name, source, artifact, evaluation, data, files=folder)
        registry.record(name, version, build, found, files=firmware)
        record = _run(registry, name, version, build)
        _keep_profile(registry, name, record, firmware / PROFILE_FOLDER)
        _note_signatures(registry, name, version, record.run_id)
        selected = _select(registry, name, version, record, made) if made else False
        registry.require_delivered()
    return Imported(name, version, record.run_id, build.board, selected)


def _run(registry: MlflowRegistry, name: str, version: str, build: Build) -> BoardRecord:
    """The run of a build; another command that records the same may have replaced ours."""
    view = registry.only(name, version)
    for record in view.of(view.versions[0], build.board):
        if record.build_id == build.build_id:
            return record
    raise RegistryError(
        f"version {version} of {name} on {build.board} was replaced by another command meanwhile",
        hint="import it again, if it is still wanted",
    )


def _select(
    registry: MlflowRegistry, name: str, version: str, record: BoardRecord, made: Any
) -> bool:
    """Point the board's alias to the run, if the board has none; whether it points there now."""
    board, run_id = record.board, record.run_id
    if board not in registry.view(name).aliases:
        objective, constraints = made
        candidates = registry.candidates(name, board)
        chosen = next((c for c in candidates if c.run_id == run_id), None)
        reasons = {c.name: "not the one that was imported" for c in candidates if c != chosen}
        if chosen:
            selection = Selection(board, objective, chosen, tuple(candidates), (), reasons)
            registry.select(name, selection, constraints)
    return registry.view(name).aliases.get(board) == version


def _keep_profile(registry: MlflowRegistry, name: str, record: BoardRecord, files: Path) -> None:
    """The profile of a bundle, if the run was there before and has none."""
    if files.is_dir() and not record.profile_sha256:
        layers.keep(registry, name, record, files)


def _note_signatures(registry: MlflowRegistry, name: str, version: str, run_id: str) -> None:
    """Say by whom model and firmware are signed, so that a removed signature is noticed."""
    found = registry.get(name, version)
    model = check_signature(registry.state_folder(found) / MODEL_FOLDER)
    board = check_signature(registry.run_folder(name, run_id))
    if model.key_id or board.key_id:
        with registry.place.locked() as client:
            if board.key_id:
                client.set_tag(run_id, TAG_SIGNED_BY, board.key_id)
            if model.key_id:
                client.set_model_version_tag(name, version, TAG_SIGNED_BY, model.key_id)


def _json(path: Path) -> Mapping[str, Any]:
    value: Mapping[str, Any] = read_json(path)
    value.items()
    return value
