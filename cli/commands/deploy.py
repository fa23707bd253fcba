"""`tinydeploy deploy`: all of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.deploy_report import report, summary
from tinydeploy.cli.render import print_json
from tinydeploy.errors import DeviceError, NoSufficientVariantError, UsageError

DEFAULT_CONFIG = Path("tinydeploy.toml")


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
@_path("--test", "Data looked at once, for the chosen.")
@click.option("--task", type=click.Choice(["classify", "regress", "anomaly"]))
@click.option("--engine", type=click.Choice(["aot", "tflm"]), help="aot, or the file's.")
@options.TFLM_LIB
@options.OBJECTIVE
@options.LIMITS
@click.option("--registry", type=options.RegistryType(), metavar="DIR|URL",
              help="Folder that holds mlruns/, or an MLflow server.")  # fmt: skip
@click.option("--work", type=click.Path(path_type=Path), metavar="DIR", help="Cached stages.")
@options.JSON
def command(config: Path | None, as_json: bool, **given: Any) -> None:
    """Convert and compress, prove, build, measure, register and select, for every board.

    Everything comes from tinydeploy.toml, or from options; options win. Exit code 3 if a board
    has no sufficient variant, 6 if a board or its toolchain failed.
    """
    from tinydeploy.cli import wiring
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
    if result.failures:
        raise DeviceError(
            f"{len(result.failures)} of the variants failed on a board: {result.failures[0]}",
            hint="the others are registered; run again to retry only what failed",
        )
    if lacking := [s.board for s in result.selections if not s.chosen]:
        raise NoSufficientVariantError(
            f"no variant is sufficient on {', '.join(lacking)}",
            hint="the table says why for each; loosen [limits], add sources or recipes",
        )


def settings_of(path: Path | None, given: dict[str, Any]) -> Any:
    """The configuration file with the options laid over it, or the options alone."""
    from tinydeploy.config import Config, DataConfig, LimitsConfig, default_registry, load_config

    given = {k: v for k, v in given.items() if v not in (None, (), "")}
    limits = {k: given.pop(k) for k in LimitsConfig.__dataclass_fields__ if k in given}
    data = {k: given.pop(k) for k in DataConfig.__dataclass_fields__ if k in given}
    if path is None and DEFAULT_CONFIG.exists() and not given.get("sources"):
        path = DEFAULT_CONFIG
    if path:
        base = load_config(path)
        return dataclasses.replace(
            base,
            data=dataclasses.replace(base.data, **data),
            limits=dataclasses.replace(base.limits, **limits),
            device_limits={
                k: dataclasses.replace(v, **limits)
                for k, v in base.device_limits.items()
                if k in given.get("devices", base.devices)
            },
            **given,
        )
    for key, option in (("sources", "MODEL"), ("devices", "--device")):
        if key not in given:
            raise UsageError(
                f"{option} is missing", hint="or write a tinydeploy.toml: see the README"
            )
    if "validation" not in data:
        raise UsageError("--validation is missing", hint="labelled data: an .npz with x and y")
    given.setdefault("name", given["sources"][0].stem)
    given.setdefault("registry", default_registry(Path()))
    return Config(data=DataConfig(**data), limits=LimitsConfig(**limits), **given)
