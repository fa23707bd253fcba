"""ModelSource to Artifact: conversion, compression, and the check of what leaves.

One module a source format; `tinydeploy.plugins` names them, and other packages can add more. Each
has ``convert(source, recipe, calibration, description) -> Converted``.
"""

from __future__ import annotations

from pathlib import Path

from tinydeploy import plugins
from tinydeploy.pipeline.artifact import save_artifact
from tinydeploy.pipeline.checks import require_deployable, require_recipe
from tinydeploy.pipeline.convert import weights
from tinydeploy.pipeline.convert.converted import Converted
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.metrics import metric_of
from tinydeploy.pipeline.prepare import prepare
from tinydeploy.store import sha256_bytes
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, InputDescription, ModelSource, Recipe, Task

__all__ = ["convert"]


def convert(
    source: ModelSource,
    recipe: Recipe,
    out_dir: Path,
    *,
    calibration: Dataset | None = None,
    description: InputDescription | None = None,
    task: Task = "classify",
    metric: str | None = None,
    labels: tuple[str, ...] = (),
    threshold: float | None = None,
) -> Artifact:
    """Convert `source` by `recipe` into `out_dir`: `<source>-<recipe>.tflite` and its `.json`.

    `recipe.calibration_samples` of `calibration` set the ranges of the activations, evenly spaced
    over the set. The other arguments become part of the artifact.

    Raises UsageError for calibration data that is missing or does not fit the model's input,
    UnsupportedModelError for a model that cannot be converted, cannot run on a device or is not
    what the recipe says; nothing is written then.
    """
    metric = metric_of(task, metric)
    used = None
    if recipe.calibration_samples and calibration is not None:
        used = calibration.spread(recipe.calibration_samples)
    converted: Converted = plugins.load("converter", source.format)(
        source, recipe, used, description
    )
    model = converted.model
    graph = read_graph(model)
    if (recipe.pruned or recipe.clusters) and used is not None:
        inputs = prepare(used.x, graph.tensors[graph.inputs[0]], description)
        model = weights.reduced(model, inputs, recipe.pruned, recipe.clusters)
        graph = read_graph(model)
    require_deployable(graph)
    require_recipe(graph, recipe)
    artifact = Artifact(
        path=out_dir / f"{source.name}-{recipe.name}.tflite",
        sha256=sha256_bytes(model),
        size_bytes=len(model),
        recipe=recipe.name,
        source_name=source.name,
        source_sha256=source.sha256,
        data_sha256=used.sha256 if used and converted.calibrated else "",
        task=task,
        metric=metric,
        labels=labels,
        input=description,
        threshold=threshold,
        agreement=converted.agreement,
    )
    save_artifact(artifact, model)
    return artifact
