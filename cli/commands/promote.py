"""`tinydeploy promote`: a version becomes the champion of a board."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("name")
@options.DEVICE
@options.version("The challenger by default.")
@options.NOTE
@options.REGISTRY
@options.JSON
def command(
    name: str, device: str, version: str | None, note: str, registry: Path | str, as_json: bool
) -> None:
    """Make the challenger, or --version, what a board shall run: the alias <board> points to it.

    The challenger is what selection would choose while the board is pinned. A version that was not
    built for the board, or that computes something else there, is refused (exit code 7).
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.deploy_report import moved

    result = wiring.lifecycle(registry).promote(name, device, version, note)
    if as_json:
        print_json(result)
    else:
        click.echo(moved(result))
