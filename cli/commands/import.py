"""`tinydeploy import`: register the version of a bundle."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--name", default="", help="Register under this name instead of the bundle's.")
@options.REQUIRE_SIGNATURE
@options.REGISTRY
@options.JSON
def command(
    bundle: Path, name: str, require_signature: bool, registry: Path | str, as_json: bool
) -> None:
    """Register what `export` wrote, here and without a network: version, firmware, figures.

    Every byte is checked first; a bundle that was changed, or that no trusted key signed where
    one is required, is refused (exit code 7) and leaves nothing. The board's alias points to the
    version if the board had none. Importing the same again changes nothing.
    """
    from tinydeploy.cli import release
    from tinydeploy.cli.bundling import import_bundle

    made = import_bundle(bundle, registry, name=name, signed=release.required(require_signature))
    if as_json:
        print_json(made)
    else:
        alias = "selected" if made.selected else "not selected: another version is"
        click.echo(f"{made.name} version {made.version} on {made.board}: {alias}")
