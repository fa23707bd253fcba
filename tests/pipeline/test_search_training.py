"""Trainings as a setting of the search: estimated before, trained once, stopped and gone on."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from training_runs import images

from tinydeploy.cli import wiring
from tinydeploy.config import Config, DataConfig, LimitsConfig
from tinydeploy.errors import UsageError
from tinydeploy.pipeline.data import Dataset, load_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.search import SEED, Budget, search
from tinydeploy.pipeline.search_board import BoardSearch, Trial
from tinydeploy.pipeline.search_sources import Origin, origins_of
from tinydeploy.pipeline.search_space import SourceCost, promising, recipe_of, usual
from tinydeploy.pipeline.search_training import short_name, trainings, with_training
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.supernet import Net
from tinydeploy.pipeline.supernet.space import Choice
from tinydeploy.pipeline.train.libraries import save
from tinydeploy.pipeline.train.uniform import uniform

FEW = {
    "activations": ("int8", "float32"),
    "granularity": ("channel",),
    "ranges": ("min-max",),
    "weights": ("as they are",),
}


@pytest.fixture(autouse=True)
def _cache(own_cache: Path) -> None:
    """Trainings of the test's own."""


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    layers = keras.layers
    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    return save(net, tmp_path_factory.mktemp("net") / "net.keras")


@pytest.fixture
def config(keras_file: Path, tmp_path: Path) -> Config:
    paths = []
    for seed, name in enumerate(("validation", "calibration", "training")):
        x, y = images(96, seed)
        paths.append(tmp_path / f"{name}.npz")
        np.savez(paths[-1], x=x, y=y)
    return Config(
        name="found", sources=(keras_file,), devices=("loopback",), data=DataConfig(*paths),
        registry=tmp_path, work=tmp_path / "work",
    )  # fmt: skip


def board_of(config: Config, *trained: str) -> BoardSearch:
    ways = {name: way for name, way in trainings(1, print).items() if name in trained}
    (device,) = wiring.devices(config.devices).values()
    tools = wiring.tools(config, wiring.registry(config.registry))
    origins = origins_of(config.sources, False, ways)
    return BoardSearch(config, device, tools, origins, FEW, print)


# ---------------------------------------------------------------- the space
def test_each_training_is_a_recipe_of_the_package_with_a_name_of_its_own() -> None:
    ways = trainings(1, print)
    assert ways["distill@0.25"] == replace(
        load_recipe("distill").training or pytest.fail(), epochs=1, macs=0.25
    )
    assert ways["slim@0.5"].epochs == 2
    recipes = [
        with_training({"trained": trained, **usual(), "activations": activations}, way)
        for trained, way in ways.items()
        for activations in ("int8", "int16", "float32")
    ]
    names = {r.name: r for r in recipes}
    assert {"distill25-int8", "pruned-channels75-int16x8", "slim50-float32"} <= set(names)
    assert len(names) == 3 * len(ways) - (2 if "qat" in ways else 0)
    assert all(recipe == names[recipe.name] or "qat" in recipe.name for recipe in recipes)
    if "qat" in ways:
        described = {"name": "", "description": "", "training": None}
        assert replace(names["qat-int8"], **described) == replace(  # type: ignore[arg-type]
            load_recipe("int8-qat"), **described
        )
    untrained = with_training({"trained": "none", **usual()}, None)
    assert untrained == recipe_of({"trained": "none", **usual()})
    assert short_name("distill@0.5") == "distill50" and short_name("qat") == "qat"


def test_a_source_comes_with_all_of_its_trainings_that_fit() -> None:
    costs = [
        SourceCost(name, Path(), macs, 0, 0, fits, trained_from)
        for name, macs, fits, trained_from in (
            ("a", 9, False, ""), ("a-distill50", 4, True, "a"), ("a-distill25", 2, True, "a"),
            ("b", 3, True, ""), ("b-qat", 3, True, "b"), ("c", 1, True, ""),
        )
    ]  # fmt: skip
    chosen = [c.name for c in promising(costs)]
    assert chosen == ["a-distill50", "b", "b-qat", "a-distill25"]


def test_the_stand_in_has_the_share_and_the_same_bytes_twice(
    keras_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    from tinydeploy.pipeline.train.work import macs

    source = load_source(keras_file)
    first = uniform(source, 0.25)
    whole, narrow = (macs(keras.models.load_model(p.path)) for p in (source, first))
    assert 0.15 < narrow / whole <= 0.25
    assert uniform(source, 0.25) == first
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "other"))
    assert uniform(source, 0.25).sha256 == first.sha256


