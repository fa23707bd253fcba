"""`tinydeploy build`: firmware for a board."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table


@click.command()
@options.MODEL
@options.DEVICE
@options.ENGINE
@options.TFLM_LIB
@options.OPTIMIZE
@options.out_dir(required=False)
@click.option(
    "--export",
    type=options.RESULT_FOLDER,
    metavar="DIR",
    help="Write the model as a project for your own firmware instead of building.",
)
@click.option(
    "--updatable",
    is_flag=True,
    help="Keep the model apart from the code, so that `update` can exchange it on the board.",
)
@options.PROFILES
@options.JSON
def command(
    model: Path,
    device: str,
    engine: str,
    tflm_lib: str,
    optimize: str,
    out: Path | None,
    export: Path | None,
    updatable: bool,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Compile a .tflite and link firmware for a board, through PlatformIO.

    Writes firmware.elf, .bin, .map and build.json. Exit code 5 if it does not fit the board, with
    the numbers; the folder is written all the same, so that one can see why.

    `--export` writes a PlatformIO project with the model as a C library, an example that calls it
    and the firmware for measuring; it opens in the PlatformIO IDE. Nothing is compiled for that.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.errors import UsageError
    from tinydeploy.pipeline.fit import require_fit

    profile = wiring.devices([device], profiles)[device]
    if export is not None and updatable:
        raise UsageError("an exported project is not updatable", hint="leave --updatable out")
    if export is not None and out is None:
        files = wiring.export_model(
            model, profile, export, engine=engine, optimize=optimize, tflm_lib=tflm_lib
        )
        if as_json:
            print_json({"directory": export, "board": device, "files": files})
        else:
            click.echo(f"{export}: {len(files)} files; README.md says how to build, and the C API")
        return
    if out is None or export is not None:
        raise UsageError("give --out or --export", hint="--out DIR builds firmware there")
    result = wiring.build_firmware(
        model,
        profile,
        out,
        engine=engine,
        optimize=optimize,
        tflm_lib=tflm_lib,
        updatable=updatable,
    )
    if as_json:
        print_json(result)
    else:
        parts = [("flash", k, v) for k, v in result.footprint.flash.items()]
        parts += [("RAM", k, v) for k, v in result.footprint.ram.items()]
        click.echo(table(("memory", "part", "bytes"), parts))
        click.echo(
            f"flash {result.footprint.flash_bytes:,} of {profile.flash_bytes:,} B, "
            f"RAM {result.footprint.ram_bytes:,} of {profile.ram_bytes:,} B\n"
            f"build {result.build_id}"
        )
    require_fit(result.footprint, profile)
