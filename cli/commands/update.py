"""`tinydeploy update`: exchange the model on a board over its serial link."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    required=True,
    metavar="NEW",
    help="The new version: a .tflite, or a folder that `build --updatable` wrote.",
)
@options.out_dir(required=False)
@options.PORT
@options.BAUD
@click.option("--dry-run", is_flag=True, help="Say how much would be sent; open no port.")
@options.REQUIRE_SIGNATURE
@options.PROFILES
@options.JSON
def command(
    directory: Path,
    target: Path,
    out: Path | None,
    port: str,
    baud: int | None,
    dry_run: bool,
    require_signature: bool,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Send a new version of the same graph to the board that DIRECTORY was flashed to.

    DIRECTORY was written by `build --updatable`. Only what differs is sent. The board makes the new
    model beside the old one, checks it, switches, and goes back to the old one at its next start
    unless inferences on it were equal to the host's. `--out` keeps the build of a .tflite, which is
    what the board then runs.
    """
    from tinydeploy.cli import updating

    done = updating.update(
        directory,
        target,
        out=out,
        port=port,
        baud=baud,
        dry_run=dry_run,
        signed=require_signature,
        profiles=profiles,
        progress=options.progress,
    )
    if as_json:
        print_json(done)
        return
    verb = "would be sent" if dry_run else "sent"
    share = done["delta_bytes"] / done["content_bytes"]
    click.echo(
        f"{done['delta_bytes']:,} B {verb} for a model of {done['content_bytes']:,} B "
        f"({share:.1%}; the whole firmware has {done['firmware_bytes']:,} B)"
    )
    if not dry_run:
        click.echo(
            f"{done['board']} runs build {done['build_id']} from slot {done['slot']}; "
            f"{done['outputs_equal']} of {done['outputs_compared']} outputs equal the host's"
        )
