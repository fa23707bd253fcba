"""A selection in MLflow: aliases, tags and reasons, and what becomes of those before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from family import BOARD, build, choose, client_of, measurement, registered, variant

from tinydeploy.errors import RegistryError
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.types import Candidate, Constraints, Selection


def test_the_choice_is_the_alias(registry: MlflowRegistry, tmp_path: Path) -> None:
    runs = registered(registry, tmp_path, "float32", "int8")
    limits = Constraints(min_metric=0.5, board_ram_bytes=16_384)
    selection = choose(registry, "net-int8")
    registry.select("family", selection, limits)
    client = client_of(registry)
    chosen = client.get_model_version_by_alias("family", BOARD)
    assert str(chosen.version) == runs["int8"][0]
    assert chosen.tags[f"selected.{BOARD}"] == runs["int8"][1]
    assert client.get_run(runs["float32"][1]).data.tags["reason"] == "not net-int8"
    assert registry.selection("family", BOARD) == selection
    assert registry.view("family").constraints(BOARD) == limits
    assert registry.resolve(f"models:/family@{BOARD}").sha256 == chosen.tags["model_sha256"]
    assert registry.resolve(f"family/{runs['float32'][0]}").recipe == "float32"


def test_another_choice_replaces_the_first(registry: MlflowRegistry, tmp_path: Path) -> None:
    runs = registered(registry, tmp_path, "float32", "int8")
    for name in ("net-int8", "net-float32"):
        selection = choose(registry, name)
        registry.select("family", selection)
        assert registry.selection("family", BOARD) == selection
    assert registry.get("family", runs["int8"][0]).selected == {}
    assert registry.view("family").aliases == {BOARD: runs["float32"][0]}
    nothing = choose(registry, None)
    registry.select("family", nothing)
    assert registry.selection("family", BOARD) == nothing
    assert registry.view("family").aliases == {}
    with pytest.raises(RegistryError, match="no version of family is selected"):
        registry.resolve(f"family@{BOARD}")


def test_boards_do_not_disturb_each_other(registry: MlflowRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, "float32", "int8")
    registered(registry, tmp_path, "float32", "int8", board="qemu-rv32")
    first, second = choose(registry, "net-int8"), choose(registry, "net-float32", "qemu-rv32")
    registry.select("family", first)
    registry.select("family", second)
    assert registry.selection("family", BOARD) == first
    assert registry.selection("family", "qemu-rv32") == second
    description = client_of(registry).get_registered_model("family").description
    row = next(line for line in description.splitlines() if line.startswith("| net-int8"))
    assert row.count("**") == 2  # selected on one of the two boards


def test_a_variant_that_was_not_built_keeps_its_reason(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, "int8")
    registry.register("family", *variant(tmp_path, recipe="float16", seed=9))
    blocked = next(c for c in registry.candidates("family", BOARD) if c.blocked)
    assert (blocked.name, blocked.flash_bytes) == ("net-float16", None)
    selection = choose(registry, "net-int8")
    registry.select("family", selection)
    found = registry.selection("family", BOARD)
    assert found is not None
    assert found.reasons["net-float16"] == "not net-int8"


def test_a_replaced_version_is_no_longer_chosen(registry: MlflowRegistry, tmp_path: Path) -> None:
    runs = registered(registry, tmp_path, "int8")
    registry.select("family", choose(registry, "net-int8"))
    model = variant(tmp_path, seed=7)
    version = registry.register("family", *model)
    made = build(tmp_path / "new", model[1])
    registry.record("family", version, made, measurement(made))
    registry.select("family", choose(registry, "net-int8"))
    assert registry.view("family").aliases == {BOARD: version}
    assert registry.get("family", runs["int8"][0]).selected == {}
    old = next(r for r in registry.view("family").records if r.run_id == runs["int8"][1])
    assert (old.selection, old.pareto) == ("rejected", False)


def test_what_is_not_registered_cannot_be_selected(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    candidate = Candidate("net-int8", "0" * 64, "accuracy", 0.5)
    selection = Selection(BOARD, "flash", candidate, (candidate,), (), {})
    with pytest.raises(RegistryError, match="net-int8 is selected for"):
        registry.select("family", selection)
    registry.select("family", dataclasses.replace(selection, chosen=None))
    assert registry.models() == []
