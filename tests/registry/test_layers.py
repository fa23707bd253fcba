"""What each layer takes, kept with the run on a board: written whole, checked, found by gc."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from family import BOARD, build, choose, measurement, registered, variant

from tinydeploy.errors import RegistryError
from tinydeploy.registry import garbage, layers
from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.integrity import verify
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.types import Build


def profile(*counts: int) -> dict[str, Any]:
    """What `profile --json` prints, of so many layers."""
    rows = [
        {"layer": n, "op": "CONV_2D", "output_shape": "1x4$x<b>", "instructions": count,
         "share": count / sum(counts)}
        for n, count in enumerate(counts)
    ]  # fmt: skip
    return {
        "board": BOARD, "unit": "instructions", "layers": rows, "whole": sum(counts) + 1,
        "sum_over_whole": 1.0, "origin": {"instructions": "emulated"},
    }  # fmt: skip


@pytest.fixture
def made(registry: MlflowRegistry, tmp_path: Path) -> Build:
    """One variant on one board, chosen; its build."""
    registered(registry, tmp_path, "int8")
    registry.select("family", choose(registry, "net-int8"))
    return build(tmp_path / f"int8-{BOARD}", variant(tmp_path, recipe="int8", seed=0)[1])


def record(registry: MlflowRegistry) -> BoardRecord:
    (found,) = registry.view("family").records
    return found


def folder(registry: MlflowRegistry) -> Path:
    return registry.run_folder("family", record(registry).run_id) / "profile"


def problems(registry: MlflowRegistry) -> list[str]:
    checked = verify(registry, "family")
    return [f"{p.file} {p.reason}" for c in checked for p in c.problems]


def test_it_is_kept_with_the_run(registry: MlflowRegistry, made: Build) -> None:
    before = record(registry)
    assert layers.read(registry, "family", before) is None
    registry.record_profile("family", "1", made, profile(300, 100))
    first = record(registry)
    assert dataclasses.replace(first, profile_sha256="") == before  # firmware and manifest stay
    assert layers.read(registry, "family", first) == profile(300, 100)
    picture = (folder(registry) / "layers.svg").read_text(encoding="utf-8")
    assert "75.0%" in picture and "instructions (emulated)" in picture and "<b>" not in picture
    assert problems(registry) == []
    # The same again changes nothing, a newer one replaces it.
    registry.record_profile("family", "1", made, profile(300, 100))
    assert record(registry) == first
    registry.record_profile("family", "1", made, profile(7))
    assert layers.read(registry, "family", record(registry)) == profile(7)
    assert problems(registry) == [] and garbage.find(registry, "family", garbage.Policy()) == []
    with pytest.raises(RegistryError, match="no run with the build 0000"):
        registry.record_profile(
            "family", "1", dataclasses.replace(made, build_id="0" * 64), profile(7)
        )


@pytest.mark.parametrize("name", ["profile.json", "layers.svg", "manifest.json"])
def test_a_changed_byte_is_found(registry: MlflowRegistry, made: Build, name: str) -> None:
    registry.record_profile("family", "1", made, profile(300, 100))
    data = bytearray((folder(registry) / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder(registry) / name).write_bytes(data)
    (problem,) = problems(registry)
    assert problem.startswith(f"profile/{name} ")
    with pytest.raises(RegistryError, match="was changed"):
        layers.read(registry, "family", record(registry))


def test_what_is_no_profile_is_found(registry: MlflowRegistry, made: Build) -> None:
    folder(registry).mkdir()
    assert problems(registry) == ["profile is not registered"]
    folder(registry).rmdir()
    model = registry.run_folder("family", registry.get("family", "1").run_id) / "model"
    (model / "profile").mkdir()
    assert problems(registry) == ["profile is not listed in the manifest"]
    (model / "profile").rmdir()
    registry.record_profile("family", "1", made, {**profile(3), "unit": "bananas", "origin": {}}
                            | {"layers": [{**profile(3)["layers"][0], "bananas": 1}]})  # fmt: skip
    with pytest.raises(RegistryError, match="cannot be read"):
        layers.read(registry, "family", record(registry))


def test_what_a_killed_process_leaves(
    registry: MlflowRegistry, made: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been killed in the middle: nothing uses what is there, gc takes it away."""
    registry.record_profile("family", "1", made, profile(300, 100))
    with monkeypatch.context() as patch:
        patch.setattr(layers.shutil, "copytree", lambda *a, **k: 1 / 0)  # type: ignore[attr-defined]
        with pytest.raises(ZeroDivisionError):
            registry.record_profile("family", "1", made, profile(7))
    assert layers.read(registry, "family", record(registry)) is None
    assert problems(registry) == []
    folder(registry).mkdir()
    (folder(registry) / "profile.json").write_text("{")
    assert problems(registry) == []
    (left,) = garbage.find(registry, "family", garbage.Policy())
    assert (left.kind, left.id) == ("profile", record(registry).run_id)
    garbage.remove(registry, [left], garbage.Policy(), lambda _: None)
    assert not folder(registry).exists() and record(registry).profile_sha256 == ""
    assert garbage.find(registry, "family", garbage.Policy()) == []
    registry.record_profile("family", "1", made, profile(7))
    assert layers.read(registry, "family", record(registry)) == profile(7)


def test_new_figures_of_the_build_leave_the_old_profile(
    registry: MlflowRegistry, made: Build
) -> None:
    """It is of the run that was replaced; gc removes both."""
    registry.record_profile("family", "1", made, profile(300, 100))
    old = record(registry).run_id
    registry.record("family", "1", made, measurement(made, instructions=(1, 2)))
    assert record(registry).profile_sha256 == ""
    assert problems(registry) == []
    (left,) = garbage.find(registry, "family", garbage.Policy())
    assert (left.kind, left.id) == ("artifacts", old)
    assert json.loads((folder(registry).parents[2] / old / "artifacts/profile/profile.json")
                      .read_text())["whole"] == 401  # fmt: skip
