"""A registry with one version of a small model, built for an emulated board, measured, selected."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import run

from tinydeploy import tflite

BOARD = "qemu-cortex-m4"


@pytest.fixture(scope="session")
def released_once(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The registry's root, and in it `build/` and `private.pem`, `public.pem`."""
    place = tmp_path_factory.mktemp("released")
    model = root / "tests" / "models" / "dscnn_int8.tflite"
    tensor = tflite.read_graph(model).tensors[tflite.read_graph(model).inputs[0]]
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 127, (6, *tensor.shape[1:]), np.int8, endpoint=True)
    np.savez(place / "data.npz", x=x, y=np.arange(6))
    run("build", model, "--device", BOARD, "--out", place / "build")
    run(
        "register", model, "--name", "kws", "--data", place / "data.npz", "--task", "classify",
        "--build", place / "build", "--samples", 2, "--registry", place,
    )  # fmt: skip
    run("select", "kws", "--device", BOARD, "--registry", place)
    return place


@pytest.fixture
def released(released_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `released_once`, to be changed: MLflow's absolute paths still lead to the original."""
    monkeypatch.setenv("TINYDEPLOY_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("TINYDEPLOY_REQUIRE_SIGNATURE", raising=False)
    shutil.copytree(released_once / "build", tmp_path / "build")
    return released_once
