"""Options and parameters that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

MODEL = click.argument("model", type=click.Path(path_type=Path))
DEVICE = click.option("--device", required=True, metavar="NAME", help="Board to use.")
ENGINE = click.option(
    "--engine", type=click.Choice(["aot", "tflm"]), default="aot", show_default=True
)
OPTIMIZE = click.option(
    "--optimize",
    type=click.Choice(["size", "balanced", "speed"]),
    default="balanced",
    show_default=True,
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
PROFILES = click.option(
    "--profiles",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Folder with more board files.",
)
REGISTRY = click.option(
    "--registry",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Folder that holds mlruns/; the current one by default.",
)


def out_dir(required: bool = True) -> Callable[[Any], Any]:
    """`--out DIR`."""
    return click.option(
        "--out", type=click.Path(path_type=Path), required=required, metavar="DIR", help="Result."
    )


def progress(message: str) -> None:
    """One line of progress, on stderr."""
    click.echo(message, err=True)
