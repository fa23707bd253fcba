"""`tinydeploy mlperf`: MLPerf Tiny's measuring rules on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tinydeploy.cli import options
from tinydeploy.cli.render import print_json


@click.command()
@options.MODEL
@options.DEVICE
@click.option("--mode", "modes", type=click.Choice(["performance", "accuracy", "energy"]),
              multiple=True, help="By default performance, with --data accuracy too.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path), metavar="DATA",
              help="Labelled inputs: .npz, images, or a folder with y_labels.csv.")  # fmt: skip
@click.option("--samples", type=click.IntRange(1), help="Only so many of them.")
@options.PORT
@options.BAUD
@click.option("--io-manager", is_flag=True, help="The port is that of an interface board.")
@options.METER
@click.option("--out", type=options.RESULT_FOLDER, metavar="DIR",
              help="Write a session a mode: results.txt, results.json, log.txt.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
@options.ENGINE
@options.TFLM_LIB
@options.OPTIMIZE
@options.INPUT
@options.PROFILES
@options.JSON
def command(
    model: Path,
    device: str,
    modes: tuple[str, ...],
    data: Path | None,
    samples: int | None,
    port: str,
    baud: int | None,
    io_manager: bool,
    meter: str,
    out: Path | None,
    dry_run: bool,
    engine: str,
    tflm_lib: str,
    optimize: str,
    profiles: tuple[Path, ...],
    as_json: bool,
    **described: Any,
) -> None:
    """Measure as MLPerf Tiny does: five windows of at least 10 s and their median throughput,
    accuracy on every input, five energy trials.

    The result is no MLPerf result: that takes MLCommons' runner and a reviewed submission. An
    emulated board runs in virtual time, whose figures are never latency.
    """
    from tinydeploy.cli import mlperf_run, wiring
    from tinydeploy.devices.mlperf_rules import Rules

    wanted = modes or (("performance", "accuracy") if data else ("performance",))
    job = mlperf_run.Job(
        model=model,
        device=wiring.devices([device], profiles)[device],
        modes=tuple(mode for mode in mlperf_run.MODES if mode in wanted),
        data=data,
        samples=samples,
        port=port,
        baud=baud,
        io_manager=io_manager,
        meter=meter,
        out=out,
        engine=engine,
        optimize=optimize,
        tflm_lib=tflm_lib,
        described=described,
    )
    if dry_run:
        print_json(mlperf_run.plan(job, Rules()))
        return
    result = mlperf_run.run(job, Rules(), options.progress)
    if as_json:
        print_json(result)
        return
    for mode in job.modes:
        click.echo("\n".join(result[mode]["lines"]))
    click.echo(f"clock: {result['clock']} ({result['origin']})")
    click.echo(result["note"])
