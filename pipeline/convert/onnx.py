"""ONNX models to `.tflite`, through onnx2tf; float ones, and quantized ones (QDQ).

Every conversion is compared with onnxruntime, output by output, before it is used.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import ToolMissingError, UnsupportedModelError
from tinydeploy.pipeline.convert import channels
from tinydeploy.pipeline.convert.converted import Converted, require_changing
from tinydeploy.pipeline.convert.litert import Ranges, compress
from tinydeploy.pipeline.convert.onnx_load import load_model
from tinydeploy.pipeline.convert.onnx_qdq import dequantized, is_quantized
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.worker import run_worker
from tinydeploy.tflite import expose_intermediates, read_graph
from tinydeploy.types import InputDescription, ModelSource, Recipe

_SAMPLES = 4
_TOLERANCE = 1e-3
"""Of the largest output: float32 sums in another order differ by about 1e-6."""


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> Converted:
    """A `.tflite` model with a batch of one and inputs with channels last.

    Of a quantized model the ranges of the activations are kept; `calibration` sets the others.
    Raises ToolMissingError without the extra `onnx`, UsageError for calibration data that is
    missing or does not fit, UnsupportedModelError naming the node for what cannot be converted,
    and for a conversion that does not compute what onnxruntime computes.
    """
    require_changing(recipe, source.path.name)
    model, ranges, agreement = _float_model(source.path, source.sha256, source.trusted)
    done = compress(model, recipe, calibration, description, name=source.path.name, ranges=ranges)
    return replace(done, agreement=agreement)


@functools.lru_cache(maxsize=4)
def _float_model(
    path: Path, sha256: str, trusted: bool
) -> tuple[bytes, Ranges, Mapping[str, float]]:
    """The float `.tflite`, known ranges by its tensors' names, and how well it agrees.

    Kept for the next recipe of the same content (`sha256`): onnx2tf takes long.
    """
    name = path.name
    try:
        import onnx
    except ImportError as error:
        raise ToolMissingError(
            f"{name} needs the package {error.name}", hint="pip install 'tinydeploy[onnx]'"
        ) from error
    model = load_model(path, trusted=trusted)
    known: dict[str, tuple[float, float]] = {}
    if is_quantized(model):
        try:
            model, known = dequantized(model)
        except ValueError as error:
            raise UnsupportedModelError(
                f"{name}: {error}", hint="export the float model, and let a recipe quantize it"
            ) from error
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch)
        onnx.save(model, folder / "model.onnx")
        feeds = _random_inputs(model)
        arrays: dict[str, Any] = dict(feeds)
        np.savez(folder / "samples.npz", **arrays)
        kept = _channels_last_inputs(model)
        run_worker(
            folder,
            {"keep": kept, "tensors": list(known)},
            module="tinydeploy.pipeline.convert.onnx_worker",
            what=f"{name} cannot be converted",
            hint="export it from its framework in another way, or as a SavedModel",
        )
        made = next((folder / "out").glob("*_float32.tflite"), None)
        if made is None:
            raise UnsupportedModelError(
                f"{name} cannot be converted: onnx2tf made no float .tflite",
                hint="export it from its framework in another way, or as a SavedModel",
            )
        converted = channels.without_transposes(made.read_bytes())
        with np.load(folder / "onnxruntime.npz", allow_pickle=False) as archive:
            expected = {key: archive[key] for key in archive.files}
    values = _tensor_values(converted, model, feeds)
    agreement = _agreement(converted, model, values, expected, name)
    return converted, _by_tflite_name(values, expected, known), agreement


def _random_inputs(model: Any) -> dict[str, np.ndarray]:
    """A few samples (N, *shape) an input: normal, and one image-like between 0 and 1."""
    rng = np.random.default_rng(0)
    feeds = {}
    for tensor in model.graph.input:
        shape = tuple(d.dim_value for d in tensor.type.tensor_type.shape.dim)
        x = rng.normal(size=(_SAMPLES, *shape)).astype(np.float32)
        x[-1] = rng.random(shape)
        feeds[tensor.name] = x
    return feeds


def _channels_last_inputs(model: Any) -> list[str]:
    """Inputs that the graph itself turns from channels last to channels first."""
    kept = []
    for tensor in model.graph.input:
        readers = [n for n in model.graph.node if tensor.name in n.input]
        perms = [
            list(a.ints)
            for n in readers
            if n.op_type == "Transpose"
            for a in n.attribute
            if a.name == "perm"
        ]
        if (
            readers
            and len(perms) == len(readers)
            and all(p[-1] == p[1] - 1 or p == [0, len(p) - 1, *range(1, len(p) - 1)] for p in perms)
        ):
            kept.append(tensor.name)
    return kept


def _tensor_values(
    converted: bytes, model: Any, feeds: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Each activation of the converted model, (N, *shape), by its name."""
    graph = read_graph(converted)
    inputs = []
    by_name = {tensor.name: feeds[tensor.name] for tensor in model.graph.input}
    for index, original in zip(graph.inputs, by_name.values(), strict=True):
        inputs.append(_laid_out(original, graph.tensors[index].shape))
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        path = Path(scratch) / "exposed.tflite"
        exposed = expose_intermediates(converted)
        path.write_bytes(exposed)
        names = [read_graph(exposed).tensors[t].name for t in read_graph(exposed).outputs]
        with LiteRt(path) as predictor:
            outputs = predictor.predict([x[:, 0] for x in inputs])
    found = dict(zip(names, outputs, strict=True))
    found.update({graph.tensors[i].name: x for i, x in zip(graph.inputs, inputs, strict=True)})
    return found


