"""`tinydeploy select`: the smallest sufficient registered variant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.errors import NoSufficientVariantError, UsageError


@click.command()
@click.argument("name")
@click.option("--device", "boards", multiple=True, required=True, metavar="NAME",
              help="Board; repeatable.")  # fmt: skip
@click.option("--fleet", is_flag=True, help="One model for all the boards, least in total.")
@options.OBJECTIVE
@options.LIMITS
@click.option("--what-if", "changes", multiple=True, metavar="KEY=VALUE",
              help="Answer for another limit (max_ram_bytes=16384); change nothing.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Every limit of every variant, and the evidence.")
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    name: str,
    boards: tuple[str, ...],
    fleet: bool,
    objective: str | None,
    changes: tuple[str, ...],
    explain: bool,
    profiles: tuple[Path, ...],
    registry: Path | str,
    as_json: bool,
    **limits: Any,
) -> None:
    """Choose the smallest variant of NAME that satisfies the limits on each board.

    The choice becomes the alias <board>; every rejected variant gets its reason. Exit code 3 if
    nothing is sufficient on a board; its alias is removed then. Only the limits given here hold,
    not those of tinydeploy.toml or of the last selection. --what-if starts from the limits and the
    objective of the last selection, and registers nothing.
    """
    from tinydeploy.cli import selecting, wiring
    from tinydeploy.cli.deploy_report import board
    from tinydeploy.cli.explain import explain as explained

    store = wiring.registry(registry)
    devices = wiring.devices(boards, profiles)
    asked = selecting.Asked(limits, objective, tuple(map(selecting.change, changes)))
    if len(devices) != len(boards):
        raise UsageError("a board is named twice")
    questions = [selecting.question(store, name, d, asked) for d in devices.values()]
    selections = selecting.answer(questions, fleet)
    if not changes:
        for q, selection in zip(questions, selections, strict=True):
            if note := selecting.lifted(store, name, q):
                options.progress(note)
            store.select(name, selection, q.constraints)
    if as_json:
        print_json(selections[0] if len(selections) == 1 and not fleet else selections)
    else:
        parts = []
        for q, selection in zip(questions, selections, strict=True):
            parts.append(board(selection, q.constraints, devices[selection.board]))
            if explain:
                parts.append(explained(q.pool, q.constraints, selection))
            if changes:
                parts.append(selecting.difference(store, name, selection, changes))
        click.echo("\n\n".join(parts))
    if not changes:
        store.require_delivered()
        store.publish(name)
    if lacking := [s.board for s in selections if s.chosen is None]:
        raise NoSufficientVariantError(
            f"no variant of {name} is sufficient on {', '.join(lacking)}"
            + (" as one for all" if fleet else ""),
            hint="see the reasons; loosen the limits or register more variants",
        )
