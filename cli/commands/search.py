"""`tinydeploy search`: many variants for the best of each board."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.deploy_report import report, require_success, summary
from tinydeploy.cli.render import print_json, table
from tinydeploy.cli.settings import settings_of
from tinydeploy.errors import UsageError
from tinydeploy.types import to_json

if TYPE_CHECKING:
    from tinydeploy.pipeline.search import SearchResult


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@click.option("--config", type=click.Path(path_type=Path), metavar="PATH",
              help="Configuration file; tinydeploy.toml by default.")  # fmt: skip
@click.option("--name", help="Name of the registered model.")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="Board; repeatable.")
@click.option("--data", "validation", type=click.Path(path_type=Path), metavar="PATH",
              help="Labelled data on which variants are judged.")  # fmt: skip
@click.option("--calibration", type=click.Path(path_type=Path), metavar="PATH",
              help="Representative data for quantization.")  # fmt: skip
@click.option("--training", type=click.Path(path_type=Path), metavar="PATH",
              help="Labelled data: Keras sources are tried trained on it as well.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(1), default=3, show_default=True,
              help="Of each training.")  # fmt: skip
@click.option("--budget-minutes", type=click.FloatRange(0, min_open=True), default=10.0,
              show_default=True, metavar="N")  # fmt: skip
@click.option("--trials", type=click.IntRange(1), default=30, show_default=True,
              help="At most so many variants a board, those of earlier runs included.")  # fmt: skip
@click.option("--study", type=options.RESULT_FILE, metavar="FILE",
              help="Where the search is kept and goes on; WORK/search.db by default.")  # fmt: skip
@click.option("--plot", type=options.RESULT_FILE, metavar="FILE",
              help="Write the Pareto fronts as .svg or .png.")  # fmt: skip
@click.option("--optimize", type=click.Choice(["size", "balanced", "speed"]),
              help="size also tries weights with few values, which it stores packed.")  # fmt: skip
@options.OBJECTIVE
@options.LIMITS
@options.PLACES
@options.JSON
def command(
    config: Path | None,
    budget_minutes: float,
    trials: int,
    epochs: int,
    study: Path | None,
    plot: Path | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Search sources and recipe settings for the variants that are best on each board.

    Takes accuracy, flash, RAM and instructions for goals at once, within each board's limits.
    What cannot fit is never built. With a training set, Keras sources are also distilled, pruned,
    slimmed and trained for int8. Stop it at any time: it goes on where it was. Exit code 3 if a
    board has no sufficient variant, 6 if a board or its toolchain failed.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.search import Budget, search

    if plot and plot.suffix not in (".svg", ".png"):
        raise UsageError(f"--plot {plot}", hint="its name must end in .svg or .png")
    settings = settings_of(config, given)
    devices = wiring.devices(settings.devices, settings.profiles)
    store = wiring.registry(settings.registry)
    result = search(
        settings,
        devices,
        wiring.tools(settings, store),
        (study or settings.work / "search.db").absolute(),
        Budget(budget_minutes, trials),
        options.progress,
        epochs=epochs,
    )
    if plot:
        from tinydeploy.cli.search_plot import draw

        draw(result, plot)
    if as_json:
        found = summary(result.deployment)
        spaces = {board: [to_json(c) for c in costs] for board, costs in result.spaces.items()}
        print_json({**found, "trials": to_json(result.trials), "spaces": spaces})
    else:
        _show(result, devices)
        click.echo(report(result.deployment, settings, devices))
    store.require_delivered()
    store.publish(settings.name)
    require_success(result.deployment)


def _show(result: SearchResult, boards: Iterable[str]) -> None:
    """The trials of each board."""
    for board in boards:
        rows = [
            (t.number, t.variant, t.metric, t.flash_bytes, t.ram_bytes,
             None if t.instructions is None else round(t.instructions), t.ended)
            for t in result.trials if t.board == board
        ]  # fmt: skip
        head = (
            "trial",
            "variant",
            "metric",
            "flash",
            "RAM",
            "instructions",
            "not measured because",
        )
        click.echo(f"{board}: {len(rows)} trials\n{table(head, rows)}\n")
