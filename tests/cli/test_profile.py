"""`profile`, and what the `tflm` engine adds to the commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import answer

from tinydeploy.cli.main import cli, run
from tinydeploy.errors import NoSufficientVariantError
from tinydeploy.tflite import read_graph

INT8 = Path(__file__).resolve().parents[1] / "models" / "dscnn_int8.tflite"
LOOPBACK = "loopback"


@pytest.fixture
def x(tmp_path: Path) -> Path:
    graph = read_graph(INT8)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(2).integers(-128, 128, (2, *shape), dtype=np.int8))
    return path


@pytest.mark.qemu
def test_profile_adds_up(x: Path) -> None:
    found = answer("profile", INT8, "--device", "qemu-cortex-m4", "--input", x)
    assert found["sum"] == sum(layer["instructions"] for layer in found["layers"])
    assert 0.99 < found["sum_over_whole"] < 1.01
    first = found["layers"][0]
    assert first["op"] == "CONV_2D" and first["macs"] > 0
    assert first["per_mac"] == first["instructions"] / first["macs"]
    assert 0 < first["share"] < 1 and first["classes"] and first["functions"]


@pytest.mark.qemu
def test_profile_shows_where_the_slowest_layer_spends_it(x: Path) -> None:
    words = ["profile", str(INT8), "--device", "qemu-cortex-m4", "--input", str(x)]
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0
    assert "the slowest: layer" in result.stdout and "function" in result.stdout


@pytest.mark.parametrize("slack", [0, 100])
def test_tflm_gets_the_least_arena_that_allocates(
    tflm_stub: Path, tmp_path: Path, x: Path, slack: int
) -> None:
    sizes = tflm_stub / "stub_sizes.h"
    sizes.write_text(sizes.read_text().replace("SlackBytes = 0", f"SlackBytes = {slack}"))
    found = answer(
        "run", INT8, "--device", LOOPBACK, "--engine", "tflm", "--tflm-lib", tflm_stub,
        "--input", x, "--output", tmp_path / "y.npy",
    )  # fmt: skip
    assert found["engine"] == "tflm"
    assert found["ram"]["arena"] == 4096 + (128 if slack else 0)
    y, given = np.load(tmp_path / "y.npy"), np.load(x)
    np.testing.assert_array_equal(y, np.invert(given.reshape(2, -1)[:, : y.shape[1]]))


def test_tflm_without_a_library_says_what_it_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TINYDEPLOY_TFLM_LIB", raising=False)
    out = tmp_path / "build"
    words = ["build", str(INT8), "--device", LOOPBACK, "--engine", "tflm", "--out", str(out)]
    assert run(words) == 2
    assert "hint: --tflm-lib or TINYDEPLOY_TFLM_LIB" in capsys.readouterr().err
    assert not out.exists()


def test_deploy_builds_around_the_library_that_the_file_names(
    tflm_stub: Path, tmp_path: Path
) -> None:
    """The stub computes nothing, so its variant is measured and rejected for its outputs."""
    graph = read_graph(INT8)
    shape = graph.tensors[graph.inputs[0]].shape[1:]
    rng = np.random.default_rng(3)
    x = rng.normal(size=(4, *shape)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(4))
    config = tmp_path / "tinydeploy.toml"
    config.write_text(
        f"""
name = "stub"
sources = ["{INT8}"]
devices = ["{LOOPBACK}"]
recipes = ["int8"]
engine = "tflm"
tflm_lib = "{tflm_stub.name}"
data = {{ validation = "data.npz", calibration = "data.npz" }}
"""
    )
    words = ["deploy", "--config", str(config), "--json"]
    result = CliRunner().invoke(cli, words)
    found = json.loads(result.stdout)
    assert isinstance(result.exception, NoSufficientVariantError)
    (variant,) = found["variants"]
    (board,) = variant["boards"]
    assert board["build"]["engine"] == "tflm"
    assert board["build"]["footprint"]["ram"]["arena"] == 4096
    assert board["measurement"]["outputs_compared"] == 3
