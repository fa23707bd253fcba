"""`tinydeploy rollback`: back to the version before."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("name")
@options.DEVICE
@options.version("The champion before by default.")
@options.NOTE
@options.REGISTRY
@options.JSON
def command(
    name: str, device: str, version: str | None, note: str, registry: Path | str, as_json: bool
) -> None:
    """Point the alias <board> back to the version that was the champion before, and pin it.

    Once more goes further back. Pinned, because the next selection would choose what did not work
    again: `unpin` when there is something better.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.deploy_report import moved

    result = wiring.lifecycle(registry).rollback(name, device, version, note)
    if as_json:
        print_json(result)
    else:
        click.echo(moved(result))
