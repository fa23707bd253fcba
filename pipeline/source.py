"""Trained models as the user brings them: `.keras`, `.h5`, `.tflite`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.store import sha256_file
from tinydeploy.types import ModelSource

_FORMATS: dict[str, Literal["keras", "tflite"]] = {
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".tflite": "tflite",
}
_MAGIC = {".keras": b"PK\x03\x04", ".h5": b"\x89HDF", ".hdf5": b"\x89HDF"}


def load_source(path: Path) -> ModelSource:
    """The model at `path`, identified by its content; nothing of it is run.

    Its name is the file's without extension, with dashes for all but letters, digits and
    underscores. Raises UsageError for a path that is no file or a format that is not read,
    UnsupportedModelError for a file that is not what its extension says.
    """
    suffix = path.suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(
            f"{path} is no model that can be read: its extension is {suffix or 'missing'}",
            hint=f"give a file ending in {', '.join(_FORMATS)}",
        )
    try:
        with open(path, "rb") as f:
            head = f.read(8)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a model file"
        ) from error
    found = head[4:] == b"TFL3" if suffix == ".tflite" else head.startswith(_MAGIC[suffix])
    if not found:
        raise UnsupportedModelError(
            f"{path} is not a {suffix} file: its first bytes are others",
            hint="the file is damaged, or has the extension of another format",
        )
    name = re.sub(r"[^\w-]+", "-", path.stem, flags=re.ASCII)
    return ModelSource(path=path, format=_FORMATS[suffix], sha256=sha256_file(path), name=name)
