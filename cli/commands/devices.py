"""`tinydeploy devices`: the boards."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import cell, print_json, table
from tinydeploy.types import to_json


@click.group()
def command() -> None:
    """The boards that can be built for: one TOML file each."""


@command.command("list")
@options.PROFILES
@options.JSON
def list_devices(profiles: tuple[Path, ...], as_json: bool) -> None:
    """All boards with core, memory and what they can measure."""
    from tinydeploy.devices.catalogue import load_all

    boards = [*load_all(profiles).values()]
    if as_json:
        print_json(boards)
        return
    rows = [
        (
            d.name,
            d.core,
            d.flash_bytes or None,
            d.ram_bytes or None,
            d.platform,
            "exact" if d.counts_instructions else None,
            "real" if d.measures_time else None,
            d.description,
        )
        for d in boards
    ]
    head = ("name", "core", "flash", "RAM", "platform", "instructions", "time", "description")
    click.echo(table(head, rows))


@command.command("show")
@click.argument("name")
@options.PROFILES
@options.JSON
def show(name: str, profiles: tuple[Path, ...], as_json: bool) -> None:
    """Everything that is known of one board."""
    from tinydeploy.devices.catalogue import find

    device = find(name, profiles)
    if as_json:
        print_json(device)
        return
    facts = [(k, v) for k, v in to_json(device).items() if v not in (None, "", [], {})]
    width = max(len(k) for k, _ in facts)
    for key, value in facts:
        click.echo(f"{key.ljust(width)}  {_plain(value)}")


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value))
    return cell(value)
