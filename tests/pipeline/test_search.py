"""The search: its space, and whole runs on the native board with small models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.cli import wiring
from tinydeploy.config import Config, DataConfig, LimitsConfig
from tinydeploy.errors import UsageError
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.search import Budget, SearchResult, search
from tinydeploy.pipeline.search_space import (
    SETTINGS,
    SourceCost,
    promising,
    recipe_of,
    settings_for,
    too_large,
    usual,
)
from tinydeploy.tflite import read_graph
from tinydeploy.types import Constraints


# ---------------------------------------------------------------- the space
def test_the_usual_settings_are_the_recipe_int8() -> None:
    found = recipe_of(usual())
    assert dataclasses.replace(found, description="") == dataclasses.replace(
        load_recipe("int8"), description=""
    )


def test_every_choice_is_a_recipe_with_a_name_of_its_own() -> None:
    import itertools

    names: dict[str, str] = {}
    for values in itertools.product(*SETTINGS.values()):
        recipe = recipe_of(dict(zip(SETTINGS, values, strict=True)))
        text = repr(dataclasses.replace(recipe, description=""))
        assert names.setdefault(recipe.name, text) == text
    assert len(names) == 2 * 2 * 3 * 5 + 1
    assert len(settings_for("balanced")["weights"]) == 1


def costs(*sizes: tuple[int, bool]) -> list[SourceCost]:
    return [SourceCost(f"n{m}", Path(), m, 0, 0, fits) for m, fits in sizes]


def test_of_what_fits_the_half_that_computes_most() -> None:
    found = promising(costs((1, True), (2, True), (3, True), (4, True), (5, True), (9, False)))
    assert [c.macs for c in found] == [5, 4, 3]
    assert [c.macs for c in promising(costs((1, True), (2, False)))] == [1]
    assert promising(costs((2, False))) == []


def test_what_is_too_large_before_it_is_built() -> None:
    limits = Constraints(max_ram_bytes=100, board_ram_bytes=50, board_flash_bytes=10)
    assert "needs at least 51 B of RAM, 50 B" in too_large(51, 0, limits)
    assert "11 B of flash" in too_large(50, 11, limits)
    assert too_large(50, 10, limits) == ""


# ---------------------------------------------------------------- whole runs
@pytest.fixture
def config(root: Path, tmp_path: Path) -> Config:
    models = [root / f"tests/models/{n}_float32.tflite" for n in ("dscnn", "conv1d")]
    shape = read_graph(models[0]).tensors[read_graph(models[0]).inputs[0]].shape[1:]
    x = np.random.default_rng(0).normal(size=(24, *shape)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=x, y=np.arange(24) % 3)
    return Config(
        name="found",
        sources=(models[0],),
        devices=("loopback",),
        data=DataConfig(validation=tmp_path / "data.npz", calibration=tmp_path / "data.npz"),
        registry=tmp_path,
        work=tmp_path / "work",
    )


def run(config: Config, trials: int) -> tuple[SearchResult, list[str]]:
    said: list[str] = []
    devices = wiring.devices(config.devices)
    store = wiring.registry(config.registry)
    result = search(
        config, devices, wiring.tools(config, store), config.work / "search.db",
        Budget(10, trials), said.append,
    )  # fmt: skip
    return result, said


def test_it_goes_on_where_it_was_and_registers_what_it_measured(config: Config) -> None:
    first, _ = run(config, 2)
    assert first.trials[0].variant == "dscnn_float32-int8"
    assert all(t.metric is not None and t.flash_bytes and not t.ended for t in first.trials)
    more, said = run(config, 4)
    assert more.trials[:2] == first.trials and len(more.trials) == 4
    assert len({t.variant for t in more.trials}) == 4
    assert sum(line.startswith("build ") for line in said) == 2
    (selection,) = more.deployment.selections
    assert {c.name for c in selection.candidates} == {t.variant for t in more.trials}
    assert selection.chosen and selection.chosen.version
    smallest = min(t.flash_bytes or 0 for t in more.trials)
    assert selection.chosen.flash_bytes == smallest


def test_nothing_is_built_of_what_cannot_fit(config: Config) -> None:
    tight = dataclasses.replace(config, limits=LimitsConfig(max_ram_bytes=64))
    with pytest.raises(UsageError, match="no source fits loopback"):
        run(tight, 2)
    assert not (config.work / "build").exists()


def test_it_needs_a_calibration_set(config: Config) -> None:
    without = dataclasses.replace(config, data=DataConfig(config.data.validation))
    with pytest.raises(UsageError, match="calibration"):
        run(without, 1)
