"""Trained models as the user brings them: Keras, SavedModel, ONNX, PyTorch, `.tflite`."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Literal

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.names import as_name
from tinydeploy.store import sha256_file, sha256_tree
from tinydeploy.types import ModelSource

_FORMATS: dict[str, Literal["keras", "tflite", "onnx", "torch"]] = {
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".tflite": "tflite",
    ".onnx": "onnx",
    ".pt2": "torch",
}
_MAGIC = {
    ".keras": b"PK\x03\x04",
    ".h5": b"\x89HDF",
    ".hdf5": b"\x89HDF",
    ".pt2": b"PK\x03\x04",
    ".onnx": b"",  # protobuf begins with any field
}


def load_source(path: Path, *, trusted: bool = False) -> ModelSource:
    """The model at `path`, identified by its content; nothing of it is run.

    `FOLDER#NAME` names a signature of the SavedModel in a folder, `module:function` a function in a
    Python file of the working folder that returns a PyTorch module and an example of its input.
    A `trusted` one may bring code and reach outside its folder when it is loaded.
    Its name is the file's without extension, with dashes for all but letters, digits and
    underscores. Raises UsageError for a path that is no file or a format that is not read,
    UnsupportedModelError for a file that is not what its extension says.
    """
    if found := _function(path):
        return found
    folder, _, signature = str(path).partition("#")
    if (Path(folder) / "saved_model.pb").is_file():
        return dataclasses.replace(_saved_model(Path(folder), signature), trusted=trusted)
    suffix = path.suffix.lower()
    if suffix == ".supernet":
        raise UsageError(
            f"{path} is many nets in one",
            hint="tinydeploy supernet extract writes one of them; tinydeploy search tries them all",
        )
    if suffix not in _FORMATS:
        raise UsageError(
            f"{path} is no model that can be read: its extension is {suffix or 'missing'}",
            hint=f"give a file ending in {', '.join(_FORMATS)}, the folder of a SavedModel, or "
            "module:function",
        )
    try:
        with open(path, "rb") as f:
            head = f.read(8)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a model file"
        ) from error
    found_magic = head[4:] == b"TFL3" if suffix == ".tflite" else head.startswith(_MAGIC[suffix])
    if not found_magic:
        raise UnsupportedModelError(
            f"{path} is not a {suffix} file: its first bytes are others",
            hint="the file is damaged, or has the extension of another format",
        )
    return ModelSource(
        path=path,
        format=_FORMATS[suffix],
        sha256=sha256_file(path),
        name=as_name(path.stem),
        trusted=trusted,
    )


def _saved_model(folder: Path, signature: str) -> ModelSource:
    name = as_name(folder.resolve().name) + (f"-{as_name(signature)}" if signature else "")
    return ModelSource(
        path=folder,
        format="savedmodel",
        sha256=sha256_tree(folder, ("**/*",)),
        name=name,
        signature=signature,
    )


def _function(path: Path) -> ModelSource | None:
    """`module:function`, identified by the file of the module."""
    match = re.fullmatch(r"([\w./-]+):([A-Za-z_]\w*)", str(path))
    if not match or path.exists():
        return None
    module = Path(match[1])
    file = module.parent / (module.name.replace(".", "/") + ".py")
    if not file.is_file():
        raise UsageError(
            f"{path}: there is no {file}", hint="module:function names a Python file from here"
        )
    return ModelSource(path=path, format="torch", sha256=sha256_file(file), name=as_name(match[2]))
