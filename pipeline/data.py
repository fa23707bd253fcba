"""Data sets: labelled samples from a `.npz` file or a folder of images."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.pipeline.prepare import prepare
from tinydeploy.store import sha256_bytes, sha256_json
from tinydeploy.types import InputDescription

__all__ = ["Dataset", "load_dataset", "make_dataset", "prepare"]

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"})

_NPZ_HINT = "an .npz holds x (N, ...), and y (N,) where labels are needed: numpy.savez(F, x=x, y=y)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples `x` (N, ...), labels `y` (N, ...) or None; both read-only.

    `labels` are the names of the classes, or empty. `sha256` is of the content, wherever it was
    read from; `path` is where that was.
    """

    x: np.ndarray
    y: np.ndarray | None
    labels: tuple[str, ...]
    sha256: str
    path: Path

    def __len__(self) -> int:
        return len(self.x)

    def spread(self, samples: int) -> Dataset:
        """At most `samples` of the samples, evenly spaced, so that sorted classes all occur."""
        if samples >= len(self):
            return self
        rows = np.arange(samples) * len(self) // samples
        y = None if self.y is None else self.y[rows]
        return make_dataset(self.x[rows], y, self.labels, self.path)

    def head(self, samples: int) -> Dataset:
        """At most the first `samples` samples."""
        if samples >= len(self):
            return self
        y = None if self.y is None else self.y[:samples]
        return make_dataset(self.x[:samples], y, self.labels, self.path)


def load_dataset(
    path: Path, *, description: InputDescription | None = None, channels: int | None = None
) -> Dataset:
    """The data set at `path`: an `.npz` file, a folder of images a class, or `module:function`.

    An `.npz` holds `x` (N, ...), optionally `y` (N, ...) and optionally `names` of the classes;
    other keys are ignored, and so are `names` that name the N samples. Images become uint8
    (N, height, width, channels), with `channels` 1 (grey) or 3 (RGB), as in the first image if
    None, and the size of `description.resize` if that is given; y is the position of their folder
    in sorted order. A function of the user's returns x, (x, y) or (x, y, names of the classes); its
    module is a Python file, found from the working folder, and is run.

    Raises UsageError for anything that cannot be used, NaN and infinities included.
    """
    if function := _user_function(path):
        return _call(function, path)
    if path.is_dir():
        return _load_images(path, description, channels)
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            hint="give an .npz file, a folder of images, or module:function",
        )
    return _load_npz(path)


