"""`tinydeploy ui`: the MLflow UI."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click

from tinydeploy.cli import options


@click.command()
@options.REGISTRY
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True)
def command(registry: Path | str, port: int) -> None:
    """Open the MLflow UI on the registry; Ctrl-C ends it. A server has its own: it is named."""
    if isinstance(registry, str):
        click.echo(registry)
        return
    from tinydeploy.registry.mlflow import ui_command, ui_links

    arguments, environment = ui_command(registry, port)
    address = f"http://127.0.0.1:{port}"
    options.progress(f"{address} (Ctrl-C ends it)")
    for what, link in ui_links(registry, address).items():
        options.progress(f"  {what}  {link}")
    raise SystemExit(_serve(arguments, {**os.environ, **environment}))


def _serve(command: list[str], environment: dict[str, str]) -> int:
    """Run the server until it or this process is told to end; its exit status.

    MLflow leaves its worker behind when it is ended alone: both are a group that ends as a whole.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            return process.wait()
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
