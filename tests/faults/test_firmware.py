"""Firmware that hangs, crashes or floods garbage: a clear error, the rest of the work is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deployments import SOURCES, make_project, versions


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("fault", "words"),
    [("hang@3", "answer"), ("crash@3", "crashed"), ("exit@3", ""), ("flood@3", "")],
)
def test_a_deployment_survives_broken_firmware(fault: str, words: str, tmp_path: Path) -> None:
    project = make_project(tmp_path, "broken", fault)
    done = project.deploy()
    assert done.returncode == 6, done.stderr
    assert "Traceback" not in done.stderr
    assert "hint: " in done.stderr
    assert words in done.stderr
    result = json.loads(done.stdout)
    assert len(result["failures"]) == len(SOURCES)
    selection = result["selections"][0]
    assert selection["chosen"] is None
    assert set(selection["reasons"]) == {f"{s}-as-is" for s in SOURCES}
    assert len(versions(tmp_path)) == len(SOURCES)  # accuracy is known and kept
