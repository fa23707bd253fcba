"""README.md and docs/ cannot rot: their `--help` blocks and transcripts are run and compared."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tinydeploy.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
README = PAGES["README.md"]
TRANSCRIPT = re.compile(r"```console\n(.*?)```", re.S)


def sessions() -> list[tuple[str, str]]:
    """(command, expected output) of every `$ tinydeploy …` in a console block of any page."""
    found = []
    for block in TRANSCRIPT.findall("\n".join(PAGES.values())):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, _, output = part.partition("\n")
            found.append((command.strip(), output.strip()))
    return found


def run(command: str) -> str:
    words = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-c", "from tinydeploy.cli.main import main; main()", *words[1:]],
        cwd=ROOT, env={**os.environ, "COLUMNS": "80"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout.strip()


QUICK = [
    (c, o)
    for c, o in sessions()
    if c.startswith("tinydeploy ") and not c.startswith("tinydeploy deploy")
]


def test_there_are_transcripts() -> None:
    assert len(QUICK) >= 3


@pytest.mark.parametrize(("command", "output"), QUICK, ids=[c for c, _ in QUICK])
def test_transcript_is_what_the_command_prints(command: str, output: str) -> None:
    assert run(command) == output


def test_every_command_is_in_the_readme() -> None:
    for name in COMMANDS:
        assert f"`tinydeploy {name}" in README or f"$ tinydeploy {name}" in README, name


def test_every_page_is_reached_from_the_readme() -> None:
    for page in PAGES:
        assert page == "README.md" or f"]({page}" in README, page


@pytest.mark.parametrize("page", PAGES)
def test_every_link_to_a_file_exists(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target


def test_every_dependency_is_named() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=\[ ]", requirement)[0]
        assert name.lower() in README.lower(), name
