"""Quantize float `.tflite` models with litert-quantizer, in a process of its own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tinydeploy.compression import Mix, MixBudget
from tinydeploy.pipeline.checks import require_recipe
from tinydeploy.pipeline.convert.converted import Converted, calibration_samples
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.worker import run_worker
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription, Recipe, from_json, to_json

_HINT = "use the recipe float32, or change the layer it names"

Ranges = Mapping[str, tuple[float, float]]
"""Least and greatest value of an activation, by its tensor's name."""


def compress(
    model: bytes,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
    *,
    name: str,
    ranges: Ranges | None = None,
) -> Converted:
    """The float `.tflite` model `model` as `recipe` says; float recipes leave it as it is.

    Activations get the ranges that they have on `calibration`, found as `recipe.ranges` says;
    `ranges` are known beforehand and replace those. `name` is the source's, for messages. The same
    bytes each time on one machine.

    Raises UsageError for a calibration set that is missing or does not fit the input,
    UnsupportedModelError for what the quantizer cannot do.
    """
    if recipe.activations in ("float32", "any"):
        require_recipe(read_graph(model), recipe)
        return Converted(model)
    graph = read_graph(model)
    inputs = [graph.tensors[t] for t in graph.inputs]
    samples = calibration_samples(inputs, recipe, calibration, description, name)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch)
        (folder / "model.tflite").write_bytes(model)
        np.save(folder / "samples.npy", samples.astype(np.float32), allow_pickle=False)
        run_worker(
            folder,
            {
                "activations": recipe.activations,
                "weights": recipe.weights,
                "granularity": recipe.granularity,
                "ranges": recipe.ranges,
                "percentile": recipe.percentile,
                "mixed": to_json(recipe.mixed or MixBudget()),
                "known": {k: list(v) for k, v in (ranges or {}).items()},
            },
            module="tinydeploy.pipeline.convert.litert_worker",
            what=f"the recipe {recipe.name!r} does not apply to {name}"
            if recipe.weights == "mixed"
            else f"litert-quantizer cannot quantize {name}",
            hint=_HINT,
        )
        mix = folder / "mix.json"
        return Converted(
            (folder / "quantized.tflite").read_bytes(),
            calibrated=True,
            mix=from_json(Mix, json.loads(mix.read_text())) if mix.exists() else None,
        )
