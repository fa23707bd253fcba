"""`tinydeploy profile`: where the instructions of an inference go."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.errors import UsageError

_SHOWN_FUNCTIONS = 6
_SHOWN_SHARE = 0.01


@click.command()
@click.argument("model", metavar="MODEL")
@click.option("--device", default="", metavar="NAME", help="Board to use; NAME@BOARD names it.")
@click.option(
    "--input",
    "inputs",
    type=click.Path(path_type=Path),
    metavar="X",
    help="One input in the model's own dtype (.npy, .npz); a random one without it.",
)
@click.option("--engine", type=click.Choice(["aot", "tflm"]), help="aot, or the registered one's.")
@options.TFLM_LIB
@click.option(
    "--optimize",
    type=click.Choice(["size", "balanced", "speed"]),
    help="balanced, or the registered one's.",
)
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    model: str,
    device: str,
    inputs: Path | None,
    engine: str | None,
    tflm_lib: str,
    optimize: str | None,
    profiles: tuple[Path, ...],
    registry: Path | str,
    as_json: bool,
) -> None:
    """Run one inference on a board and say what each layer took.

    MODEL is a .tflite, or NAME@BOARD or NAME/VERSION of the registry: then the result is kept with
    the version's run on the board, as numbers and as a picture that the MLflow UI shows.

    Firmware of its own marks where each layer begins; ordinary firmware, without the marks, runs
    the same input to compare with: `sum` over `whole` says how well the layers add up. An emulator
    counts instructions, a real board takes the time.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.profiling import profile, profile_registered

    if _is_registered(model):
        if engine or optimize:
            raise UsageError(
                "--engine and --optimize are those of the registered firmware",
                hint="leave them out, or profile the .tflite file",
            )
        result = profile_registered(
            model, registry, profiles, board=device, inputs=inputs, tflm_lib=tflm_lib
        )
    else:
        if not device:
            raise UsageError("no board is named", hint="--device NAME, or NAME@BOARD")
        result = profile(
            Path(model),
            wiring.devices([device], profiles)[device],
            engine=engine or "aot",
            optimize=optimize or "balanced",
            tflm_lib=tflm_lib,
            inputs=inputs,
        )
    if as_json:
        print_json(result)
    else:
        _show(result)


def _is_registered(model: str) -> bool:
    """NAME@ALIAS, NAME/VERSION or NAME, and no file."""
    named = re.fullmatch(r"(models:/)?[\w-]+(@[\w-]+|/\d+)?", model, flags=re.ASCII)
    return bool(named) and not Path(model).exists()


def _show(result: dict[str, Any]) -> None:
    unit = result["unit"]
    rows = [
        (
            *(layer["layer"], layer["op"], layer["output_shape"], layer["macs"]),
            *(layer[unit], f"{layer['share']:.1%}", layer["per_mac"], layer["cycles_model"]),
        )
        for layer in result["layers"]
    ]
    head = ("layer", "op", "output", "MACs", unit, "share", "/MAC", "cycles_model")
    click.echo(table(head, rows))
    click.echo(
        f"all layers {result['sum']:,.0f} {unit}, between them {result['outside']:,.0f}; whole "
        f"inference without marks {result['whole']:,.0f}: layers are {result['sum_over_whole']:.2%}"
    )
    slowest = max(result["layers"], key=lambda layer: layer[unit], default=None)
    if slowest is None or not slowest["classes"]:
        return
    click.echo(f"\nthe slowest: layer {slowest['layer']}, {slowest['op']}")
    total = sum(slowest["classes"].values())
    for title, counts in (("class", slowest["classes"]), ("function", slowest["functions"])):
        most = sorted(counts.items(), key=lambda item: -item[1])
        shown = [(n, c, f"{c / total:.1%}") for n, c in most if c / total >= _SHOWN_SHARE]
        limit = _SHOWN_FUNCTIONS if title == "function" else len(shown)
        click.echo(table((title, "instructions", "share"), shown[:limit]))
