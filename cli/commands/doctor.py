"""`tinydeploy doctor`: what is installed and what is missing."""

from __future__ import annotations

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.option(
    "--install",
    type=click.Choice(["torch"]),
    help="Make the environment in which PyTorch models are converted (several GB).",
)
@options.JSON
def command(install: str | None, as_json: bool) -> int:
    """Check compilers, emulators and packages. Exit code 6 if something needed is missing."""
    from tinydeploy.devices.doctor import Check, checks
    from tinydeploy.pipeline.convert import torch_environment

    if install:
        torch_environment.install()
    torch = torch_environment.find()
    results = [
        *checks(),
        Check(
            "PyTorch environment",
            torch is not None,
            str(torch or "not made; PyTorch models need it"),
            "" if torch else "tinydeploy doctor --install torch",
            optional=True,
        ),
    ]
    if as_json:
        print_json(results)
    else:
        for check in results:
            state = "ok     " if check.ok else "absent " if check.optional else "MISSING"
            click.echo(f"{state}  {check.name}: {check.detail}")
            if not check.ok:
                click.echo(f"         {check.hint}")
    return 0 if all(check.ok or check.optional for check in results) else 6
