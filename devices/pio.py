"""Runs PlatformIO: without network, without the user's settings, its errors in plain words."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tinydeploy.errors import DeviceError, ToolMissingError

_SHOWN_ERRORS = 5
_ERROR = re.compile(r"(error: |undefined reference|multiple definition|No such file|Error[:` ])")


def environment(kept: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run: quiet, offline as far as it goes; `kept` is added."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    return plain | {
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "9999",
        "PLATFORMIO_SETTING_CHECK_PRUNE_SYSTEM_THRESHOLD": "0",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
        "CI": "true",
        **kept,
    }


def run(
    folder: Path,
    name: str,
    timeout_s: float,
    kept: Mapping[str, str],
    *,
    lock: int,
    translate: Callable[[str], Exception],
    target: tuple[str, ...] = (),
) -> None:
    """`pio run` for the environment `name` of a project; all that it started ends with it.

    `lock` is an open file that the run holds, so that one that outlives us keeps others out.
    Raises what `translate` makes of its output, DeviceError if it does not start or end.
    """
    command = [sys.executable, "-m", "platformio", "run", "--silent", "--environment", name]
    try:
        process = subprocess.Popen(
            [*command, *target],
            cwd=folder,
            env=environment(kept),
            pass_fds=(lock,),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as e:
        raise DeviceError(f"PlatformIO does not start: {e}", hint="install platformio") from e
    with process:
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as e:
            os.killpg(process.pid, signal.SIGKILL)
            raise DeviceError(
                f"PlatformIO did not finish within {timeout_s:g} s",
                hint=f"run `pio run` in {folder} to see where it stays",
            ) from e
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise translate(said)


def failure(said: str, folder: Path, board: str) -> Exception:
    """The error behind what PlatformIO, the compiler or the linker said."""
    if "No module named platformio" in said:
        return ToolMissingError("PlatformIO is not installed", hint="pip install platformio scons")
    if "No module named 'SCons'" in said:
        return ToolMissingError("SCons is not installed", hint="pip install scons")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)] or lines[-_SHOWN_ERRORS:]
    shown = "\n".join(errors[:_SHOWN_ERRORS]) or "it said nothing"
    return DeviceError(
        f"the firmware for {board} does not build:\n{shown}",
        hint=f"run `pio run` in {folder} for the whole output",
    )
