"""Fixtures of this folder. Its helpers become importable: with importlib mode pytest does not."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

from builds import SMALL_MODEL, Small, build_small
from td_line import SANITIZERS
from toy import compile_toy


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """The small model built for a board, once a board."""
    return functools.cache(
        lambda board: build_small(SMALL_MODEL, board, tmp_path_factory.mktemp(board))
    )


@pytest.fixture(scope="session")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy firmware under the sanitizers; modules with another of their own override it."""
    out = tmp_path_factory.mktemp("toy") / "firmware"
    return compile_toy(out, *SANITIZERS, "-DTD_PORT_HAS_ENERGY")
