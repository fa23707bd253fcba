"""`tinydeploy export`: a version on a board as one file for another machine."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.errors import UsageError


@click.command()
@click.argument("target", metavar="NAME@BOARD")
@click.option(
    "--out", "-o", type=options.RESULT_FILE, required=True, metavar="FILE.zip",
    help="The bundle.",
)  # fmt: skip
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE",
    help="Sign model, firmware and bundle with this private key.",
)  # fmt: skip
@click.option(
    "--mcuboot", type=click.Path(path_type=Path), metavar="FILE",
    help="Add an image for MCUboot, signed with this private key.",
)  # fmt: skip
@click.option("--mcuboot-version", default="1.0.0", show_default=True, metavar="1.2.3+4")
@click.option("--mcuboot-header", default=0x200, show_default=True, help="Bytes of its header.")
@click.option("--mcuboot-slot", default=0, help="Bytes of the slot that it has to fit.")
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    target: str,
    out: Path,
    key: Path | None,
    mcuboot: Path | None,
    mcuboot_version: str,
    mcuboot_header: int,
    mcuboot_slot: int,
    profiles: tuple[Path, ...],
    registry: Path | str,
    as_json: bool,
) -> None:
    """Write model, C sources, firmware, bill of materials and card of a version on a board.

    The same version gives the same bytes on every machine. Files are re-hashed first; exit code
    7 names one that was changed. Needs the extra `release`.
    """
    from tinydeploy.cli.bundling import McuBoot, export

    if mcuboot is None and mcuboot_slot:
        raise UsageError("--mcuboot-slot without --mcuboot", hint="name the key with --mcuboot")
    boot = None
    if mcuboot:
        boot = McuBoot(mcuboot, mcuboot_version, mcuboot_header, mcuboot_slot)
    made = export(target, out, registry, profiles, key=key, mcuboot=boot)
    if as_json:
        print_json(made)
    else:
        signed = "signed" if made["signed"] else "not signed"
        click.echo(
            f"{out}: {made['name']} version {made['version']} on {made['board']}, "
            f"{len(made['files'])} files, {made['bytes']:,} B, {signed}"
        )
