"""`tinydeploy compile`: C sources, or a TFLite-Micro bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table


@click.command()
@options.MODEL
@click.option("--device", metavar="NAME", help="Board whose core the kernels are chosen for.")
@options.ENGINE
@options.OPTIMIZE
@options.out_dir()
@options.PROFILES
@options.JSON
def command(
    model: Path,
    device: str | None,
    engine: str,
    optimize: str,
    out: Path,
    profiles: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Turn a .tflite into plain C for one core (aot), or into a TFLite-Micro bundle (tflm).

    The folder compiles on its own with the compiler of your project. Exit code 4 names the layer
    whose op is missing; nothing is left behind then.
    """
    from tinydeploy.cli import wiring

    profile = wiring.devices([device], profiles)[device] if device else None
    wiring.require_deployable(model)
    compiled = wiring.compiler().compile(
        model, out, device=profile, engine=engine, optimize=optimize, standalone=True
    )
    files = tuple(sorted(p.name for p in out.iterdir()))
    compiled = dataclasses.replace(compiled, files=files)
    if as_json:
        print_json(compiled)
        return
    click.echo(f"{out}: {', '.join(compiled.files)}")
    bound = compiled.arena_bound_bytes
    proven = "" if bound is None else f" (no plan of these kernels can be below {bound:,} B)"
    click.echo(f"arena {compiled.arena_bytes:,} B{proven}")
    if compiled.choices:
        head = ("layer", "kernel", "instructions", "cycles", "flash B", "chosen")
        rows = [dataclasses.astuple(choice) for choice in compiled.choices]
        click.echo(f"\nKernels weighed for {optimize} (estimates of an inference)")
        click.echo(table(head, rows))
