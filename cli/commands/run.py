"""`tinydeploy run`: a model on a board, outputs to a file."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@options.MODEL
@options.DEVICE
@click.option(
    "--input", "inputs", type=click.Path(path_type=Path), required=True, metavar="X",
    help="N inputs stacked, in the model's own dtype: .npy, or .npz keyed by tensor name.",
)  # fmt: skip
@click.option(
    "--output", type=options.RESULT_FILE, required=True, metavar="Y",
    help="Raw outputs: .npy, or .npz keyed by tensor name.",
)  # fmt: skip
@options.ENGINE
@options.TFLM_LIB
@options.OPTIMIZE
@options.PROFILES
@options.JSON
def command(
    model: Path,
    device: str,
    inputs: Path,
    output: Path,
    engine: str,
    tflm_lib: str,
    optimize: str,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compile, build, flash and run a .tflite; save its raw outputs and print what it took.

    `--device host` runs the native build, where nothing is counted.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.arrays import load_inputs, save_outputs
    from tinydeploy.pipeline.fit import require_fit
    from tinydeploy.tflite import read_graph

    graph = read_graph(model)
    stacked = load_inputs(inputs, graph)
    profile = wiring.devices([device], profiles)[device]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        if profile.platform == "host":
            outputs, figures = wiring.run_on_host(model, stacked, optimize)
        else:
            build = wiring.build_firmware(
                model,
                profile,
                Path(scratch) / "build",
                engine=engine,
                optimize=optimize,
                tflm_lib=tflm_lib,
            )
            require_fit(build.footprint, profile)
            outputs, measurement = wiring.runner(profile).run(build, profile, stacked)
            figures = wiring.figures(build, measurement)
    save_outputs(output, outputs, graph)
    if as_json:
        print_json(figures)
        return
    for key, value in figures.items():
        click.echo(f"{key}: {value}")
