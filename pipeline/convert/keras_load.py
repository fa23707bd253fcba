"""Load Keras models without running code that a model file brings along."""

from __future__ import annotations

import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert.keras_graph import waiting

_LAMBDAS = frozenset({"Lambda", "__lambda__", "function_lambda"})

# Keras 2 turns calls such as `x * 2` or `tf.math.exp(x)` into layers that name the function. Only
# pure functions may be named: `io.write_file` is a TensorFlow function as well.
_TF_CALLS = frozenset({"TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod"})
_PURE_TF_PREFIXES = ("__operators__.", "math.", "nn.", "linalg.", "keras.backend.")
_PURE_TF_FUNCTIONS = frozenset(
    {
        "cast",
        "clip_by_value",
        "concat",
        "expand_dims",
        "pad",
        "reshape",
        "split",
        "squeeze",
        "stack",
        "stop_gradient",
        "strided_slice",
        "tile",
        "transpose",
        "unstack",
    }
)

# Keras 2 imports whatever module a class or function of a `.keras` file says it is from.
_OWN_PACKAGES = frozenset({"keras", "tf_keras", "builtins"})

_WEIGHTS = "model.weights.h5"
_MAX_JSON_BYTES = 64 << 20

# What zipfile, h5py and json raise for damaged, encrypted or absurd files.
_DAMAGE = (
    OSError,
    KeyError,
    TypeError,
    ValueError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
)

_HINT = "save the trained model again with model.save('NAME.keras')"


def load_model(path: Path, *, trusted: bool = False) -> Any:
    """The Keras model in a `.keras` or `.h5` file, loaded by the major version that saved it.

    Files of Keras 2 are loaded by tf_keras. Raises UnsupportedModelError for damaged files, unknown
    layers, and unless it is `trusted` whatever would run code that is not Keras's (Lambda layers,
    pickled functions, modules that the file names).
    """
    config, version = _read_config(path)
    if not trusted:
        _require_no_code(config, path)
        _require_own_weights(path)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        if version.split(".")[0] in ("1", "2"):
            _require_order(config, path)
            import tf_keras

            return tf_keras.models.load_model(path, compile=False, safe_mode=not trusted)
        os.environ["KERAS_BACKEND"] = "tensorflow"
        import keras

        return keras.models.load_model(path, compile=False, safe_mode=not trusted)
    except UnsupportedModelError:
        raise
    except Exception as error:  # Keras has no error of its own: TypeError, KeyError, OSError, ...
        reason = " ".join(str(error).split())[:400]
        raise UnsupportedModelError(
            f"Keras {version} cannot load {path.name}: {reason}",
            hint="custom layers are not supported; " + _HINT,
        ) from error


def _read_config(path: Path) -> tuple[Any, str]:
    """The model's configuration (plain JSON values) and the version of Keras that wrote it."""
    damaged = f"{path.name} is not a readable Keras model"
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                metadata = _read_json(archive, "metadata.json")
                return _read_json(archive, "config.json"), str(metadata["keras_version"])
        import h5py

        with h5py.File(path, "r") as file:
            if "model_config" not in file.attrs:
                raise UnsupportedModelError(
                    f"{path.name} holds weights without their model", hint=_HINT
                )
            version = file.attrs.get("keras_version", "2")
            return json.loads(_text(file.attrs["model_config"])), _text(version)
    except _DAMAGE as error:
        raise UnsupportedModelError(f"{damaged}: {error}", hint=_HINT) from error


def _read_json(archive: zipfile.ZipFile, name: str) -> Any:
    size = archive.getinfo(name).file_size
    if size > _MAX_JSON_BYTES:
        raise ValueError(f"{name} has {size} bytes")
    return json.loads(archive.read(name))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _require_no_code(config: Any, path: Path) -> None:
    for node in _objects(config):
        kind = str(node.get("class_name", ""))
        if kind in _LAMBDAS:
            raise UnsupportedModelError(
                f"{path.name} has a Lambda layer, which holds Python code: it is not loaded",
                hint="replace the Lambda layer by layers of Keras and save the model again; "
                "or, if you trust the file, --trust-source",
            )
        module = node.get("module")
        if kind and module and str(module).split(".")[0] not in _OWN_PACKAGES:
            raise UnsupportedModelError(
                f"{path.name} asks for {kind!r} of the Python module {str(module)!r}, which is no "
                "part of Keras: it is not loaded",
                hint="custom layers are not supported: replace them by layers of Keras; "
                "or, if you trust the file, --trust-source",
            )
        if kind in _TF_CALLS:
            called = _called(node)
            if called not in _PURE_TF_FUNCTIONS and not called.startswith(_PURE_TF_PREFIXES):
                raise UnsupportedModelError(
                    f"{path.name} calls the TensorFlow function {called!r}: it is not loaded",
                    hint="replace the call by layers of Keras and save the model again",
                )


def _require_order(config: Any, path: Path) -> None:
    for node in _objects(config):
        if "layers" in node and (name := waiting(node)):
            raise UnsupportedModelError(
                f"{path.name}: the layer {name!r} waits for its own output, or for none",
                hint="the file is damaged: " + _HINT,
            )


def _require_own_weights(path: Path) -> None:
    """Refuse HDF5 that takes numbers from other files: they would end up in the converted model."""
    import h5py

    try:
        whole: Any = path
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                if _WEIGHTS not in archive.namelist():
                    return  # Keras tells
                whole = io.BytesIO(archive.read(_WEIGHTS))
        with h5py.File(whole, "r") as file:
            foreign = _foreign(file)
    except _DAMAGE as error:
        raise UnsupportedModelError(
            f"{path.name} is not a readable Keras model: {error}", hint=_HINT
        ) from error
    if foreign:
        raise UnsupportedModelError(
            f"{path.name}: {foreign!r} is stored in another file: it is not read",
            hint=_HINT + "; or, if you trust the file, --trust-source",
        )


def _foreign(file: Any) -> str:
    """The first member of an HDF5 file that lies in another file, or ""."""
    import h5py

    pending, seen = [file], set()
    while pending:
        group = pending.pop()
        for name in group:
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                return f"{group.name}/{name}"
            if not isinstance(link, h5py.HardLink):
                continue  # within the file, where it is found anyway
            member = group[name]
            if isinstance(member, h5py.Dataset) and (member.external or member.is_virtual):
                return str(member.name)
            if isinstance(member, h5py.Group) and member.id not in seen:
                seen.add(member.id)
                pending.append(member)
    return ""


def _called(node: dict[str, Any]) -> str:
    config = node.get("config")
    return str(config.get("function", "?")) if isinstance(config, dict) else "?"


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in a JSON value, however deep, without recursion."""
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield node
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
