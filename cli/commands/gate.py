"""`tinydeploy gate`: is this model still good enough? For CI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json
from tinydeploy.errors import GateError, TinydeployError, UsageError
from tinydeploy.types import Task, to_json

_LIMITS = {
    "--max-flash": ("flash_bytes", "Bytes of flash."),
    "--max-ram": ("ram_bytes", "Bytes of RAM."),
    "--max-instructions": ("instructions", "Instructions an inference."),
    "--max-latency": ("latency_us", "Microseconds an inference (real boards)."),
    "--max-energy": ("energy_uj", "Microjoules an inference (real boards)."),
}


def _limits(function: Any) -> Any:
    metric = click.option(
        "--min-accuracy", "--min-metric", "metric", metavar="LIMIT",
        help="Least metric (greatest, for an error); needs --data.",
    )  # fmt: skip
    for option, (key, text) in reversed(_LIMITS.items()):
        function = click.option(option, key, metavar="LIMIT", help=text)(function)
    return metric(function)


@click.command()
@options.MODEL
@click.option("--device", "boards", multiple=True, required=True, metavar="NAME",
              help="Board; repeatable.")  # fmt: skip
@click.option("--name", default="", help="Registered model whose alias <board> is the champion.")
@_limits
@click.option("--data", type=click.Path(path_type=Path), metavar="DATA", help="Labelled samples.")
@click.option("--confidence", type=float, metavar="C",
              help="Show a relative --min-accuracy by a paired test (0.95).")  # fmt: skip
@click.option("--samples", type=click.IntRange(1), default=3, show_default=True,
              help="Samples sent to each board.")  # fmt: skip
@click.option("--junit", type=options.RESULT_FILE, metavar="FILE", help="JUnit XML.")
@options.ENGINE
@options.TFLM_LIB
@options.OPTIMIZE
@options.INPUT
@options.TASK
@options.PROFILES
@options.REGISTRY
@options.JSON
def command(
    model: Path,
    boards: tuple[str, ...],
    name: str,
    data: Path | None,
    confidence: float | None,
    samples: int,
    junit: Path | None,
    engine: str,
    tflm_lib: str,
    optimize: str,
    task: Task | None,
    profiles: tuple[Path, ...],
    registry: Path,
    as_json: bool,
    **rest: Any,
) -> None:
    """Judge a .tflite on boards by limits, absolute or relative to the registered champion.

    A LIMIT is a number, or a distance to the champion's figure: "+2%", "+1024", "-0.01". Prints a
    table in Markdown. Exit code 8 if a limit is broken, the model does not fit, or a board
    computes something else than the host.
    """
    from tinydeploy.cli import gate_report, wiring
    from tinydeploy.cli.gating import Gate
    from tinydeploy.pipeline.data import load_dataset
    from tinydeploy.pipeline.gate import METRIC, Verdict, parse_limit
    from tinydeploy.store import write_atomic

    keys = [METRIC, *(key for key, _ in _LIMITS.values())]
    limits = {k: parse_limit(text) for k in keys if (text := rest.pop(k)) is not None}
    if METRIC in limits and data is None:
        raise UsageError("--min-accuracy needs --data", hint="labelled data: an .npz with x and y")
    devices = wiring.devices(boards, profiles)
    artifact = wiring.artifact(model, options.input_description(**rest), task)
    dataset = load_dataset(data, description=artifact.input) if data else None
    evaluation = wiring.evaluate(artifact, dataset, "aot") if dataset else None
    store = wiring.registry(registry)
    gate = Gate(
        artifact, dataset, evaluation, store, name, samples, engine, optimize, tflm_lib, confidence
    )  # fmt: skip
    verdicts, broken = [], None
    for board, device in devices.items():
        try:
            verdicts.append(gate.verdict(device, limits))
        except UsageError:
            raise
        except TinydeployError as e:
            verdicts.append(Verdict(board, (), "", e.message))
            broken = broken or e
    if junit:
        write_atomic(junit, gate_report.junit(model.name, verdicts))
    if as_json:
        print_json([{**to_json(v), "passed": v.passed, "reasons": v.reasons} for v in verdicts])
    else:
        click.echo(gate_report.markdown(model.name, verdicts))
    if broken:
        raise broken
    if failed := [v for v in verdicts if not v.passed]:
        raise GateError(
            f"{model.name} on {failed[0].board}: {'; '.join(failed[0].reasons)}",
            hint="the table shows every figure and its limit",
        )
