"""`tinydeploy unpin`: let selection choose again."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("name")
@options.DEVICE
@options.NOTE
@options.REGISTRY
@options.JSON
def command(name: str, device: str, note: str, registry: Path | str, as_json: bool) -> None:
    """Let `select` and `deploy` choose again for a board that was pinned."""
    from tinydeploy.cli import wiring

    wiring.lifecycle(registry).unpin(name, device, note)
    if as_json:
        print_json({"name": name, "board": device, "pinned": False})
    else:
        click.echo(f"{device} is no longer pinned in {name}")
