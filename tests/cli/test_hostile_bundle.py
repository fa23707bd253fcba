"""Bundles whose hashes are all right, and whose author wishes us ill: refused, nothing is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tinydeploy.cli.main import run
from tinydeploy.registry import archive
from tinydeploy.registry.manifest import read_manifest, write_manifest
from tinydeploy.store import sha256_file

TARGET = "kws@qemu-cortex-m4"


@pytest.fixture(scope="module")
def bundle(released_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "kws.zip"
    assert run(["export", TARGET, "-o", str(out), "--registry", str(released_once)]) == 0
    return out


def repacked(bundle: Path, scratch: Path, file: str, keys: tuple[str, ...], value: Any) -> Path:
    """The bundle with one value of a JSON file replaced (no key: all of it) and all re-hashed."""
    folder = scratch / "unpacked"
    archive.unpack(bundle, folder)
    path = folder / file
    said = json.loads(path.read_text())
    place = said
    for key in keys[:-1]:
        place = place[key]
    if keys:
        place[keys[-1]] = value
    path.write_text(json.dumps(said) if keys else value)
    of_model = read_manifest(folder / "model")["lineage"]
    of_model["evaluation_sha256"] = sha256_file(folder / "evaluation.json")
    write_manifest(folder / "model", "variant", of_model)
    write_manifest(folder / "firmware", "board", read_manifest(folder / "firmware")["lineage"])
    lineage = read_manifest(folder)["lineage"]
    for part in ("model", "firmware"):
        lineage[f"{part}_manifest_sha256"] = sha256_file(folder / part / "manifest.json")
    write_manifest(folder, "bundle", lineage)
    archive.pack(folder, scratch / "hostile.zip")
    return scratch / "hostile.zip"


NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("file", "keys", "value"),
    [
        ("choice.json", ("selection",), '{"objective": 3}'),
        ("choice.json", ("selection",), '{"objective": "evil"}'),
        ("choice.json", ("selection",), '{"objective": "flash", "max_loss": "x"}'),
        ("choice.json", ("selection",), '{"objective": "flash", "max_loss": NaN}'),
        ("choice.json", (), NESTED),
        ("evaluation.json", ("value",), "0.9"),
        ("evaluation.json", ("value",), float("nan")),
        ("evaluation.json", ("value",), float("inf")),
        ("evaluation.json", ("correct",), ["1"]),
        ("evaluation.json", ("samples",), 10**400),
        ("evaluation.json", (), NESTED),
        ("firmware/build.json", ("footprint", "flash_bytes"), "1"),
        ("firmware/build.json", ("footprint", "ram", "arena"), None),
        ("firmware/build.json", (), NESTED),
        ("firmware/measurement.json", ("outputs_equal",), True),
        ("firmware/measurement.json", ("instructions",), [{}]),
        ("firmware/measurement.json", ("origin",), {"instructions": "invented"}),
        ("firmware/manifest.json", ("lineage", "tools"), {"keras": None}),
        ("firmware/manifest.json", ("lineage", "engine"), "aot"),
        ("model/artifact.json", ("size_bytes",), "<script>"),
        ("model/manifest.json", ("lineage", "data", "validation", "samples"), "many"),
        ("model/manifest.json", ("lineage", "source"), {"name": "x"}),
    ],
)
def test_what_makes_no_sense_is_refused(
    bundle: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    keys: tuple[str, ...],
    value: Any,
) -> None:
    hostile = repacked(bundle, tmp_path, file, keys, value)
    code = run(["import", str(hostile), "--registry", str(tmp_path / "other")])
    assert code in (2, 7), capsys.readouterr().err
    assert not (tmp_path / "other" / "mlruns").exists()


def test_a_manifest_that_nests_too_deeply(bundle: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    for name in ("manifest.json", "signature.json"):
        archive.unpack(bundle, folder / name)
        (folder / name / name).write_text(NESTED)
        archive.pack(folder / name, tmp_path / "hostile.zip")
        assert run(["verify", str(tmp_path / "hostile.zip")]) == 7
