"""`tinydeploy ui`: the server and its worker end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = (
    "import subprocess, sys; w = subprocess.Popen(['sleep', '100']); "
    "print(w.pid, flush=True); w.wait()"
)
"""As MLflow's: it starts a worker, which outlives it if it is ended alone."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_no_worker_is_left(number: signal.Signals) -> None:
    command = [sys.executable, "-c", SERVER]
    code = (
        "import os, signal\nfrom tinydeploy.cli.commands import ui\n"
        # A shell's background jobs ignore it, and what they start inherits that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"ui._serve({command}, dict(os.environ))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        assert Path(f"/proc/{worker}").exists()
        os.kill(process.pid, number)
        process.stdout.read()  # ends when nobody can write to it any more
    assert process.returncode