def make_dataset(x: Any, y: Any, labels: tuple[str, ...], path: Path) -> Dataset:
    """A data set of these arrays, checked and hashed. Raises UsageError."""
    x = _frozen(x)
    if x.dtype.kind not in "fiub":
        raise UsageError(f"{path}: x is {x.dtype}, not numbers", hint=_NPZ_HINT)
    if x.ndim < 2 or x.size == 0:
        raise UsageError(
            f"{path}: x has the shape {x.shape}: no samples in it",
            hint="x holds N samples stacked along its first axis, also if N is 1",
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UsageError(f"{path}: x holds NaN or infinite values", hint="clean the data")
    if y is not None:
        y = _frozen(y)
        _check_targets(x, y, labels, path)
    parts = [[str(a.dtype), a.shape, sha256_bytes(a.tobytes())] for a in (x, y) if a is not None]
    return Dataset(x, y, labels, sha256_json([parts, labels]), path)


def require_same_classes(data: Dataset, labels: tuple[str, ...], whose: str) -> None:
    """Raises UsageError if a class of the data has another number among `labels`, those of `whose`.

    Of a folder of images a class's number is the position of its folder: one that lacks a folder
    counts the others differently, and its labels mean something else.
    """
    for number, name in enumerate(data.labels):
        if name in labels and labels.index(name) != number:
            raise UsageError(
                f"{data.path}: the class {name!r} is number {number}, in {whose} it is "
                f"{labels.index(name)}",
                hint="give both the same classes in the same order; of images a folder a class, an "
                "empty one for a class without images",
            )


def _check_targets(x: np.ndarray, y: np.ndarray, labels: tuple[str, ...], path: Path) -> None:
    if y.dtype.kind not in "fiub":
        raise UsageError(
            f"{path}: y is {y.dtype}, not numbers",
            hint="y holds class numbers; names of the classes go into `names`",
        )
    if y.ndim == 0 or len(y) != len(x):
        raise UsageError(
            f"{path}: y has the shape {y.shape}, x has {len(x)} samples", hint=_NPZ_HINT
        )
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise UsageError(f"{path}: y holds NaN or infinite values", hint="clean the data")
    if (
        labels
        and y.dtype.kind in "iu"
        and y.ndim == 1
        and not 0 <= y.min() <= y.max() < len(labels)
    ):
        raise UsageError(
            f"{path}: y goes from {y.min()} to {y.max()}, but there are {len(labels)} class names",
            hint="class numbers count from 0; leave `names` out if they name something else",
        )


def _frozen(values: Any) -> np.ndarray:
    array = np.ascontiguousarray(values)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    if array.flags.writeable:
        array = array.view()
        array.flags.writeable = False
    return array


# ---------------------------------------------------------------- module:function
def _user_function(path: Path) -> re.Match[str] | None:
    match = re.fullmatch(r"([\w./-]+):([A-Za-z_]\w*)", str(path))
    return None if match is None or path.exists() else match


def _call(function: re.Match[str], path: Path) -> Dataset:
    module = Path(function[1])
    file = module.parent / (module.name.replace(".", "/") + ".py")
    spec = importlib.util.spec_from_file_location(f"_data_{module.name}", file)
    if not file.is_file() or spec is None or spec.loader is None:
        raise UsageError(
            f"{path}: there is no {file}", hint="module:function names a Python file from here"
        )
    loaded = importlib.util.module_from_spec(spec)
    before = list(sys.path)
    sys.path.insert(0, str(file.parent.resolve()))  # it may import what lies beside it
    try:
        spec.loader.exec_module(loaded)
        if not callable(getattr(loaded, function[2], None)):
            raise UsageError(f"{path}: {file} has no function {function[2]}")
        found = getattr(loaded, function[2])()
        x, y, names = (*found, None, None)[:3] if isinstance(found, tuple) else (found, None, None)
        arrays = np.asarray(x), None if y is None else np.asarray(y)
        labels = () if names is None else tuple(str(name) for name in names)
    except UsageError:
        raise
    except Exception as error:  # the user's code may raise anything
        raise UsageError(
            f"{path} failed: {type(error).__name__}: {error}{_place(error, file)}",
            hint="it takes nothing and returns x, (x, y) or (x, y, names of the classes)",
        ) from error
    finally:
        sys.path[:] = before
    return make_dataset(*arrays, labels, path)


def _place(error: Exception, file: Path) -> str:
    """Where in the user's file it was, if it got there."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if Path(f.filename).resolve() == file.resolve()
    ]
    return f" ({file}, line {frames[-1].lineno})" if frames else ""


# ---------------------------------------------------------------- .npz
def _load_npz(path: Path) -> Dataset:
    try:
        if not zipfile.is_zipfile(path):
            raise UsageError(f"{path} is not an .npz file", hint=_NPZ_HINT)
        with np.load(path, allow_pickle=False) as archive:
            found = {key: archive[key] for key in ("x", "y", "names") if key in archive.files}
            keys = ", ".join(archive.files) or "nothing"
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        hint = "store arrays of numbers or text, not of objects" if _pickled(error) else _NPZ_HINT
        raise UsageError(f"{path} is not a readable .npz file: {error}", hint=hint) from error
    except MemoryError as error:
        raise UsageError(f"{path} does not fit into memory", hint="store fewer samples") from error
    if "x" not in found:
        raise UsageError(f"{path} holds no x; it holds {keys}", hint=_NPZ_HINT)
    x, y = found["x"], found.get("y")
    return make_dataset(x, y, _class_names(found.get("names"), x, y, path), path)


def _pickled(error: Exception) -> bool:
    return isinstance(error, ValueError) and "allow_pickle" in str(error)


def _class_names(
    names: np.ndarray | None, x: np.ndarray, y: np.ndarray | None, path: Path
) -> tuple[str, ...]:
    if names is None:
        return ()
    if names.ndim != 1 or names.dtype.kind != "U":
        raise UsageError(
            f"{path}: names is {names.dtype} {names.shape}, not a list of texts",
            hint="names holds one text a class",
        )
    classes = int(y.max()) + 1 if y is not None and y.dtype.kind in "iu" and y.size else 0
    if x.ndim > 0 and len(names) == len(x) and len(names) != classes:
        return ()  # one name a sample, as in kws01.npz
    return tuple(str(name) for name in names)


# ---------------------------------------------------------------- images
def _load_images(root: Path, description: InputDescription | None, channels: int | None) -> Dataset:
    from PIL import Image, UnidentifiedImageError

    hint = "an image folder holds one folder of images a class"
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    files = [
        (number, file)
        for number, folder in enumerate(folders)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not files:
        raise UsageError(f"{root} holds no folders with images", hint=hint)
    if channels not in (None, 1, 3):
        raise UsageError(
            f"images have 1 or 3 channels, not {channels}", hint="use an .npz file for other data"
        )
    resize = description.resize if description else None
    images: list[np.ndarray] = []
    for _, file in files:
        try:
            with Image.open(file) as image:
                if image.mode in ("I", "F") or image.mode.startswith("I;"):
                    raise UsageError(
                        f"{file} has more than 8 bits a channel", hint="use an .npz file instead"
                    )
                if channels is None:
                    channels = 1 if image.mode in ("1", "L", "LA") else 3
                picture = image.convert("L" if channels == 1 else "RGB")
        except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
            raise UsageError(
                f"{file} is not a readable image: {error}", hint="remove or repair it"
            ) from error
        if resize:
            picture = picture.resize((resize[1], resize[0]), Image.Resampling.BILINEAR)
        images.append(np.asarray(picture, np.uint8).reshape(picture.height, picture.width, -1))
        if images[-1].shape != images[0].shape:
            raise UsageError(
                f"{file} is {picture.width} x {picture.height} pixels, the images before are "
                f"{images[0].shape[1]} x {images[0].shape[0]}",
                hint="describe the input with resize = [height, width]",
            )
    y = np.array([number for number, _ in files], np.int64)
    return make_dataset(np.stack(images), y, tuple(f.name for f in folders), root)
