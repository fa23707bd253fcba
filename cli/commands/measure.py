"""`tinydeploy measure`: run built firmware with real inputs."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table


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
    default=5,
    show_default=True,
    help="Number of random inputs.",
)
@options.PROFILES
@options.JSON
def command(
    directory: Path, inputs: Path | None, samples: int, profiles: tuple[Path, ...], as_json: bool
) -> None:
    """Send inputs to the board, compare every output with the host's, count or time.

    Exit code 6 if an output differs from what the host computes.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.arrays import load_inputs, random_inputs
    from tinydeploy.errors import DeviceError
    from tinydeploy.tflite import read_graph

    build = wiring.builder().load(directory)
    device = wiring.devices([build.board], profiles)[build.board]
    graph = read_graph(build.model_path)
    stacked = load_inputs(inputs, graph) if inputs else random_inputs(graph, samples)
    _, result = wiring.run_compared(build, device, stacked)
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