def test_a_part_of_a_sorted_validation_set_stands_for_all_of_it(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given up is what is surely worse, not what is worse on the classes that come first."""
    y = np.repeat(np.arange(3), 200)
    np.savez(config.data.validation, x=np.zeros((600, 8, 8, 1), np.float32), y=y)
    board = board_of(config)
    board.trials = [Trial("loopback", 0, "other", {}, 0.7, 0, 0, 0)]

    def wrong_on_the_first_class(_: object, part: Dataset, *__: object) -> SimpleNamespace:
        assert part.y is not None
        return SimpleNamespace(value=float(np.mean(part.y != 0)))

    monkeypatch.setattr(board.flow, "evaluate", wrong_on_the_first_class)
    nothing: Any = None
    assert board.hopeless(nothing, nothing, 1, 1) == ""
    board.trials = [Trial("loopback", 0, "other", {}, 0.8, 0, 0, 0)]
    assert "surely worse than other" in board.hopeless(nothing, nothing, 1, 1)


# ---------------------------------------------------------------- whole runs
def test_what_fits_no_board_is_not_trained(config: Config, tmp_path: Path) -> None:
    trained = ("distill@0.5", "distill@0.25")
    costs = {c.name: c for c in board_of(config, *trained).costs}
    assert costs["net"].macs > costs["net-distill50"].macs > costs["net-distill25"].macs > 0
    limit = costs["net-distill25"].arena_bytes + 8  # float32 needs more
    assert limit < costs["net-distill50"].arena_bytes
    tight = replace(config, limits=LimitsConfig(max_ram_bytes=limit))
    board = board_of(tight, *trained)
    assert [c.name for c in board.costs] == ["net-distill25"]
    assert board.parameters == {"net": {"trained": ("distill@0.25",)}}
    settings = {"source": "net", "trained": "distill@0.25", **usual(), "activations": "float32"}
    trial = board.tried(0, settings)
    assert trial.too_large and "estimated before its training" in trial.ended
    assert trial.variant == "net-distill25-float32"
    assert not (tmp_path / "cache/training").exists()


def test_a_training_without_time_left_is_gone_on_with_and_is_done_once(config: Config) -> None:
    import optuna

    said: list[str] = []
    board = board_of(config, "distill@0.5")

    def progress(line: str) -> None:
        said.append(line)
        board.end = 0.0  # long ago, once the first trial begins

    board.progress = board.flow.progress = progress
    study = config.work / "search.db"
    board.run(optuna, study, math.inf, 4, SEED)
    assert [t.variant for t in board.trials] == ["net-int8"]
    assert "no time left, the next run goes on with: train    net distill50-int8" in said[-1]

    said = []
    tools = wiring.tools(config, wiring.registry(config.registry))
    found = search(
        config, wiring.devices(config.devices), tools, study, Budget(10, 2), said.append,
        epochs=1, settings={**FEW, "trained": ("none", "distill@0.5")},
    )  # fmt: skip
    assert [t.variant for t in found.trials] == ["net-int8", "net-distill50-int8"]
    plain, distilled = found.trials
    assert distilled.settings["trained"] == "distill@0.5" and not distilled.ended
    assert (distilled.flash_bytes or 0) < (plain.flash_bytes or 0)
    (selection,) = found.deployment.selections
    assert {c.name for c in selection.candidates} == {t.variant for t in found.trials}
    assert any(": distill [" in line for line in said)
    (summary,) = optuna.get_all_study_summaries(f"sqlite:///{study}")
    told = optuna.load_study(study_name=summary.study_name, storage=f"sqlite:///{study}").trials
    assert [t.state.name for t in told] == ["COMPLETE", "FAIL", "COMPLETE"]

    said.clear()
    settings = {**distilled.settings, "activations": "float32"}
    origin = board.origin(settings)
    board.flow.convert(origin.source, with_training(settings, origin.training))
    assert said == ["convert  net distill50-float32"]


def test_nothing_is_judged_by_what_it_was_trained_on(config: Config) -> None:
    for what in ("validation", "test"):
        learned = replace(config.data, **{what: config.data.training})
        with pytest.raises(UsageError, match=rf"training\.npz is the {what} set as well"):
            board_of(replace(config, data=learned))
    seen = load_dataset(config.data.validation).sha256
    net = Net(Path("n.supernet"), "", Choice(1, 1, 3), 1, seen)
    (device,) = wiring.devices(config.devices).values()
    tools = wiring.tools(config, wiring.registry(config.registry))
    origin = Origin("n", net.supernet, "", {"source": "n"}, net)
    with pytest.raises(UsageError, match=r"n\.supernet was trained on the validation set"):
        BoardSearch(config, device, tools, [origin], FEW, print)


def test_what_it_needs(config: Config, root: Path, tmp_path: Path) -> None:
    lite = origins_of([root / "tests/models/dscnn_float32.tflite"], False, trainings(1, print))
    assert [o.settings for o in lite] == [{"source": "dscnn_float32"}]
    x, _ = images(20)
    np.savez(tmp_path / "bare.npz", x=x)
    unlabelled = replace(config.data, training=tmp_path / "bare.npz")
    with pytest.raises(UsageError, match="has no labels"):
        board_of(replace(config, data=unlabelled), "qat", "distill@0.5")
