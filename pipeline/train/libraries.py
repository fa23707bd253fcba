"""Keras 3 and Keras 2 (`tf_keras`) behind one set of names."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.store import write_atomic

_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every member of a `.keras` file, in place of the time it was made at."""


def keras_of(model: Any) -> Any:
    """The module that a model is of: `keras` or `tf_keras`."""
    import tf_keras

    if isinstance(model, tf_keras.Model):
        return tf_keras
    import keras

    return keras


def require_trainable(model: Any) -> None:
    """Raises UnsupportedModelError for a model with several inputs or outputs, or no weights."""
    for what in ("inputs", "outputs"):
        count = len(getattr(model, what))
        if count != 1:
            raise UnsupportedModelError(
                f"it has {count} {what}; only models with one can be trained",
                hint="use a recipe without training",
            )
    if not model.trainable_variables:
        raise UnsupportedModelError(
            "it has no weights that can be trained", hint="use a recipe without training"
        )


def adam(model: Any, learning_rate: Any) -> Any:
    """Adam for a model's trainable variables, with its state made.

    `learning_rate` is a number or a schedule of the model's library.
    """
    optimizer = keras_of(model).optimizers.Adam(learning_rate)
    optimizer.build(model.trainable_variables)
    return optimizer


def set_seed(seed: int) -> None:
    """Seed both libraries; call it before a model with random layers is made.

    From now on random layers of Keras 2 hold their state in a variable, as those of Keras 3 do:
    without it a training that goes on drops other units than one that was not interrupted.
    """
    import keras
    import tf_keras

    tf_keras.backend.experimental.enable_tf_random_generator()
    for library in (keras, tf_keras):
        library.utils.set_random_seed(seed)


def variables_of(model: Any, optimizer: Any) -> list[Any]:
    """All that training changes, in a fixed order, states of random layers included."""
    kept = optimizer.variables
    layers = getattr(model, "submodules", ())  # only Keras 2's models have it
    random = [getattr(layer, "_random_generator", None) for layer in layers]
    generators = [getattr(r, "_generator", None) for r in random]
    return [
        *model.variables,
        *(generator.state for generator in generators if generator is not None),
        *(kept() if callable(kept) else kept),
    ]


def save(model: Any, path: Path) -> Path:
    """Write a model without its optimizer; Keras 2's as `.h5`, beside `path`. The file's path.

    The file is whole or not there, and holds no time: the same model gives the same bytes.
    """
    import tf_keras

    if isinstance(model, tf_keras.Model):
        path = path.with_suffix(".h5")
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        made = Path(scratch) / path.name
        model.save(made, include_optimizer=False)
        write_atomic(path, _without_time(made) if path.suffix == ".keras" else made.read_bytes())
    return path


def _without_time(path: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as new:
        for name in sorted(old.namelist()):
            content = old.read(name)
            if name == "metadata.json":
                said = json.loads(content)
                content = json.dumps({**said, "date_saved": "1980-01-01@00:00:00"}).encode()
            new.writestr(zipfile.ZipInfo(name, _DATE), content)
    return buffer.getvalue()
