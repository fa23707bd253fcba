"""`tinydeploy register`: a variant with its accuracy, and its builds with their figures."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.types import Task


@click.command()
@options.MODEL
@click.option("--name", required=True, help="Name of the registered model.")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, metavar="DATA",
    help="Labelled validation samples.",
)  # fmt: skip
@click.option(
    "--build", "builds", type=click.Path(path_type=Path), multiple=True, metavar="DIR",
    help="Firmware of this model, measured and recorded; repeatable.",
)  # fmt: skip
@click.option("--samples", type=click.IntRange(1), default=3, show_default=True,
              help="Samples sent to each board.")  # fmt: skip
@options.INPUT
@options.TASK
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    model: Path,
    name: str,
    data: Path,
    builds: tuple[Path, ...],
    samples: int,
    task: Task | None,
    profiles: tuple[Path, ...],
    registry: Path | str,
    as_json: bool,
    **described: Any,
) -> None:
    """Evaluate a .tflite and register it as a version; measure and record its builds.

    Registering the same again changes nothing.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.names import require_name
    from tinydeploy.pipeline.data import load_dataset, prepare
    from tinydeploy.tflite import read_graph
    from tinydeploy.types import ModelSource

    require_name("registered model", name)
    artifact = wiring.artifact(model, options.input_description(**described), task)
    dataset = load_dataset(data, description=artifact.input)
    evaluation = wiring.evaluate(artifact, dataset, "aot", split="validation")
    source = ModelSource(model, "tflite", artifact.source_sha256, artifact.source_name)
    sets = {
        "validation": {
            "path": str(dataset.path), "sha256": dataset.sha256, "samples": len(dataset),
            "context": "validation",
        }
    }  # fmt: skip
    store = wiring.registry(registry)
    version = store.register(name, source, artifact, evaluation, sets, wiring.lineage())
    graph = read_graph(artifact.path)
    inputs = [prepare(dataset.x[:samples], graph.tensors[graph.inputs[0]], artifact.input)]
    runs = {}
    for folder in builds:
        build = wiring.builder().load(folder)
        device = wiring.devices([build.board], profiles)[build.board]
        _, measurement = wiring.run_compared(build, device, inputs)
        if measurement.stack_bytes is not None:
            footprint = build.footprint.with_stack(measurement.stack_bytes)
            build = dataclasses.replace(build, footprint=footprint)
        runs[build.board] = store.record(name, version, build, measurement, wiring.lineage())
    if as_json:
        print_json({"name": name, "version": version, "runs": runs})
    else:
        click.echo(f"{name} version {version}: {evaluation.metric} {evaluation.value:.4f}")
        for board, run_id in runs.items():
            click.echo(f"  {board}: run {run_id}")
    store.require_delivered()
