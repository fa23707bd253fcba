"""An empty registry for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tinydeploy.registry.folder import MlflowFolder
from tinydeploy.registry.mlflow import MlflowRegistry


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database with nothing in it: its migrations run once a session."""
    folder = MlflowFolder(tmp_path_factory.mktemp("empty"))
    with folder.locked():
        pass
    return folder.database


@pytest.fixture
def registry(tmp_path: Path, empty_database: Path) -> MlflowRegistry:
    """A registry with nothing in it."""
    made = MlflowRegistry(tmp_path / "root")
    made.folder.folder.mkdir(parents=True)
    shutil.copyfile(empty_database, made.folder.database)
    return made
