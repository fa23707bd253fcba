"""`tinydeploy select`: the smallest sufficient registered variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.deploy_report import board
from tinydeploy.cli.render import print_json
from tinydeploy.config import LimitsConfig
from tinydeploy.errors import NoSufficientVariantError


@click.command()
@click.argument("name")
@options.DEVICE
@click.option(
    "--objective",
    type=click.Choice(["flash", "ram", "instructions", "latency", "energy"]),
    default="flash",
    show_default=True,
)
@options.LIMITS
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    name: str,
    device: str,
    objective: str,
    profiles: tuple[Path, ...],
    registry: Path,
    as_json: bool,
    **limits: Any,
) -> None:
    """Choose the smallest variant of NAME that satisfies the limits on a board.

    The choice becomes the alias <board>; every rejected variant gets its reason. Exit code 3 if
    nothing is sufficient; the alias is removed then.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.select import select

    store = wiring.registry(registry)
    profile = wiring.devices([device], profiles)[device]
    wanted = LimitsConfig(**limits)
    constraints = wanted.constraints(profile.flash_bytes, profile.ram_bytes)
    selection = select(device, store.candidates(name, device), constraints, objective)
    store.select(name, selection, constraints)
    if as_json:
        print_json(selection)
    else:
        click.echo(board(selection, wanted, profile))
    if selection.chosen is None:
        raise NoSufficientVariantError(
            f"no variant of {name} is sufficient on {device}",
            hint="see the reasons; loosen the limits or register more variants",
        )