def _laid_out(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Samples (N, 1, C, ...) as (N, 1, ..., C) if the converted model takes them so."""
    last = np.moveaxis(x, 2, -1) if x.ndim > 3 else x
    return np.ascontiguousarray(last if last.shape[1:] == shape else x)


def _agreement(
    converted: bytes,
    model: Any,
    values: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    name: str,
) -> dict[str, float]:
    """The largest absolute difference of each output. Raises UnsupportedModelError if too large."""
    graph = read_graph(converted)
    agreement = {}
    for index, output in zip(graph.outputs, model.graph.output, strict=True):
        want = expected[output.name].reshape(_SAMPLES, -1)
        got = values[graph.tensors[index].name].reshape(_SAMPLES, -1)
        shape = expected[output.name].shape
        if len(shape) > 3 and want.shape == got.shape:
            last = np.moveaxis(expected[output.name], 2, -1).reshape(_SAMPLES, -1)
            want = min((want, last), key=lambda w: float(np.abs(w - got).max()))
        difference = float(np.abs(want - got).max()) if want.shape == got.shape else float("inf")
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(want).max())):
            raise UnsupportedModelError(
                f"{name}: the converted model's output {output.name!r} differs by {difference:.3g} "
                "from what onnxruntime computes",
                hint="export the model from its framework as a SavedModel or .keras instead",
            )
        agreement[output.name] = difference
    return agreement


def _by_tflite_name(
    values: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    known: Ranges,
) -> dict[str, tuple[float, float]]:
    """Known ranges under the names of the converted model's tensors.

    Names do not survive the conversion, values do: a tensor is the one with the same values in any
    order, so that those that only move values (transpose, reshape) share a range.
    """
    sorted_known = {k: np.sort(expected[k].reshape(_SAMPLES, -1)) for k in known if k in expected}
    found = {}
    for name, value in values.items():
        mine = np.sort(value.reshape(_SAMPLES, -1))
        for key, theirs in sorted_known.items():
            limit = 1e-4 * max(float(np.abs(theirs).max()), 1e-6)
            if mine.shape == theirs.shape and np.abs(mine - theirs).max() <= limit:
                found[name] = known[key]
                break
    return found
