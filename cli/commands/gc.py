"""`tinydeploy gc`: what nobody needs any more, and what killed processes left."""

from __future__ import annotations

from pathlib import Path

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json, table
from tinydeploy.errors import RegistryError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--delete", is_flag=True, help="Remove it; without this it is only listed.")
@click.option("--keep", type=click.IntRange(1), default=1, show_default=True,
              help="Newest versions of each variant that stay.")  # fmt: skip
@click.option("--rollbacks", type=click.IntRange(0), default=1, show_default=True,
              help="Former champions of each board that stay.")  # fmt: skip
@click.option("--older-than", "hours", type=click.FloatRange(0), default=24.0, show_default=True,
              metavar="HOURS", help="Age of unfinished work on a server, or in --work, that counts "
              "as left behind.")  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path), default=Path(".tinydeploy"),
              show_default=True, metavar="DIR", help="Cached stages; half ones go.")  # fmt: skip
@options.REGISTRY
@options.JSON
def command(
    names: tuple[str, ...],
    delete: bool,
    keep: int,
    rollbacks: int,
    hours: float,
    work: Path,
    registry: Path | str,
    as_json: bool,
) -> None:
    """List what can go, or remove it with --delete. Of all registered models without NAME.

    Nothing that an alias, a pin, a rollback, a flashed board or a deployment needs is ever listed,
    nor the newest version of a variant.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.registry import garbage
    from tinydeploy.store import remove_staged, staged_left

    store = wiring.registry(registry)
    policy = garbage.Policy(keep, rollbacks, hours)
    with store.place.changing():
        if delete:
            store.send_first()  # it may say that a version is needed
        every = store.database.experiments()
        if unknown := sorted({*names} - {*every, *store.models()}):
            raise RegistryError(
                f"{store.database.path} has no model called {unknown[0]!r}",
                hint=f"registered: {', '.join(every) or 'none yet'}",
            )
        found = [g for name in names or every for g in garbage.find(store, name, policy)]
        staged = staged_left([work, *store.place.local_folders()], hours)
        if delete:
            if found:
                garbage.remove(store, found, policy, options.progress)
            remove_staged(staged)
    if as_json:
        print_json({"deleted": delete, "registry": found, "staged": staged})
        return
    rows: list[tuple[str, ...]] = [(g.model, g.kind, g.id, g.reason) for g in found]
    rows += [("-", "staged", str(path), "was never finished") for path in staged]
    if not rows:
        click.echo("nothing to remove")
        return
    click.echo(table(("model", "kind", "id", "reason"), rows))
    click.echo("removed" if delete else "remove with --delete")
