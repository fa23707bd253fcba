"""`tinydeploy history`: what ran where, and when."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table


@click.command()
@click.argument("name")
@click.option("--device", metavar="NAME", help="Of one board.")
@options.REGISTRY
@options.JSON
def command(name: str, device: str | None, registry: Path | str, as_json: bool) -> None:
    """Show what was chosen for boards and put on them: when, what, by whom. Oldest first.

    The record is only ever added to: by `deploy`, `select`, `promote`, `pin`, `unpin`, `rollback`
    and `flash --name`.
    """
    from tinydeploy.cli import wiring

    events = wiring.lifecycle(registry).history(name, device)
    if as_json:
        print_json(events)
        return
    head = ("when (UTC)", "board", "what", "version", "variant", "build", "by", "note")
    rows = [
        (e.at[:19].replace("T", " "), e.board, e.what, e.version or None, e.variant or None,
         e.build_id[:12] or None, e.by, e.note)
        for e in events
    ]  # fmt: skip
    click.echo(table(head, rows) if rows else f"nothing has happened to {name} yet")
