"""`tinydeploy sync`: deliver the outboxes."""

from __future__ import annotations

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@click.option(
    "--dry-run", is_flag=True, help="Only show what waits."
)  # fmt: skip
@options.JSON
def command(dry_run: bool, as_json: bool) -> None:
    """Send what `deploy` and `register` could not send to an MLflow server.

    In the order in which it was made, and only once: a delivery that is cut off goes on where it
    was. Exit code 7 if a server still does not answer.
    """
    from tinydeploy.registry.outbox import QueueingRegistry, outboxes

    waiting = outboxes()
    shown = [
        {
            "server": outbox.shown,
            "waiting": [f"{e.call} {e.model}" for e in outbox.entries()],
            "folder": str(outbox.folder),
        }
        for outbox in waiting
    ]
    if not dry_run:
        for outbox in waiting:
            QueueingRegistry(outbox.url).deliver(options.progress)
    if as_json:
        print_json(shown)
        return
    for box in shown:
        verb = "waits for" if dry_run else "delivered to"
        click.echo(f"{len(box['waiting'])} {verb} {box['server']}")
    if not shown:
        click.echo("nothing waits")
