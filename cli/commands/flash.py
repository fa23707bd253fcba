"""`tinydeploy flash`: put built firmware on its board."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@options.PROFILES
@click.option("--name", help="Registered model in whose history this is recorded.")
@options.NOTE
@options.REGISTRY
@options.JSON
def command(
    directory: Path,
    profiles: tuple[Path, ...],
    name: str | None,
    note: str,
    registry: Path | str,
    as_json: bool,
) -> None:
    """Flash the firmware that `build` wrote, and ask the board who it is.

    An emulated board is started, asked and stopped again: its flash does not outlive it. Firmware
    larger than the board is refused (exit code 5).
    """
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.fit import require_fit

    build = wiring.builder().load(directory)
    device = wiring.devices([build.board], profiles)[build.board]
    require_fit(build.footprint, device)
    identity = wiring.runner(device).identify(build, device)
    if name:
        life = wiring.lifecycle(registry)
        life.flashed(name, build.board, build.model_sha256, build.build_id, note)
    if as_json:
        print_json(identity)
    else:
        click.echo(f"{identity.board} runs build {identity.build_id} ({identity.engine})")
