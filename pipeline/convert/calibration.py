"""What a calibration on fewer or more samples would change, found by doing it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinydeploy import plugins
from tinydeploy.compression import CalibrationEffect
from tinydeploy.graph import Graph, Tensor
from tinydeploy.pipeline.convert.agreement import agreement
from tinydeploy.pipeline.convert.converted import Converted
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import dequantize, prepare
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription, ModelSource, Recipe


def calibration_effects(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset,
    description: InputDescription | None,
) -> tuple[CalibrationEffect, ...]:
    """The model calibrated on half of the recipe's samples, and on twice as many if there are more.

    Each is compared with the one calibrated as the recipe says, on the samples of that one. Only
    the ranges of activations come from calibration, so plain int8 weights stand for mixed, pruned
    and clustered ones. Raises as the source's converter does.
    """
    plain = replace(
        recipe,
        weights="int8" if recipe.weights == "mixed" else recipe.weights,
        mixed=None,
        pruned=0.0,
        clusters=0,
    )

    def made(samples: int) -> bytes:
        convert = plugins.load("converter", source.format)
        done: Converted = convert(source, plain, calibration.spread(samples), description)
        return done.model

    used = min(recipe.calibration_samples, len(calibration))
    counts = (max(used // 2, 1), min(2 * used, len(calibration)))
    reference = made(used)
    samples = calibration.spread(used)
    expected = _outputs(reference, samples, description)
    effects = []
    for count in counts:
        if count == used:
            continue
        other = made(count)
        change, tensor = range_change(read_graph(reference), read_graph(other))
        outputs = _outputs(other, samples, description)
        effects.append(CalibrationEffect(count, change, tensor, agreement(expected, outputs)))
    return tuple(effects)


def range_change(reference: Graph, other: Graph) -> tuple[float, str]:
    """The largest move of an end of an activation's range between two models of the same net.

    As a share of the range in `reference`, with the name of the activation; (0, "") if none moved.
    """
    theirs = dict(_ranges(other))
    largest = (0.0, "")
    for name, (low, high) in _ranges(reference):
        if name in theirs:
            new_low, new_high = theirs[name]
            moved = max(abs(new_low - low), abs(new_high - high)) / (high - low)
            if moved > largest[0]:
                largest = (moved, name)
    return largest


def _ranges(graph: Graph) -> Iterator[tuple[str, tuple[float, float]]]:
    """Real numbers between which each quantized activation lies, by its name."""
    for tensor in graph.tensors:
        if tensor.data is None and len(tensor.scales) == 1 and tensor.dtype in ("int8", "int16"):
            yield tensor.name, _range(tensor)


def _range(tensor: Tensor) -> tuple[float, float]:
    limits = np.iinfo(tensor.dtype)
    scale, zero = tensor.scales[0], tensor.zero_points[0]
    return scale * (limits.min - zero), scale * (limits.max - zero)


def _outputs(
    model: bytes, samples: Dataset, description: InputDescription | None
) -> list[np.ndarray]:
    graph = read_graph(model)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        path = Path(scratch) / "model.tflite"
        path.write_bytes(model)
        with LiteRt(path) as predictor:
            found = predictor.predict(
                [prepare(samples.x, graph.tensors[graph.inputs[0]], description)]
            )
    return [dequantize(x, graph.tensors[t]) for x, t in zip(found, graph.outputs, strict=True)]
