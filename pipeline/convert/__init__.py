"""ModelSource to Artifact: conversion, compression, and the check of what leaves.

One module a source format; `tinydeploy.plugins` names them, and other packages can add more. Each
has ``convert(source, recipe, calibration, description) -> Converted``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tinydeploy import plugins
from tinydeploy.compression import Calibration, Judge
from tinydeploy.pipeline.artifact import save_artifact
from tinydeploy.pipeline.checks import require_deployable, require_recipe
from tinydeploy.pipeline.convert import weights
from tinydeploy.pipeline.convert.calibration import calibration_effects
from tinydeploy.pipeline.convert.converted import Converted, no_calibration
from tinydeploy.pipeline.convert.mixing import require_mix
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.metrics import metric_of
from tinydeploy.pipeline.prepare import prepare
from tinydeploy.pipeline.train import trained
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
    training: Dataset | None = None,
    description: InputDescription | None = None,
    task: Task = "classify",
    metric: str | None = None,
    labels: tuple[str, ...] = (),
    threshold: float | None = None,
    progress: Callable[[str], None] = lambda _: None,
    calibration_effect: bool = False,
    deadline: float = math.inf,
) -> Artifact:
    """Convert `source` by `recipe` into `out_dir`: `<source>-<recipe>.tflite` and its `.json`.

    `recipe.calibration_samples` of `calibration` set the ranges of the activations, evenly spaced
    over the set; with `calibration_effect` the model is also calibrated on fewer and on more of
    them, and the artifact says what that changes. A recipe that trains learns from `training`
    first, which may take long: it says so by `progress`, and goes on where it was when it is called
    again after an interruption; `deadline` is that of `trained`. The other arguments become part of
    the artifact.

    Raises UsageError for calibration or training data that is missing or does not fit the model,
    UnsupportedModelError for a model that cannot be converted, cannot run on a device or is not
    what the recipe says; nothing is written then.
    """
    metric = metric_of(task, metric)
    recipe = _judged(recipe, task)
    used = None
    if recipe.calibration_samples and calibration is not None:
        used = calibration.spread(recipe.calibration_samples)
    elif recipe.training and recipe.calibration_samples:
        raise no_calibration(recipe)  # before it trains for hours
    origin = trained(source, recipe, training, description, task, progress, deadline)
    converted: Converted = plugins.load("converter", origin.format)(
        origin, recipe, used, description
    )
    model = converted.model
    graph = read_graph(model)
    if recipe.pruned or recipe.clusters:
        if used is None:
            raise no_calibration(recipe)
        inputs = prepare(used.x, graph.tensors[graph.inputs[0]], description)
        model = weights.reduced(model, inputs, recipe.pruned, recipe.clusters)
        graph = read_graph(model)
    require_deployable(graph)
    require_recipe(graph, recipe)
    if converted.mix:
        require_mix(graph, converted.mix)
    calibrated = None
    if converted.calibrated and calibration is not None and used is not None:
        effects = calibration_effect and calibration_effects(
            origin, recipe, calibration, description
        )
        calibrated = Calibration(len(used), len(calibration), effects or ())
    artifact = Artifact(
        path=out_dir / f"{source.name}-{recipe.name}.tflite",
        sha256=sha256_bytes(model),
        size_bytes=len(model),
        recipe=recipe.name,
        source_name=source.name,
        source_sha256=source.sha256,
        data_sha256=used.sha256 if used and calibrated else "",
        task=task,
        metric=metric,
        labels=labels,
        input=description,
        threshold=threshold,
        agreement=converted.agreement,
        training_sha256=training.sha256 if training and recipe.training else "",
        calibration=calibrated,
        mix=converted.mix,
    )
    save_artifact(artifact, model)
    return artifact


def _judged(recipe: Recipe, task: Task) -> Recipe:
    """The recipe with mixed weights judged as the task asks for."""
    if recipe.mixed is None or recipe.mixed.judged_by != "auto":
        return recipe
    judge: Judge = "classes" if task == "classify" else "outputs"
    return replace(recipe, mixed=replace(recipe.mixed, judged_by=judge))
