"""`tinydeploy deploy`: all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.deploy_report import report, require_success, summary
from tinydeploy.cli.render import print_json
from tinydeploy.cli.settings import settings_of


def _path(name: str, text: str, multiple: bool = False) -> Any:
    return click.option(
        name, type=click.Path(path_type=Path), multiple=multiple, metavar="PATH", help=text
    )


@click.command()
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path), metavar="[MODEL]...")
@_path("--config", "Configuration file; tinydeploy.toml by default.")
@click.option("--name", help="Name of the registered model.")
@click.option("--device", "devices", multiple=True, metavar="NAME", help="Board; repeatable.")
@click.option("--recipe", "recipes", multiple=True, metavar="NAME", help="Recipe; repeatable.")
@_path("--validation", "Data on which variants are chosen.")
@_path("--calibration", "Representative data for quantization.")
@_path("--training", "Data that recipes which train learn from.")
@_path("--test", "Data looked at once, for the chosen.")
@click.option("--task", type=click.Choice(["classify", "regress", "anomaly"]))
@click.option("--engine", type=click.Choice(["aot", "tflm"]), help="aot, or the file's.")
@options.TFLM_LIB
@options.OBJECTIVE
@options.LIMITS
@click.option("--profile", is_flag=True, help="Keep what each layer of the chosen takes, too.")
@options.PLACES
@options.JSON
def command(config: Path | None, profile: bool, as_json: bool, **given: Any) -> None:
    """Convert and compress, prove, build, measure, register and select, for every board.

    Everything comes from tinydeploy.toml, or from options; options win. Exit code 3 if a board
    has no sufficient variant, 6 if a board or its toolchain failed.
    """
    from tinydeploy.cli import wiring
    from tinydeploy.cli.profiling import profile_registered
    from tinydeploy.pipeline.run import deploy

    settings = settings_of(config, given)
    devices = wiring.devices(settings.devices, settings.profiles)
    progress = options.progress
    store = wiring.registry(settings.registry)
    result = deploy(settings, devices, wiring.tools(settings, store), progress)
    if as_json:
        print_json(summary(result))
    else:
        click.echo(report(result, settings, devices))
    store.require_delivered()
    store.publish(settings.name)
    for s in result.selections if profile else ():
        if s.chosen:
            profile_registered(
                f"{settings.name}/{s.chosen.version}", settings.registry, settings.profiles,
                board=s.board, tflm_lib=settings.tflm_lib,
            )  # fmt: skip
    require_success(result)
