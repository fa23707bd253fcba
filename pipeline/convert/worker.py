"""Run a converter that is best kept apart in a process of its own.

Such converters patch other libraries, fill standard output, need an environment of their own or may
crash on a damaged model. A job is a folder: the parent writes files and `job.json` into it, the
worker writes files beside them, or `error.json` with a message and a hint.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError

JOB = "job.json"
ERROR = "error.json"
TIMEOUT_S = 1800.0
"""A conversion; the largest models for microcontrollers take about a minute on a slow machine."""

_TAIL = 600


def run_worker(
    folder: Path,
    job: Mapping[str, Any],
    *,
    module: str = "",
    script: Path | None = None,
    python: Path | None = None,
    what: str,
    hint: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run `python -m module`, or `python script`, with `folder` as its argument and working folder.

    `job` becomes `job.json`. Raises UnsupportedModelError with what the worker says in
    `error.json`, else with how it ended and the end of what it printed; `what` begins the message.
    """
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
    target: Sequence[str] = ["-m", module] if script is None else [str(script)]
    # -P: nothing in the working folder, which holds untrusted files, is importable.
    command = [str(python or sys.executable), "-P", *target, str(folder)]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            env=None if environment is None else dict(environment),
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnsupportedModelError(f"{what}: not done after {TIMEOUT_S:g} s", hint=hint) from None
    error = folder / ERROR
    if error.exists():
        said = json.loads(error.read_text(encoding="utf-8"))
        raise UnsupportedModelError(f"{what}: {said['message']}", hint=said.get("hint") or hint)
    if done.returncode:
        printed = " ".join(done.stdout.decode(errors="replace").split())[-_TAIL:]
        raise UnsupportedModelError(f"{what}: {_ending(done.returncode)}: {printed}", hint=hint)


def _ending(code: int) -> str:
    if code < 0:
        return f"its process ended with {signal.Signals(-code).name}"
    return f"its process ended with exit status {code}"


def read_job(argv: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """In a worker: the folder, and the job in it."""
    folder = Path(argv[1])
    return folder, json.loads((folder / JOB).read_text(encoding="utf-8"))


def report_error(folder: Path, message: str, hint: str = "") -> None:
    """In a worker: why there is no result."""
    text = json.dumps({"message": " ".join(message.split())[-_TAIL:], "hint": hint})
    (folder / ERROR).write_text(text, encoding="utf-8")
