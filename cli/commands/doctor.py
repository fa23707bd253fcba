"""`tinydeploy doctor`: what is installed and what is missing."""

from __future__ import annotations

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@options.JSON
def command(as_json: bool) -> int:
    """Check compilers, emulators and packages. Exit code 6 if something needed is missing."""
    from tinydeploy.devices.doctor import checks

    results = checks()
    if as_json:
        print_json(results)
    else:
        for check in results:
            click.echo(f"{'ok     ' if check.ok else 'MISSING'}  {check.name}: {check.detail}")
            if not check.ok:
                click.echo(f"         {check.hint}")
    return 0 if all(check.ok for check in results) else 6
