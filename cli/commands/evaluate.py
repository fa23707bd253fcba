"""`tinydeploy evaluate`: score a model on labelled data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.types import Task, to_json


@click.command()
@options.MODEL
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, metavar="DATA",
    help="Labelled samples: .npz with x and y, or a folder with a folder of images a class.",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["aot", "litert", "tflm"]), default="aot", show_default=True,
    help="aot computes exactly what the device computes.",
)  # fmt: skip
@options.INPUT
@options.TASK
@options.JSON
def command(
    model: Path,
    data: Path,
    engine: str,
    task: Task | None,
    as_json: bool,
    **described: Any,
) -> None:
    """Score a .tflite on a whole data set.

    Float data is quantized, integers in the model's own dtype go in as they are; any other
    integers need an input description.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.data import load_dataset

    artifact = wiring.artifact(model, options.input_description(**described), task)
    result = wiring.evaluate(artifact, load_dataset(data, description=artifact.input), engine)
    if as_json:
        found = {k: v for k, v in to_json(result).items() if k not in ("correct", "per_sample")}
        print_json({**found, **result.metrics, result.metric: result.value})
    else:
        click.echo(f"{result.metric} {result.value:.4f} on {result.samples:,} samples ({engine})")
