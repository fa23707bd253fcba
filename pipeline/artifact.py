"""An artifact on disk: `NAME.tflite`, and beside it `NAME.json` with what a board needs as well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tinydeploy.errors import UsageError
from tinydeploy.store import sha256_bytes, staged_directory, write_atomic, write_json
from tinydeploy.tomlfile import parse
from tinydeploy.types import Artifact, to_json

_HINT = "convert the model again with `tinydeploy convert`"


def save_artifact(artifact: Artifact, model: bytes) -> None:
    """Write `model` to `artifact.path` and the description beside it, both or neither.

    A new folder appears with both files in it. In a folder that exists the description comes
    last: it names the hash of its model, so that one without the other is noticed.
    """
    folder = artifact.path.parent
    description = {**to_json(artifact), "path": artifact.path.name}
    if folder.exists():
        write_atomic(artifact.path, model)
        write_json(_sidecar(artifact.path), description)
        return
    with staged_directory(folder) as scratch:
        write_atomic(scratch / artifact.path.name, model)
        write_json(_sidecar(scratch / artifact.path.name), description)


def load_artifact(path: Path) -> Artifact:
    """The artifact of a `.tflite` file or of its `.json`.

    A `.tflite` without a `.json` is an artifact without recipe and metric (both "": nobody said
    what the model is for), labels and input description.
    Raises UsageError if a file is missing or damaged, or the model is another than described.
    """
    if path.suffix not in (".tflite", ".json"):  # not the .tflite that may lie beside it
        raise UsageError(
            f"{path} is no .tflite file", hint="convert it first with `tinydeploy convert`"
        )
    model_path = path.with_suffix(".tflite")
    sidecar = _sidecar(model_path)
    try:
        model = model_path.read_bytes()
        text = sidecar.read_bytes() if path == sidecar or sidecar.exists() else None
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be read: {error.strerror}", hint="give a .tflite file"
        ) from error
    sha256 = sha256_bytes(model)
    if text is None:
        return Artifact(
            path=model_path,
            sha256=sha256,
            size_bytes=len(model),
            recipe="",
            source_name=model_path.stem,
            source_sha256=sha256,
            data_sha256="",
            metric="",
        )
    artifact = parse(Artifact, _without_nulls(_read_json(text, sidecar)), sidecar)
    if artifact.path != model_path.resolve() or artifact.sha256 != sha256:
        raise UsageError(f"{sidecar} describes another model than {model_path}", hint=_HINT)
    return artifact


def _sidecar(model_path: Path) -> Path:
    return model_path.with_suffix(".json")


def _read_json(text: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not valid JSON: {error}", hint=_HINT) from error
    if not isinstance(value, dict):
        raise UsageError(f"{path} does not describe a model", hint=_HINT)
    return value


def _without_nulls(value: Any) -> Any:
    """TOML has no null, so neither do the values that `parse` reads: null is a key left out."""
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    return value
