"""Fixtures for all rooms."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of models and data that are not part of the project, or skip."""
    folder = Path(os.environ.get("TINYDEPLOY_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip("needs ../shared (models and data that are not part of the project)")
    return folder
