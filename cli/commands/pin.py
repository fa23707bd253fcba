"""`tinydeploy pin`: keep a board's version."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("name")
@options.DEVICE
@options.version("The present one by default.")
@options.NOTE
@options.REGISTRY
@options.JSON
def command(
    name: str, device: str, version: str | None, note: str, registry: Path | str, as_json: bool
) -> None:
    """Keep what a board runs, or --version, whatever `select` and `deploy` choose from now on.

    Their choice becomes the alias <board>-challenger; `promote` takes it, `unpin` ends this.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.deploy_report import moved

    result = wiring.lifecycle(registry).pin(name, device, version, note)
    if as_json:
        print_json(result)
    else:
        click.echo(moved(result))
