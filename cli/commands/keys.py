"""`tinydeploy keys`: make, show and trust signing keys."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table


@click.group()
def command() -> None:
    """Ed25519 keys: your own to sign with, other people's to trust."""


@command.command()
@click.argument("name")
@click.option(
    "--out", type=options.RESULT_FOLDER, default=Path(), metavar="DIR",
    help="Folder for the files; the current one by default.",
)  # fmt: skip
@options.JSON
def new(name: str, out: Path, as_json: bool) -> None:
    """Make NAME.pem (private, keep it) and NAME.pub.pem (public, give it away).

    Nothing is ever replaced.
    """
    from tinydeploy.registry import keys

    private, public = keys.new_key(out, name)
    if as_json:
        print_json({"private": private, "public": public.path, "key_id": public.key_id})
    else:
        click.echo(f"{private}: private key, keep it\n{public.path}: key {public.key_id}")


@command.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@options.JSON
def show(file: Path | None, as_json: bool) -> None:
    """The id and the public key of a FILE, or all trusted keys."""
    from tinydeploy.registry import keys

    found = [keys.load_public(file)] if file else list(keys.trusted().values())
    if as_json:
        print_json(found)
    elif file:
        click.echo(f"{found[0].key_id}\n{found[0].pem.strip()}")
    else:
        click.echo(table(("trusted key", "file"), [(k.key_id, k.path) for k in found]))


@command.command()
@click.argument("key")
@click.option("--remove", is_flag=True, help="Trust it no longer; KEY is then a key's id.")
@options.JSON
def trust(key: str, remove: bool, as_json: bool) -> None:
    """Trust the public key in the file KEY: what it signed is accepted.

    Compare its id with the one that its owner tells you, over another way than the file came.
    """
    from tinydeploy.registry import keys

    if remove:
        keys.distrust(key)
        found = {"removed": key}
    else:
        found = {"trusted": keys.trust(Path(key)).key_id}
    if as_json:
        print_json(found)
    else:
        click.echo("".join(f"{what} {key_id}" for what, key_id in found.items()))
