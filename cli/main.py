"""`tinydeploy`: finds the command, imports only that, turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any

import click

from tinydeploy import __version__
from tinydeploy.errors import TinydeployError

# One file a command, in the order of the work.
COMMANDS = {
    "deploy": "All of it: convert, prove, build, measure, register and select.",
    "search": "Try many variants for the best of each board, in a given time.",
    "supernet": "One trained net for many boards: train, show, extract.",
    "convert": "Convert and compress a trained model to .tflite.",
    "recipes": "The ways to compress: list, show.",
    "inspect": "Layers, MACs, weights and arena of a .tflite.",
    "evaluate": "Score a model on labelled data.",
    "compile": "Turn a .tflite into C, or into a TFLite-Micro bundle.",
    "build": "Build firmware for a board.",
    "flash": "Put built firmware on a board.",
    "update": "Exchange the model on a board over its serial link.",
    "measure": "Run built firmware with real inputs; compare and count.",
    "run": "Run a .tflite on a board and save its outputs.",
    "profile": "Take an inference apart, layer by layer.",
    "mlperf": "Measure by MLPerf Tiny's rules: throughput, accuracy, energy.",
    "register": "Register a variant with its accuracy and footprint.",
    "select": "Choose the smallest sufficient registered variant for a board.",
    "gate": "Judge a model by limits or against the champion, for CI.",
    "report": "Write one self-contained HTML page about a registered model.",
    "verify": "Re-hash what is registered and find a changed byte.",
    "export": "Write a version on a board as a self-contained bundle.",
    "import": "Register the version of a bundle.",
    "keys": "Signing keys: new, show, trust.",
    "sign": "Sign a registered version, or a folder with firmware.",
    "promote": "Make a version the champion of a board.",
    "pin": "Keep a board's version, whatever is selected.",
    "unpin": "Let selection choose again for a board.",
    "rollback": "Back to the version that a board had before.",
    "history": "What was chosen for boards and put on them, and when.",
    "gc": "Remove versions that nobody needs and what killed processes left.",
    "sync": "Send what waits for an MLflow server that did not answer.",
    "devices": "The boards: list, show, scan, fault.",
    "doctor": "What is installed, what is missing, and how to get it.",
    "ui": "Open the MLflow UI on the registry.",
}


class CommandTable(click.Group):
    """A group whose commands are imported when they are called, and listed without importing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import `cli/commands/NAME.py` and return its `command`."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"tinydeploy.cli.commands.{cmd_name}")
        return module.command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table above; nothing is imported for `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=CommandTable, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tinydeploy")
def cli() -> None:
    """From a trained model to the smallest variant that is good enough on each board."""


def main(argv: list[str] | None = None) -> None:
    """Entry point. Exit codes: 2 usage, 3 no sufficient variant, 4 unsupported model,
    5 does not fit, 6 device, 7 registry, 8 gate, 1 anything else.
    """
    sys.exit(run(argv))


def run(argv: list[str] | None = None) -> int:
    """Run the command line; the exit code. Never raises."""
    try:
        result: Any = cli.main(args=argv, prog_name="tinydeploy", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except TinydeployError as e:
        click.echo(f"error: {e.message}", err=True)
        if e.hint:
            click.echo(f"hint: {e.hint}", err=True)
        return e.exit_code
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  stays open until the process ends
        return 1
    except OSError as e:
        return _system_error(e)
    except Exception as e:
        traceback.print_exc()
        click.echo(f"error: internal error: {e!r}", err=True)
        click.echo("hint: this is a bug in tinydeploy; please report the lines above", err=True)
        return 1


def _system_error(error: OSError) -> int:
    """Say what the operating system refused, and where; the exit code."""
    import shutil

    from tinydeploy.store import FULL

    reason, place = error.strerror or str(error), error.filename
    if isinstance(error, shutil.Error) and isinstance(error.args[0], list):
        _, place, reason = error.args[0][0]  # (from, to, why) of each file of a tree
    click.echo(f"error: {reason}{f': {place}' if place else ''}", err=True)
    if error.errno in FULL or "No space left" in reason:
        click.echo("hint: free some space and run again: nothing half written is left", err=True)
    return 1
