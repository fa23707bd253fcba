"""`tinydeploy convert`: a trained model to a compressed .tflite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.types import Task


@click.command()
@options.MODEL
@click.option("--recipe", required=True, metavar="NAME", help="float32, int8, int16x8, or a file.")
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Representative samples: .npz with x, or a folder of images. Integer recipes need them.",
)
@options.INPUT
@options.TASK
@options.out_dir()
@options.JSON
def command(
    model: Path,
    recipe: str,
    calibration: Path | None,
    task: Task | None,
    out: Path,
    as_json: bool,
    **described: Any,
) -> None:
    """Convert and compress .keras, .h5 or .tflite; writes NAME-RECIPE.tflite and its description.

    What leaves is checked against the recipe. Exit code 4 if the model cannot be converted.
    """
    from tinydeploy.pipeline.convert import convert
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.recipe import load_recipe
    from tinydeploy.pipeline.source import load_source

    raw = options.input_description(**described)
    artifact = convert(
        load_source(model),
        load_recipe(recipe),
        out,
        calibration=load_dataset(calibration, description=raw) if calibration else None,
        description=raw,
        task=task or "classify",
    )
    if as_json:
        print_json(artifact)
    else:
        click.echo(f"{artifact.path}: {artifact.size_bytes:,} B, sha256 {artifact.sha256}")
