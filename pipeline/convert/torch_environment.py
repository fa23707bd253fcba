"""An environment of its own for PyTorch: litert-torch cannot share one with TensorFlow."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tinydeploy.errors import ToolMissingError
from tinydeploy.store import cache_dir, sha256_bytes

REQUIREMENTS = "litert-torch==0.10.0\ntorch==2.14.1\n"
"""Versions that were seen to work together."""

VARIABLE = "TINYDEPLOY_TORCH_PYTHON"
"""Names the Python of an environment with litert-torch that the user keeps."""

_HINT = "run `tinydeploy doctor --install torch` (several GB), or set TINYDEPLOY_TORCH_PYTHON"


def folder() -> Path:
    """Where the environment is, or would be; its name changes with its requirements."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    key = sha256_bytes(f"{version}\n{REQUIREMENTS}".encode())[:12]
    return cache_dir() / "environments" / f"torch-{key}"


def find() -> Path | None:
    """The environment's Python, or None while there is none."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    python = folder() / "bin" / "python"
    return python if (folder() / ".complete").exists() and python.exists() else None


def require() -> Path:
    """The environment's Python. Raises ToolMissingError saying how to make it."""
    python = find()
    if python is None or not python.exists():
        raise ToolMissingError("the PyTorch environment is not installed", hint=_HINT)
    return python


def install() -> Path:
    """Make the environment, once, whoever else asks; pip's progress goes to standard error.

    Raises ToolMissingError when pip fails; a half-made environment is made anew the next time.
    """
    target = folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (target / ".complete").exists():
            return target / "bin" / "python"
        shutil.rmtree(target, ignore_errors=True)
        venv.create(target, with_pip=True)
        python = target / "bin" / "python"
        listed = target / "requirements.txt"
        listed.write_text(REQUIREMENTS, encoding="utf-8")
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-r", str(listed)],
            stdout=sys.stderr, check=False,
        )  # fmt: skip
        if done.returncode:
            raise ToolMissingError(
                "pip could not install litert-torch (see above)",
                hint="check the network and the free space, and try again",
            )
        (target / ".complete").touch()
        return python
