"""`tinydeploy measure`: run built firmware with real inputs."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.types import Task


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    metavar="X",
    help="Inputs in the model's own dtype (.npy, .npz); random ones without it.",
)
@click.option(
    "--samples",
    type=click.IntRange(1),
    default=None,
    help="Number of random inputs; 5 by default.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="DATA",
    help="Labelled samples (as for evaluate): accuracy from the board's own answers.",
)
@options.PORT
@options.BAUD
@options.INPUT
@options.TASK
@options.METER
@options.PROFILES
@options.JSON
def command(
    directory: Path,
    inputs: Path | None,
    samples: int | None,
    data: Path | None,
    port: str,
    baud: int | None,
    task: Task | None,
    meter: str,
    profiles: tuple[Path, ...],
    as_json: bool,
    **described: Any,
) -> None:
    """Send inputs to the board, compare every output with the host's, count or time.

    Exit code 6 if an output differs from what the host computes. With --data every sample of a
    labelled set goes through the board; a run that was stopped goes on when it is started again.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.accuracy import measure_accuracy
    from tinydeploy.cli.arrays import load_inputs, random_inputs
    from tinydeploy.errors import DeviceError, UsageError
    from tinydeploy.tflite import read_graph

    if samples is not None and (data is not None or inputs is not None):
        raise UsageError(
            "--samples counts random inputs", hint="--data and --input take all that they hold"
        )
    build = wiring.builder().load(directory)
    device = wiring.devices([build.board], profiles)[build.board]
    if data is not None:
        if inputs is not None:
            raise UsageError("--data and --input exclude each other", hint="give one of them")
        artifact = wiring.artifact(build.model_path, options.input_description(**described), task)
        board = wiring.runner(device, port, baud)
        show_accuracy(
            measure_accuracy(build, device, board, artifact, data, baud or device.baud), as_json
        )
        return
    graph = read_graph(build.model_path)
    stacked = load_inputs(inputs, graph) if inputs else random_inputs(graph, samples or 5)
    with closing(wiring.meter(meter, device)) if meter else nullcontext() as opened:
        _, result = wiring.run_compared(build, device, stacked, port, baud, opened)
    if as_json:
        print_json(result)
    else:
        rows = [
            (name, value[0], min(value), max(value), result.origin.get(name, ""))
            for name in ("instructions", "latency_us", "energy_uj")
            if (value := getattr(result, name))
        ]
        click.echo(table(("figure", "first", "least", "most", "origin"), rows))
        click.echo(
            f"{result.outputs_equal} of {result.outputs_compared} outputs equal the host's, "
            f"byte for byte; {result.method}"
        )
    if result.outputs_equal != result.outputs_compared:
        raise DeviceError(
            f"{result.outputs_compared - result.outputs_equal} outputs differ from the host's",
            hint="the board or its compiler does not compute what the host does: do not trust it",
        )


def show_accuracy(figures: dict[str, Any], as_json: bool) -> None:
    """Print what `measure_accuracy` found."""
    if as_json:
        print_json(figures)
        return
    right = f" ({figures['correct']:,} right)" if figures["correct"] is not None else ""
    click.echo(
        f"{figures['metric']} {figures['value']:.4f} on {figures['samples']:,} samples{right}, "
        f"computed on {figures['board']} ({figures['origin']})"
    )
