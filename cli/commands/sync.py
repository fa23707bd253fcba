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
    """Send what could not be sent to an MLflow server that did not answer.

    In the order in which it was made, and only once: a delivery that is cut off goes on where it
    was. A choice is carried out only if nobody has decided for its board since; "overtaken" names
    the others. Exit code 7 if a server still does not answer.
    """
    from tinydeploy.registry.outbox import outboxes
    from tinydeploy.registry.queueing import QueueingRegistry

    waiting = outboxes()
    shown = [
        {
            "server": outbox.shown,
            "waiting": [f"{e.call} {e.model}" for e in outbox.entries()],
            "folder": str(outbox.folder),
            "overtaken": [],
        }
        for outbox in waiting
    ]
    if not dry_run:
        for outbox, box in zip(waiting, shown, strict=True):
            store = QueueingRegistry(outbox.url)
            store.deliver(options.progress)
            box["overtaken"] = store.overtaken
    if as_json:
        print_json(shown)
        return
    for box in shown:
        verb = "waits for" if dry_run else "delivered to"
        click.echo("\n".join([f"{len(box['waiting'])} {verb} {box['server']}", *box["overtaken"]]))
    if not shown:
        click.echo("nothing waits")
