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
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinydeploy.errors import ToolMissingError, UnsupportedModelError

JOB = "job.json"
ERROR = "error.json"
TIMEOUT_S = 1800.0
"""A conversion; the largest models for microcontrollers take about a minute on a slow machine."""

_TAIL = 600
_LINES = 200
_PROGRESS = "\x1eprogress "
"""Begins a line of a worker's output that is for its parent."""


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
    timeout_s: float | None = TIMEOUT_S,
    progress: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> None:
    """Run `python -m module`, or `python script`, with `folder` as its argument and working folder.

    `job` becomes `job.json`; `progress` gets what the worker says with `report_progress`.
    Raises UnsupportedModelError with what the worker says in `error.json` (ToolMissingError if a
    program is missing), else with how it ended and the end of what it printed; `what` begins the
    message.
    """
    (folder / JOB).write_text(json.dumps(job), encoding="utf-8")
    target: Sequence[str] = ["-m", module] if script is None else [str(script)]
    # -P: nothing in the working folder, which holds untrusted files, is importable.
    command = [str(python or sys.executable), "-P", *target, str(folder)]
    kept: deque[str] = deque(maxlen=_LINES)
    late = threading.Event()
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        text=True,
        errors="replace",
    ) as process:

        def end() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s or 0, end)
        if timeout_s is not None:
            timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith(_PROGRESS):
                    progress(json.loads(line.removeprefix(_PROGRESS)))
                else:
                    kept.append(line)
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
    if late.is_set():
        raise UnsupportedModelError(f"{what}: not done after {timeout_s:g} s", hint=hint) from None
    error = folder / ERROR
    if error.exists():
        said = json.loads(error.read_text(encoding="utf-8"))
        error_class = ToolMissingError if said.get("missing") else UnsupportedModelError
        raise error_class(f"{what}: {said['message']}", hint=said.get("hint") or hint)
    if process.returncode:
        printed = " ".join("".join(kept).split())[-_TAIL:]
        raise UnsupportedModelError(f"{what}: {ending(process.returncode)}: {printed}", hint=hint)


def ending(code: int) -> str:
    """In words: the exit status of a process, or the signal that ended it."""
    if code < 0:
        return f"its process ended with {signal.Signals(-code).name}"
    return f"its process ended with exit status {code}"


def read_job(argv: Sequence[str]) -> tuple[Path, dict[str, Any]]:
    """In a worker: the folder, and the job in it."""
    folder = Path(argv[1])
    return folder, json.loads((folder / JOB).read_text(encoding="utf-8"))


def report_progress(stage: str, done: int, total: int, found: str) -> None:
    """In a worker: how far a stage is, for the parent's `progress`."""
    said = {"stage": stage, "done": done, "total": total, "found": found}
    print(f"\n{_PROGRESS}{json.dumps(said)}", flush=True)


def report_error(folder: Path, message: str, hint: str = "", *, missing: bool = False) -> None:
    """In a worker: why there is no result; `missing` if a program has to be installed first."""
    said = {"message": " ".join(message.split())[-_TAIL:], "hint": hint, "missing": missing}
    (folder / ERROR).write_text(json.dumps(said), encoding="utf-8")
