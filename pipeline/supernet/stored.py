"""A `.supernet` file: weights, batch normalization of every net, and what the family is.

An `.npz`: ``about`` is JSON text, ``weights/NAME`` what all nets share, and ``NET/NAME`` the batch
normalization of each net. The same supernet gives the same bytes.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.supernet.space import Choice, Space, wrong_key
from tinydeploy.store import write_atomic
from tinydeploy.types import Training, from_json, to_json

SUFFIX = ".supernet"
_FORMAT = 1
_HINT = "make it with: tinydeploy supernet train"
_MOST_ELEMENTS = 1 << 24
"""Of a sample: more than a microcontroller has memory for."""
_MOST_CLASSES = 1 << 16
_DAMAGE = (
    OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class About:
    """What a supernet is: its family, the shape of a sample, and how it was trained."""

    space: Space
    shape: tuple[int, int, int]
    classes: int
    training: Training
    training_sha256: str
    samples: int
    format: int = _FORMAT


@dataclass(frozen=True, eq=False)
class Supernet:
    """A trained supernet; `weights` are shared, `statistics` each net has for itself."""

    about: About
    weights: Mapping[str, np.ndarray]
    statistics: Mapping[Choice, Mapping[str, np.ndarray]]


def write_supernet(path: Path, net: Supernet) -> None:
    """Write the file, whole or not at all."""
    arrays: dict[str, Any] = {"about": np.array(json.dumps(to_json(net.about), sort_keys=True))}
    arrays |= {f"weights/{name}": value for name, value in net.weights.items()}
    for choice, values in net.statistics.items():
        arrays |= {f"{choice.name}/{name}": value for name, value in values.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomic(path, buffer.getvalue())


def read_about(path: Path) -> About:
    """What a supernet is, without its weights. Raises as `read_supernet`."""
    return _about(path, _opened(path))


def read_supernet(path: Path) -> Supernet:
    """Read a file. Raises UsageError if there is none, UnsupportedModelError for another file."""
    arrays = _opened(path)
    about = _about(path, arrays)
    groups: dict[str, dict[str, np.ndarray]] = {}
    for key, value in arrays.items():
        group, _, name = key.partition("/")
        groups.setdefault(group, {})[name] = value
    for key, value in arrays.items():
        if key != "about" and (value.dtype.kind != "f" or not np.isfinite(value).all()):
            raise UnsupportedModelError(f"{path}: {key} holds no finite numbers", hint=_HINT)
    statistics = {c: groups.get(c.name, {}) for c in about.space.choices()}
    if "weights" not in groups or not all(statistics.values()):
        raise UnsupportedModelError(f"{path} is not whole", hint=_HINT)
    return Supernet(about, groups["weights"], statistics)


def _opened(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UsageError(f"{path} does not exist", hint=_HINT)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (*_DAMAGE, AttributeError, MemoryError) as error:
        raise UnsupportedModelError(f"{path} is no supernet: {error}", hint=_HINT) from error


def _about(path: Path, arrays: Mapping[str, np.ndarray]) -> About:
    try:
        said = json.loads(str(arrays["about"]))
        if said.get("format") != _FORMAT:
            raise UnsupportedModelError(
                f"{path} has the format {said.get('format')}, only {_FORMAT} is read", hint=_HINT
            )
        about: About = from_json(About, said)
        return _sensible(about)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UnsupportedModelError(f"{path} is no supernet: {error!r}", hint=_HINT) from error


def _sensible(about: About) -> About:
    """Raises ValueError for a family, a shape or a number of classes that no training makes."""
    if key := wrong_key(about.space):
        raise ValueError(f"{key} = {getattr(about.space, key)}")
    if min(about.shape) < 1 or math.prod(about.shape) > _MOST_ELEMENTS:
        raise ValueError(f"shape = {about.shape}")
    if not 2 <= about.classes <= _MOST_CLASSES:
        raise ValueError(f"classes = {about.classes}")
    return about
