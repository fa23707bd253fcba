"""`tinydeploy sign`: sign a registered version, or a folder with firmware."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("target", metavar="TARGET")
@click.option(
    "--key", type=click.Path(path_type=Path), required=True, metavar="FILE",
    help="Private key (.pem) of `tinydeploy keys new`.",
)  # fmt: skip
@options.REGISTRY
@options.JSON
def command(target: str, key: Path, registry: Path | str, as_json: bool) -> None:
    """Sign TARGET: NAME@ALIAS, NAME/VERSION, or a folder that `tinydeploy build` wrote.

    A version's model and the firmware of all its boards are re-hashed first; nothing that was
    changed is signed (exit code 7).
    """
    from tinydeploy.cli import release

    signed = release.sign(target, registry, key)
    if as_json:
        print_json(signed)
    else:
        click.echo("\n".join(f"signed {s}" for s in signed["signed"]))
