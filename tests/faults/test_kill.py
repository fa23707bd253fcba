"""A deployment that is killed at any moment leaves nothing half done; run again, it completes."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from deployments import SOURCES, Project, make_project, versions

KILLS = 6


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path, "loopback")


def aliases(folder: Path) -> dict[str, str]:
    with sqlite3.connect(f"file:{folder / 'mlruns/mlflow.db'}?mode=ro", uri=True) as connection:
        rows = connection.execute("select alias, version from registered_model_aliases")
        return {alias: str(version) for alias, version in rows.fetchall()}


def test_killed_at_random_points(project: Project) -> None:
    process = subprocess.Popen(
        project.command(), env=project.environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    rng = random.Random(7)
    # The first kills come early, the later ones where an undisturbed run would be registering.
    for attempt in range(KILLS):
        time.sleep(rng.uniform(0.3, 1.5 + 1.5 * attempt))
        process.send_signal(signal.SIGKILL)
        process.wait()
        versions(project.folder)  # asserts that those that are there are whole
        process = subprocess.Popen(
            project.command(), env=project.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    process.kill()
    process.wait()

    done = project.deploy()
    assert done.returncode == 0, done.stderr
    chosen = json.loads(done.stdout)["selections"][0]["chosen"]
    found = versions(project.folder)
    assert len(found) == len({v for v, _ in found}) == len(SOURCES)
    assert aliases(project.folder) == {"loopback": chosen["version"]}


@pytest.mark.usefixtures("own_cache")
def test_an_unchanged_run_does_no_work_twice(project: Project) -> None:
    first = project.deploy()
    assert first.returncode == 0, first.stderr
    second = project.deploy()
    assert second.returncode == 0, second.stderr
    stages = json.loads(second.stdout)["seconds"]
    for stage in ("convert", "evaluate", "build", "measure"):
        assert stages[stage]["calls"] == stages[stage]["cached"] > 0, stage
    without_times = [
        {k: v for k, v in json.loads(run.stdout).items() if k != "seconds"}
        for run in (first, second)
    ]
    assert without_times[0] == without_times[1]
    assert len(versions(project.folder)) == len(SOURCES)
