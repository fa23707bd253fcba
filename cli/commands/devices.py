"""`tinydeploy devices`: the boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.device_ports import fault, scan
from tinydeploy.cli.render import cell, print_json, table
from tinydeploy.types import to_json


@click.group()
def command() -> None:
    """The boards that can be built for: one TOML file each."""


command.add_command(scan)
command.add_command(fault)


@command.command("list")
@click.option("--core", metavar="CORE", help="Only boards whose core is called so, or begins so.")
@click.option("--platform", metavar="NAME", help="Only boards of this platform.")
@click.option("--min-flash", type=int, default=0, metavar="BYTES", help="Flash for the firmware.")
@click.option("--min-ram", type=int, default=0, metavar="BYTES", help="RAM for the model.")
@click.option("--real/--emulated", default=None, help="Boards to hold, or those without hardware.")
@options.PROFILES
@options.JSON
def list_devices(profiles: tuple[Path, ...], as_json: bool, **wanted: Any) -> None:
    """All boards with core, memory and what they can measure.

    Real boards that nobody has run tinydeploy on yet are marked `untested on hardware`.
    """
    from tinydeploy.devices.catalogue import load_all, matching

    boards = matching(load_all(profiles).values(), **wanted)
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
            d.description + (" [untested on hardware]" if _untested(d) else ""),
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
    """Everything that is known of one board, and what it means."""
    from tinydeploy.devices.boardfile import FIELDS
    from tinydeploy.devices.catalogue import find

    device = find(name, profiles)
    if as_json:
        print_json(device)
        return
    facts = to_json(device)
    click.echo(f"{device.name}: {device.description}")
    if _untested(device):
        click.echo("untested on hardware: nobody tried it; its facts are from the sources below")
    for key, meaning in FIELDS.items():
        value = facts[key]
        if value in (None, "", [], {}, False) or key == "description":
            continue
        if isinstance(value, dict):
            click.echo(f"\n[{key}]  # {meaning}")
            for name, text in value.items():
                click.echo(f"{name} = {_indented(text)}")
        else:
            click.echo(f"{key} = {_plain(key, value)}  # {meaning}")
    click.echo(f"\nfrom {device.source}")


def _untested(device: Any) -> bool:
    return bool(device.real and not device.tested_on_hardware)


def _plain(key: str, value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value:#010x}" if key.endswith("_origin") else cell(value)


def _indented(text: str) -> str:
    return "\n    ".join(["", *text.strip().splitlines()]) if "\n" in text else text
