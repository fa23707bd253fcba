"""Commands run in this process, as a script would run them: they have to succeed."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from tinydeploy.cli.main import cli


def run(*words: object) -> str:
    """What a command prints on stdout."""
    result = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def answer(*words: object) -> Any:
    """The JSON value that a command prints on stdout."""
    return json.loads(run(*words, "--json"))
