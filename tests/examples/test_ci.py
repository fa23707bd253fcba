"""The recipes for CI: their own commands, on a model of the project, kept and broken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tinydeploy.devices.toolchain import PACKAGES

RECIPES = Path(__file__).resolve().parents[2] / "examples" / "ci"


def recipe(name: str) -> tuple[dict[str, str], list[str], list[str]]:
    """Variables, the commands that set a machine up, and those that judge the model."""
    data: dict[str, Any] = yaml.safe_load((RECIPES / name).read_text())
    if name == "github.yml":
        job = data["jobs"]["gate"]
        runs = [step["run"] for step in job["steps"] if "run" in step]
        return job["env"], runs[:2], runs[2:]
    job = data["gate"]
    return job["variables"], job["before_script"], job["script"]


def execute(commands: list[str], variables: dict[str, str], folder: Path, root: Path) -> int:
    """As the service does: bash, ending at the first failure, in a pipeline as well."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **variables, "PATH": path, "GITHUB_STEP_SUMMARY": "summary.md"}
    (folder / "tests").symlink_to(root / "tests")
    script = "\n".join(commands)
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script], cwd=folder, env=environment, check=False
    ).returncode


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml"])
def test_a_recipe_keeps_and_breaks_its_budget(name: str, tmp_path: Path, root: Path) -> None:
    variables, _, commands = recipe(name)
    kept, broken = tmp_path / "kept", tmp_path / "broken"
    kept.mkdir()
    broken.mkdir()
    assert execute(commands, variables, kept, root) == 0
    assert 'failures="0"' in (kept / "gate.xml").read_text()
    assert name != "github.yml" or "passed" in (kept / "summary.md").read_text()
    one = {"DEVICES": "--device qemu-cortex-m4", "LIMITS": "--max-instructions 1000"}
    assert execute(commands, variables | one, broken, root) == 8
    assert "instructions" in (broken / "gate.xml").read_text()


@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml"])
def test_a_recipe_installs_what_it_needs(name: str) -> None:
    _, setup, _ = recipe(name)
    for program in ("arm-none-eabi-gcc", "qemu-system-arm"):
        for package in PACKAGES[program].split():
            assert package in setup[0], package
    assert "pip install tinydeploy" in setup[1]
