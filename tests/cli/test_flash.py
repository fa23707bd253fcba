"""`tinydeploy build` and `flash` for real boards, as far as no board is needed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tinydeploy.cli.main import run


def test_flash_shows_its_command_and_touches_nothing(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = str(root / "tests" / "models" / "dscnn_int8.tflite")
    out = tmp_path / "build"
    assert run(["build", model, "--device", "nrf52840-dk", "--out", str(out)]) == 0
    before = sorted(p.name for p in out.iterdir())
    capfd.readouterr()
    assert run(["flash", str(out), "--dry-run", "--probe", "0683"]) == 0
    words = shlex.split(capfd.readouterr().out)
    assert words[1:4] == ["-m", "pyocd", "load"]
    assert words[-3:] == ["--uid", "0683", str((out / "firmware.elf").resolve())]
    assert run(["flash", str(out), "--dry-run", "--protocol", "openocd", "--json"]) == 0
    way = json.loads(capfd.readouterr().out)
    assert way["protocol"] == "openocd" and way["command"][0] == "openocd"
    assert run(["flash", str(out), "--dry-run", "--protocol", "uf2"]) == 2
    assert "enough for: pyocd, openocd" in capfd.readouterr().err
    assert sorted(p.name for p in out.iterdir()) == before


def test_export_and_out_exclude_each_other(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = str(root / "tests" / "models" / "dscnn_int8.tflite")
    common = ["build", model, "--device", "nucleo-l4r5zi"]
    assert run(common) == 2
    both = ["--out", str(tmp_path / "a"), "--export", str(tmp_path / "b")]
    assert run([*common, *both]) == 2
    assert "give --out or --export" in capfd.readouterr().err
    assert run([*common, "--export", str(tmp_path / "b"), "--json"]) == 0
    exported = json.loads(capfd.readouterr().out)
    assert "platformio.ini" in exported["files"] and not (tmp_path / "a").exists()
