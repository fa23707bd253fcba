"""What `tinydeploy convert` says about compression."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tinydeploy.cli.main import cli

RECIPE = """name = "lean"
description = "At most nine tenths of int8's bytes."
activations = "int8"
weights = "mixed"
calibration_samples = 20
[mixed]
max_weight_share = 0.9
"""


@pytest.fixture
def words(root: Path, tmp_path: Path) -> list[str]:
    x = np.random.default_rng(0).normal(size=(40, 10, 10, 3)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    (tmp_path / "lean.toml").write_text(RECIPE)
    model = root / "tests/models/resnet_float32.tflite"
    return ["convert", str(model), "--recipe", str(tmp_path / "lean.toml"), "--calibration",
            str(tmp_path / "x.npz"), "--out", str(tmp_path / "out")]  # fmt: skip


def test_layers_and_samples_are_reported(words: list[str]) -> None:
    text = CliRunner().invoke(cli, words, catch_exceptions=False).stdout
    found = CliRunner().invoke(cli, [*words, "--json"], catch_exceptions=False)
    artifact = json.loads(found.stdout)
    calibration, mix = artifact["calibration"], artifact["mix"]
    assert (calibration["samples"], calibration["available"]) == (20, 40)
    assert [effect["samples"] for effect in calibration["effects"]] == [10, 40]
    assert "calibrated on 20 of 40 samples\n  on 10 instead: ranges of activations move" in text
    assert f"{round(20 * calibration['effects'][0]['outputs']['changed'])} of 20 classes" in text
    assert f"weights {mix['weight_bytes']:,} B, int8 {mix['int8_weight_bytes']:,} B" in text
    assert "where they save more than the kernels take that unpack them" in text
    for layer in mix["layers"]:
        row = next(line for line in text.splitlines() if line.endswith(layer["name"][-37:]))
        assert row.split()[:3] == [str(layer["layer"]), layer["op"], layer["weights"]]
        assert f"{100 * layer['alone']['error']:.2f} %" in row


def test_the_effect_of_calibration_can_be_left_out(words: list[str]) -> None:
    quick = [*words, "--no-calibration-effect"]
    text = CliRunner().invoke(cli, quick, catch_exceptions=False).stdout
    assert "calibrated on 20 of 40 samples" in text and "instead" not in text
