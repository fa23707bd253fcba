"""`profile NAME@BOARD`: in the registry, the report, the bundle, and checked everywhere."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from commands import answer

from tinydeploy.cli.main import run as exit_code
from tinydeploy.registry.mlflow import MlflowRegistry

BOARD = "qemu-cortex-m4"
TARGET = f"kws@{BOARD}"
PARTS = {f"firmware/profile/{name}" for name in ("profile.json", "layers.svg", "manifest.json")}


def anatomy(root: Path, out: Path) -> Any:
    found = answer("report", "kws", "--registry", root, "-o", out)
    return found["report"]["anatomies"][0]


@pytest.mark.qemu
def test_a_profile_is_kept(released: Path, tmp_path: Path, capsys: Any) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for root in (here, there):  # before: without a profile
        answer("export", TARGET, "-o", tmp_path / "plain.zip", "--registry", released)
        answer("import", tmp_path / "plain.zip", "--registry", root)
    assert anatomy(here, tmp_path / "r.html")["unit"] == ""
    made = answer("profile", TARGET, "--registry", here)
    assert (made["model"], made["version"]) == ("kws", "1")
    assert 0.99 < made["sum_over_whole"] < 1.01
    (record,) = MlflowRegistry(here).view("kws").records

    shown = anatomy(here, tmp_path / "r.html")
    assert (shown["unit"], shown["origin"], shown["note"]) == ("instructions", "emulated", "")
    assert [r["cost"] for r in shown["layers"]] == [r["instructions"] for r in made["layers"]]
    assert "instructions (emulated)" in (tmp_path / "r.html").read_text()

    # It travels, also to where the run is already; and back there are the same bytes.
    answer("export", TARGET, "-o", tmp_path / "a.zip", "--registry", here)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert set(archive.namelist()) >= PARTS
    answer("import", tmp_path / "a.zip", "--registry", there)
    answer("import", tmp_path / "a.zip", "--registry", tmp_path / "new")
    for root in (there, tmp_path / "new"):
        assert not any(c["problems"] for c in answer("verify", "kws", "--registry", root))
        assert anatomy(root, tmp_path / "r.html") == shown
        answer("export", TARGET, "-o", tmp_path / "b.zip", "--registry", root)
        assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()

    # A changed byte: verify, export and the report say so; the firmware is none the worse.
    path = MlflowRegistry(here).run_folder("kws", record.run_id) / "profile" / "layers.svg"
    path.write_bytes(path.read_bytes().replace(b"CONV_2D", b"CONV_3D", 1))
    capsys.readouterr()
    for words in (["verify", "kws"], ["export", TARGET, "-o", str(tmp_path / "c.zip")]):
        assert exit_code([*words, "--registry", str(here)]) == 7
        assert "profile/layers.svg has the sha256" in capsys.readouterr().err
    assert "was changed" in anatomy(here, tmp_path / "r.html")["note"]
    assert answer("profile", TARGET, "--registry", here) == made
    assert anatomy(here, tmp_path / "r.html") == shown


def test_bad_input(released: Path, capsys: Any) -> None:
    place = ["--registry", str(released)]
    for words, code, message in (
        (["kws.tflite"], 2, "no board is named"),
        ([TARGET, "--engine", "aot"], 2, "those of the registered firmware"),
        (["kws@nano"], 7, "no version of kws is selected for nano"),
        (["kws/1", "--device", "nano"], 7, "has no firmware for nano"),
        (["other@nano"], 7, "no model called 'other'"),
    ):
        assert exit_code(["profile", *words, *place]) == code
        assert message in capsys.readouterr().err
