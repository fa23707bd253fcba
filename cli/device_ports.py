"""`tinydeploy devices scan` and `devices fault`: what is plugged in, and what a crash means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.types import to_json


@click.command("scan")
@click.option("--port", "ports", multiple=True, metavar="PORT", help="Ask this port; repeatable.")
@click.option("--no-ask", is_flag=True, help="Match USB ids only; open no port.")
@options.PROFILES
@options.JSON
def scan(ports: tuple[str, ...], no_ask: bool, profiles: tuple[Path, ...], as_json: bool) -> None:
    """Which boards are plugged in, and the firmware that each runs.

    Ports with the USB ids of a known board are opened and asked who they are (many boards restart
    when their port is opened); others only if --port names them.
    """
    from tinydeploy.devices import discover
    from tinydeploy.devices.catalogue import load_all

    found = discover.scan(load_all(profiles).values(), ports=ports, ask=not no_ask)
    if as_json:
        print_json(found)
        return
    head = ("port", "USB id", "serial number", "firmware for", "build", "could be")
    click.echo(table(head, [_row(to_json(f)) for f in found]))
    for f in found:
        if f.problem:
            click.echo(f"{f.device.port}: {f.problem}\n  hint: {f.hint}", err=True)


def _row(found: dict[str, Any]) -> tuple[Any, ...]:
    device, identity = found["device"], found["identity"] or {}
    boards = found["boards"]
    more = f" and {len(boards) - 3} more" if len(boards) > 3 else ""
    return (
        device["port"],
        device["usb"] or None,
        device["serial_number"] or None,
        identity.get("board"),
        identity.get("build_id", "")[:12] or None,
        ", ".join(boards[:3]) + more or device["product"] or None,
    )


@click.command("fault")
@click.argument("directory", type=click.Path(path_type=Path))
@click.argument("line")
@options.PROFILES
@options.JSON
def fault(directory: Path, line: str, profiles: tuple[Path, ...], as_json: bool) -> None:
    """What a line `!FAULT pc=...` of a crashed firmware means in the build that it runs."""
    from tinydeploy.cli import wiring
    from tinydeploy.devices.elf import Elf
    from tinydeploy.devices.fault import causes, place
    from tinydeploy.devices.protocol import read_fault

    build = wiring.builder().load(directory)
    prefix = wiring.devices([build.board], profiles)[build.board].toolchain_prefix
    registers = read_fault(line)
    elf = Elf(build.elf)
    places = {
        name: place(value & ~1, elf, build.elf, prefix)
        for name, value in registers.items()
        if name in ("pc", "lr")
    }
    if as_json:
        print_json({"registers": registers, "places": places, "causes": causes(registers)})
        return
    for name, where in places.items():
        click.echo(f"{name}  {where}")
    for cause in causes(registers):
        click.echo(cause)
