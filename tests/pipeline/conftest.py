"""Helpers beside the tests of this room can be imported; Keras models as files."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.types import Artifact

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the files of `keras_samples`."""
    import keras_samples

    out = tmp_path_factory.mktemp("keras_files")
    keras_samples.save_all(out)
    return out


@pytest.fixture
def convert_file(keras_files: Path, tmp_path: Path) -> Callable[..., Artifact]:
    """Converts one of them by a recipe; options as those of `convert`."""
    from keras_samples import PIXELS, pixels

    def one(name: str, recipe: str, **options: Any) -> Artifact:
        options = {"calibration": pixels(), "description": PIXELS, **options}
        source = load_source(keras_files / name)
        return convert(source, load_recipe(recipe), tmp_path / "out", **options)

    return one
