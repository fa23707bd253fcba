"""`tinydeploy report`: one self-contained page about a registered model."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.argument("name")
@click.option("-o", "--output", type=options.RESULT_FILE, default=Path("report.html"),
              show_default=True, metavar="FILE", help="The page.")  # fmt: skip
@click.option("--profile", is_flag=True, help="Run the chosen once more, layer by layer.")
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    name: str,
    output: Path,
    profile: bool,
    profiles: tuple[Path, ...],
    registry: Path,
    as_json: bool,
) -> None:
    """Write one HTML page: verdicts, plots, candidates, layers, memory plans, provenance.

    It needs no server and no network, and holds no script but its own.
    """
    from tinydeploy.cli import reporting, wiring
    from tinydeploy.report.page import render
    from tinydeploy.store import write_atomic

    report = reporting.collect(wiring.registry(registry), name, profiles, profile=profile)
    write_atomic(output, render(report))
    if as_json:
        print_json({"path": output, "report": report})
    else:
        click.echo(f"{output}: {', '.join(b.name for b in report.boards)}")
