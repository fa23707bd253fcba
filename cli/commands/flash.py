"""`tinydeploy flash`: put built firmware on its board."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("target", metavar="TARGET")
@click.option("--port", default="", metavar="PORT", help="Serial port, or a UF2 drive's folder.")
@click.option("--probe", default="", metavar="NUMBER", help="Serial number of the debug probe.")
@click.option("--protocol", metavar="NAME", help="Another upload protocol than the board's own.")
@click.option("--dry-run", is_flag=True, help="Print the command, touch nothing.")
@options.REQUIRE_SIGNATURE
@options.PROFILES
@click.option("--name", help="Registered model in whose history this is recorded.")
@options.NOTE
@options.REGISTRY
@options.JSON
def command(
    target: str,
    port: str,
    probe: str,
    protocol: str | None,
    dry_run: bool,
    require_signature: bool,
    profiles: tuple[Path, ...],
    name: str | None,
    note: str,
    registry: Path | str,
    as_json: bool,
) -> None:
    """Flash TARGET and ask the board who it is: it has to name the same build and model.

    TARGET is a folder that `build` wrote, NAME@BOARD of the registry, or a bundle (.zip). Every
    byte is checked before it is flashed: exit code 7 for a registry, a bundle or a signature that
    says otherwise, 6 for a changed folder. An emulated board is started, asked and stopped again:
    its flash does not outlive it. Firmware larger than the board is refused (exit code 5).
    """
    from tinydeploy.cli import release, wiring
    from tinydeploy.pipeline.fit import require_fit

    signed = release.required(require_signature)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        build = release.build_of(target, registry, Path(scratch), signed=signed, in_place=dry_run)
        device = wiring.devices([build.board], profiles)[build.board]
        require_fit(build.footprint, device)
        if device.real:
            from tinydeploy.devices.upload.commands import Target, plan
            from tinydeploy.devices.upload.run import upload

            way = plan(build, device, Target(port, probe), protocol)
            if dry_run:
                if as_json:
                    print_json(way)
                else:
                    click.echo(shlex.join(way.command))
                return
            upload(build, device, way, port=port, progress=options.progress)
        elif dry_run:
            if as_json:
                print_json({"protocol": device.platform, "command": []})
            else:
                click.echo(f"{device.name} is started, asked and stopped again: nothing is written")
            return
        identity = wiring.identify_after_upload(build, device, port)
    if as_json:
        print_json(identity)
    else:
        click.echo(f"{identity.board} runs build {identity.build_id} ({identity.engine})")
    if name or release.is_registered(target):
        life = wiring.lifecycle(registry)
        name = name or release.name_of(target)
        life.flashed(name, build.board, build.model_sha256, build.build_id, note)
        life.registry.require_delivered()
