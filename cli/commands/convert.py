"""`tinydeploy convert`: a trained model to a compressed .tflite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import compressing, options
from tinydeploy.cli.render import print_json
from tinydeploy.types import Task


@click.command()
@options.MODEL
@click.option(
    "--recipe", required=True, metavar="NAME", help="See `tinydeploy recipes list`; or a file."
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Representative samples: .npz with x, or a folder of images. Integer recipes need them.",
)
@options.TRAINING
@click.option(
    "--calibration-effect/--no-calibration-effect",
    default=True,
    show_default=True,
    help="Calibrate on half and on twice the samples too, and say what that changes.",
)
@options.INPUT
@options.TRUST
@options.TASK
@options.out_dir()
@options.JSON
def command(
    model: Path,
    recipe: str,
    calibration: Path | None,
    training: Path | None,
    calibration_effect: bool,
    task: Task | None,
    out: Path,
    trusted: bool,
    as_json: bool,
    **described: Any,
) -> None:
    """Convert and compress a model; writes NAME-RECIPE.tflite and its description.

    MODEL is a .keras, .h5, .onnx, .pt2 or .tflite file, the folder of a SavedModel
    (FOLDER#SIGNATURE for one of several), or module:function for PyTorch.

    What leaves is checked against the recipe. Exit code 4 if the model cannot be converted.
    """
    from tinydeploy.pipeline.convert import convert
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.recipe import load_recipe
    from tinydeploy.pipeline.source import load_source

    raw = options.input_description(**described)
    artifact = convert(
        load_source(model, trusted=trusted),
        load_recipe(recipe),
        out,
        calibration=load_dataset(calibration, description=raw) if calibration else None,
        training=load_dataset(training, description=raw) if training else None,
        description=raw,
        task=task or "classify",
        progress=options.progress,
        calibration_effect=calibration_effect,
    )
    if as_json:
        print_json(artifact)
        return
    click.echo(f"{artifact.path}: {artifact.size_bytes:,} B, sha256 {artifact.sha256}")
    for output, difference in artifact.agreement.items():
        click.echo(f"output {output}: within {difference:.2g} of the source's own framework")
    if artifact.calibration:
        click.echo(compressing.calibration_lines(artifact.calibration))
    if artifact.mix:
        click.echo(compressing.mix_lines(artifact.mix))
