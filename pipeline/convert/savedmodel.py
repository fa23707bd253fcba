"""TensorFlow SavedModels to `.tflite`: one signature, batch one."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert.converted import Converted
from tinydeploy.pipeline.convert.quiet import quiet
from tinydeploy.pipeline.convert.savedmodel_checks import require_no_code
from tinydeploy.pipeline.convert.tf_function import convert_function, frozen
from tinydeploy.pipeline.data import Dataset
from tinydeploy.types import InputDescription, ModelSource, Recipe

DEFAULT_SIGNATURE = "serving_default"


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> Converted:
    """A `.tflite` model with a batch of one of the signature that the source names.

    Raises UsageError for a signature that is not there, UnsupportedModelError for a model that is
    damaged, would touch files or run Python while it loads, or cannot be converted.
    """
    with quiet():
        function = _frozen_function(source.path, source.signature, source.sha256, source.trusted)
    return convert_function(function, recipe, calibration, description, source.path.name)


@functools.lru_cache(maxsize=2)
def _frozen_function(path: Path, signature: str, sha256: str, trusted: bool) -> Any:
    import tensorflow as tf

    if not trusted:
        require_no_code(path)
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # OpError, OSError, ValueError, KeyError, ... for damaged files
        raise UnsupportedModelError(
            f"{path.name} is not a readable SavedModel: {' '.join(str(error).split())[:400]}",
            hint="save it again with model.export(FOLDER) or tf.saved_model.save",
        ) from error
    signatures = sorted(loaded.signatures)
    name = signature or (DEFAULT_SIGNATURE if DEFAULT_SIGNATURE in signatures else "")
    if not name and len(signatures) == 1:
        name = signatures[0]
    if name not in signatures:
        asked = f"no signature {name!r}" if name else "several signatures"
        raise UsageError(
            f"{path.name} has {asked if signatures else 'no signature'}",
            hint=f"name one as {path.name}#NAME: {', '.join(signatures)}"
            if signatures
            else "save it with a signature: model.export(FOLDER)",
        )
    function = loaded.signatures[name]
    keys = sorted(function.structured_input_signature[1])
    inputs = function.structured_input_signature[1]
    specs = [tf.TensorSpec(_fixed_shape(inputs[k], path), inputs[k].dtype, name=k) for k in keys]

    def infer(*tensors: Any) -> Any:
        results = function(**dict(zip(keys, tensors, strict=True)))
        return [results[k] for k in sorted(results)]

    return frozen(infer, specs, path.name)


def _fixed_shape(spec: Any, path: Path) -> tuple[int, ...]:
    if spec.shape.rank is None:
        raise UnsupportedModelError(
            f"the input {spec.name!r} of {path.name} has no known rank", hint=_SHAPE_HINT
        )
    dims = tuple(spec.shape)
    if dims and dims[0] not in (None, 1):
        raise UnsupportedModelError(
            f"the input {spec.name!r} of {path.name} takes batches of {dims[0]} only",
            hint="export the model with a batch of one, or of any size (None)",
        )
    shape = (1, *dims[1:])
    if None in shape:
        raise UnsupportedModelError(
            f"the input {spec.name!r} of {path.name} has the shape {dims}", hint=_SHAPE_HINT
        )
    return shape


_SHAPE_HINT = "export the model with a fixed size for every dimension but the batch"
