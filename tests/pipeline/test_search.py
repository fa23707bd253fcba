"""The search: its space, and whole runs on the native board with small models."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.cli import wiring
from tinydeploy.cli.main import run as exit_code
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


# ---------------------------------------------------------------- nets of a supernet
@pytest.fixture(scope="module")
def supernet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight untrained nets in one: what a search does with them does not depend on training."""
    import keras

    from tinydeploy.pipeline.supernet.net import build, named_weights
    from tinydeploy.pipeline.supernet.space import Space
    from tinydeploy.pipeline.supernet.stored import About, Supernet, write_supernet
    from tinydeploy.types import Training

    keras.utils.set_random_seed(2)
    space = Space(8, 3, ((16, 1),), (0.25, 1.0), (1, 2), (3, 5))
    shape = (12, 12, 1)
    nets = {c: named_weights(build(space, c, shape, 3)) for c in space.choices()}
    weights = {n: w.numpy() for n, w in nets[space.largest].items() if w.trainable}
    own = {
        choice: {n: w.numpy() for n, w in found.items() if not w.trainable}
        for choice, found in nets.items()
    }
    path = tmp_path_factory.mktemp("nets") / "lines.supernet"
    about = About(space, shape, 3, Training("supernet"), "", 0)
    write_supernet(path, Supernet(about, weights, own))
    return path


@pytest.fixture
def of_nets(config: Config, supernet: Path, tmp_path: Path, own_cache: Path) -> Config:
    x = np.random.default_rng(0).normal(size=(24, 12, 12, 1)).astype(np.float32)
    np.savez(tmp_path / "nets.npz", x=x, y=np.arange(24) % 3)
    data = DataConfig(validation=tmp_path / "nets.npz", calibration=tmp_path / "nets.npz")
    return dataclasses.replace(config, sources=(supernet,), data=data)


def test_choices_of_a_supernet_are_settings_of_the_search(of_nets: Config) -> None:
    found, _ = run(of_nets, 4)
    (space,) = found.spaces.values()
    assert [c.name for c in space] == [
        "lines-w100-d2-k5", "lines-w100-d2-k3", "lines-w100-d1-k5", "lines-w100-d1-k3",
    ]  # fmt: skip
    first = found.trials[0]
    assert first.variant == "lines-w100-d2-k5-int8"
    assert {k: first.settings[k] for k in ("source", "width", "depth", "kernel")} == {
        "source": "lines", "width": "1", "depth": "2", "kernel": "5",
    }  # fmt: skip
    assert len({t.variant for t in found.trials}) == 4
    assert {t.variant.rsplit("-k", 1)[0] for t in found.trials} <= {
        "lines-w100-d1", "lines-w100-d2"
    }  # fmt: skip
    again, said = run(of_nets, 4)
    assert again.trials == found.trials and not any(line.startswith("build") for line in said)


def test_a_net_with_a_part_that_does_not_fit_is_not_even_converted(of_nets: Config) -> None:
    arenas = {c.name: c.arena_bytes for c in run(of_nets, 1)[0].spaces["loopback"]}
    limit = min(arenas.values()) - 1  # the narrow nets alone fit
    tight = dataclasses.replace(
        of_nets, limits=LimitsConfig(max_ram_bytes=limit), work=of_nets.work.with_name("tight")
    )
    found, said = run(tight, 3)
    assert all("w25" in c.name for c in found.spaces["loopback"])
    converted = [line for line in said if line.startswith("convert  lines-w100")]
    assert converted == ["convert  lines-w100-d1-k3 int8"]
    assert all(not t.too_large for t in found.trials) or len(found.trials) > 3


def test_what_its_plan_refuses_is_no_trial(of_nets: Config) -> None:
    whole, _ = run(of_nets, 1)
    limit = max(c.arena_bytes for c in whole.spaces["loopback"]) + 8  # int16 needs about twice
    tight = dataclasses.replace(
        of_nets, limits=LimitsConfig(max_ram_bytes=limit), work=of_nets.work.with_name("tight")
    )
    found, said = run(tight, 4)
    refused = [t for t in found.trials if t.too_large]
    assert refused and all("of RAM" in t.ended and t.metric is None for t in refused)
    assert len(found.trials) - len(refused) == 4
    assert not any(t.variant in line for t in refused for line in said if "build" in line)


def test_the_plot_shows_every_measured_trial_and_the_front(of_nets: Config, tmp_path: Path) -> None:
    from tinydeploy.cli.search_plot import draw, front

    assert front([(3, 0.5), (1, 0.2), (2, 0.6), (4, 0.7), (1, 0.1)], True) == [
        (1, 0.2), (2, 0.6), (4, 0.7),
    ]  # fmt: skip
    assert front([(1, 0.2), (2, 0.6), (3, 0.1)], False) == [(1, 0.2), (3, 0.1)]
    found, _ = run(of_nets, 2)
    picture = tmp_path / "front.svg"
    draw(found, picture)
    text = picture.read_text()
    assert text.count("PathCollection") == 2 * 2  # instructions are not counted on the host
    assert "loopback: 2 trials" in text
    twice = tmp_path / "again.svg"
    draw(found, twice)
    assert twice.read_text() == text


# ---------------------------------------------------------------- the study's file
def test_two_searches_do_not_share_a_study(config: Config) -> None:
    from tinydeploy.pipeline.study import held

    study = config.work / "search.db"
    with held(study), pytest.raises(UsageError, match="another search is at work") as caught:
        run(config, 1)
    assert "--study" in caught.value.hint
    assert len(run(config, 1)[0].trials) == 1


def test_a_file_that_is_no_study_is_refused_and_kept(config: Config) -> None:
    study = config.work / "search.db"
    config.work.mkdir()
    study.write_text("a diary")
    with pytest.raises(UsageError, match="does not hold a search: file is not a database"):
        run(config, 1)
    assert study.read_text() == "a diary"
    asked = dataclasses.replace(config, work=config.work / "why?")
    with pytest.raises(UsageError, match="question marks"):
        run(asked, 1)


def test_a_board_that_nothing_fits_is_told_before_others_are_searched(config: Config) -> None:
    tight = LimitsConfig(max_ram_bytes=64)
    both = dataclasses.replace(
        config, devices=("loopback", "qemu-cortex-m0"), device_limits={"qemu-cortex-m0": tight}
    )
    with pytest.raises(UsageError, match="no source fits qemu-cortex-m0"):
        run(both, 1)
    assert not (config.work / "build").exists()


# ---------------------------------------------------------------- the command
def test_exit_code_3_without_a_sufficient_variant(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = str(config.data.validation)
    words = [
        "search", str(config.sources[0]), "--device", "loopback", "--data", data,
        "--calibration", data, "--trials", "1", "--work", str(config.work),
        "--registry", str(tmp_path),
    ]  # fmt: skip
    assert exit_code([*words, "--plot", str(tmp_path / "front.txt")]) == 2
    assert ".svg or .png" in capsys.readouterr().err
    for more in ([], ["--json"]):
        assert exit_code([*words, *more, "--min-metric", "1.1"]) == 3
        assert "no variant is sufficient on loopback" in capsys.readouterr().err
    assert exit_code(words) == 0
