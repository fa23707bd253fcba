"""Supernets: the family, what its nets share, training that can be interrupted, extraction."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tinydeploy.cli.main import cli, run
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.supernet import nets_of, train_supernet, write_subnet
from tinydeploy.pipeline.supernet.extract import extract
from tinydeploy.pipeline.supernet.space import Choice, Space, alone, channels, load_space, macs
from tinydeploy.pipeline.supernet.stored import read_supernet
from tinydeploy.types import InputDescription, Training

SPACE = Space(
    stem=8, stem_kernel=3, stages=((8, 1),), widths=(0.5, 1.0), depths=(1, 2), kernels=(3,),
    resolutions=(0.75, 1.0),
)  # fmt: skip
TOML = """stem = 8
stem_kernel = 3
stages = [[8, 1]]
widths = [0.5, 1.0]
depths = [1, 2]
kernels = [3]
resolutions = [0.75, 1.0]
"""
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


@pytest.fixture(scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINYDEPLOY_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield patch


def samples(count: int = 512) -> Dataset:
    """Two classes: a bright row, or a bright column."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 90, (count, 8, 8, 1), dtype=np.uint8)
    y = rng.integers(0, 2, count)
    for image, label, place in zip(x, y, rng.integers(1, 7, count), strict=True):
        (image if label else image.transpose(1, 0, 2))[place] += 150
    return make_dataset(x, y, ("column", "row"), Path("lines.npz"))


@pytest.fixture(scope="module")
def trained(_cache: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet of eight nets, trained by the command."""
    folder = tmp_path_factory.mktemp("supernet")
    (folder / "family.toml").write_text(TOML)
    np.savez(folder / "data.npz", x=samples().x, y=samples().y)
    out = folder / "lines.supernet"
    done = CliRunner().invoke(
        cli,
        ["supernet", "train", "--training", str(folder / "data.npz"), "--out", str(out),
         "--space", str(folder / "family.toml"), "--epochs", "8", "--batch", "32",
         "--learning-rate", "0.01", "--input-dtype", "uint8", "--input-scale", str(1 / 255)],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "8 nets" in done.stdout and "8/8, loss" in done.stderr
    return out


# ---------------------------------------------------------------- the family
def test_the_family_has_every_combination() -> None:
    assert len(Space().choices()) == 4 * 3 * 2
    assert SPACE.choices()[0] == SPACE.smallest == Choice(0.5, 1, 3, 0.75)
    assert SPACE.choices()[-1] == SPACE.largest == Choice(1.0, 2, 3)
    assert Choice(0.5, 1, 3).within(SPACE.largest)
    assert not Choice(1.0, 1, 3).within(Choice(0.5, 2, 5))
    # Making samples smaller takes memory itself.
    assert not SPACE.smallest.within(SPACE.largest)
    assert SPACE.smallest.within(Choice(1.0, 1, 3, 0.8))
    assert len({c.name for c in Space(widths=(0.625, 0.62, 1.0)).choices()}) == 18
    assert [channels(32, w) for w in (0.01, 0.4, 0.625, 1.0)] == [4, 12, 20, 32]


@pytest.mark.parametrize("choice", [SPACE.smallest, Choice(1.0, 1, 3), SPACE.largest])
def test_macs_are_those_of_the_net(choice: Choice) -> None:
    from tinydeploy.pipeline.supernet.net import build
    from tinydeploy.pipeline.train import work

    shape = (11, 8, 2)
    space = dataclasses.replace(SPACE, stages=((8, 1), (12, 2)))
    assert macs(space, choice, shape, 3) == work.macs(build(space, choice, shape, 3))
    own = alone(space, choice)
    assert own.choices() == (own.largest,)
    assert macs(own, own.largest, shape, 3) == macs(space, choice, shape, 3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.5, 1.0", "0.5, 1.5", "widths"),
        ("[3]", "[4]", "kernels"),
        ("0.75, 1.0]", "0.75, 0]", "resolutions"),
        ("1, 2]", "2, 2]", "depths"),
        ("[[8, 1]]", "[[8, 3]]", "stages"),
        ("stem = 8", "stemm = 8", "unknown key"),
    ],
)
def test_a_family_that_makes_no_sense(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "family.toml"
    path.write_text(TOML)
    assert load_space(path) == SPACE and load_space(None) == Space()
    path.write_text(TOML.replace(old, new, 1))
    with pytest.raises(UsageError, match=message):
        load_space(path)


def test_a_smaller_net_takes_first_channels_and_the_middle_of_kernels() -> None:
    from tinydeploy.pipeline.supernet.net import part_of

    kernel = np.arange(5 * 5 * 4 * 2).reshape(5, 5, 4, 2)
    assert np.array_equal(part_of(kernel, (3, 3, 2, 1)), kernel[1:4, 1:4, :2, :1])
    assert np.array_equal(part_of(kernel[:, 0, 0, 0], (2,)), kernel[:2, 0, 0, 0])


# ---------------------------------------------------------------- training
def test_an_interrupted_training_ends_with_the_same_weights(tmp_path: Path) -> None:
    import keras

    from tinydeploy.pipeline.supernet.train import train
    from tinydeploy.pipeline.train.job import Job

    space = dataclasses.replace(SPACE, kernels=(3,), depths=(1,))
    data = samples(64)
    x = data.x.astype(np.float32) / 255

    def weights(folder: str, stop_after: int = 99) -> dict[str, np.ndarray]:
        def report(stage: str, done: int, total: int, found: str) -> None:
            if stage == "supernet" and done == stop_after:
                raise KeyboardInterrupt

        (tmp_path / folder).mkdir(exist_ok=True)
        keras.utils.set_random_seed(7)
        training = Training("supernet", epochs=3, batch=32)
        job = Job("s", None, training, "classify", x, data.y, tmp_path / folder, report)
        made, own = train(job, space, 2)
        assert set(own) == set(space.choices())
        for choice, values in own.items():
            made |= {f"{choice.name}/{name}": value for name, value in values.items()}
        return made

    whole = weights("whole")
    with pytest.raises(KeyboardInterrupt):
        weights("cut", stop_after=1)
    again = weights("cut")
    assert all(np.array_equal(whole[name], again[name]) for name in whole)
    assert any(name.endswith("depthwise/kernel") for name in whole)


def test_the_same_bytes_twice(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "cache"))
    again = tmp_path / "lines.supernet"
    data = make_dataset(samples().x, samples().y, (), Path("again.npz"))
    training = Training("supernet", 8, 32, 0.01, seed=7)
    train_supernet(data, again, SPACE, training, description=PIXELS)
    assert again.read_bytes() == trained.read_bytes()
    assert not list((tmp_path / "cache").rglob("supernet.npz"))
    train_supernet(data, again, SPACE, training, description=PIXELS)  # known by now
    assert again.read_bytes() == trained.read_bytes()


def test_data_that_no_supernet_can_learn_from(tmp_path: Path) -> None:
    good, out, training = samples(32), tmp_path / "n.supernet", Training("supernet")
    for x, y, message in (
        (good.x, None, "no labels"),
        (good.x, good.y.astype(np.float32), r"labels that are float32 \(32,\)"),
        (good.x.reshape(32, -1), good.y, r"samples of the shape \(64,\)"),
        (good.x, np.zeros(32, int), "no two classes"),
    ):
        with pytest.raises(UsageError, match=message):
            train_supernet(make_dataset(x, y, (), Path("d.npz")), out, SPACE, training)
    with pytest.raises(UsageError, match=r"must end in \.supernet"):
        train_supernet(good, tmp_path / "n.keras", SPACE, training)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- its nets
def test_every_net_has_learned_and_computes_what_was_trained(trained: Path) -> None:
    from tinydeploy.pipeline.supernet.net import BatchStatistics, build, parts_for

    supernet = read_supernet(trained)
    data = samples()
    x = data.x.astype(np.float32) / 255
    for choice in SPACE.choices():
        net = extract(supernet, choice)
        found = np.asarray(net(x))
        assert np.mean(found.argmax(axis=1) == data.y) > 0.9, choice.name
        in_training = build(SPACE, choice, (8, 8, 1), 2, BatchStatistics)
        known = {**supernet.weights, **supernet.statistics[choice]}
        parts = parts_for(in_training, known)
        zeros = [np.zeros(w.shape, np.float32) for w in in_training.non_trainable_variables]
        expected, _ = in_training.stateless_call(parts, zeros, x, training=True)
        assert np.abs(found - np.asarray(expected)).max() < 0.02, choice.name


def test_an_extracted_net_is_an_ordinary_source(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.keras"
    words = ["supernet", "extract", str(trained), "--width", "0.5", "--depth", "2", "--kernel", "3"]
    words += ["--resolution", "0.75"]
    done = CliRunner().invoke(cli, [*words, "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    first = out.read_bytes()
    write_subnet(trained, Choice(0.5, 2, 3, 0.75), out)
    assert out.read_bytes() == first
    (net,) = [n for n in nets_of(trained) if n.choice == Choice(0.5, 2, 3, 0.75)]
    assert net.source().sha256 == json.loads(done.stdout)["sha256"]
    assert net.source().name == "lines-w50-d2-k3-r75"
    artifact = convert(
        load_source(out), load_recipe("int8"), tmp_path, calibration=samples(), description=PIXELS
    )
    assert artifact.size_bytes > 0


def test_show_lists_the_nets(trained: Path) -> None:
    done = CliRunner().invoke(cli, ["supernet", "show", str(trained), "--json"])
    said = json.loads(done.stdout)
    assert len(said["nets"]) == 8 and said["classes"] == 2 and said["shape"] == [8, 8, 1]
    assert [n["macs"] for n in said["nets"]] == sorted(n["macs"] for n in said["nets"])
    assert "w100-d2-k3-r75" in CliRunner().invoke(cli, ["supernet", "show", str(trained)]).stdout


def test_what_is_no_supernet_or_not_in_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "n.keras"
    with pytest.raises(UsageError, match=r"width 0\.7 is not in") as caught:
        write_subnet(trained, Choice(0.7, 1, 3), out)
    assert "0.5, 1" in caught.value.hint
    with pytest.raises(UsageError, match="many nets in one") as caught:
        load_source(trained)
    assert "supernet extract" in caught.value.hint
    damaged = tmp_path / "damaged.supernet"
    damaged.write_bytes(trained.read_bytes()[:-200])
    for path in (damaged, tmp_path / "text.supernet"):
        (tmp_path / "text.supernet").write_text("nothing")
        with pytest.raises(UnsupportedModelError, match="is no supernet"):
            nets_of(path)
    with np.load(trained) as archive:
        arrays = dict(archive)
    for change in (
        {"space": {"widths": [float("nan")]}}, {"space": {"widths": ["wide"]}},
        {"space": {"depths": [1, 10**7]}}, {"space": {"widths": []}}, {"classes": -1},
        {"shape": [10**6, 10**6, 3]}, {"shape": [0, 8, 1]},
    ):  # fmt: skip
        about = json.loads(str(arrays["about"]))
        for key, value in change.items():
            about[key] = {**about[key], **value} if isinstance(value, dict) else value
        np.savez(tmp_path / "odd.npz", **{**arrays, "about": np.array(json.dumps(about))})
        odd = (tmp_path / "odd.npz").rename(tmp_path / "odd.supernet")
        with pytest.raises(UnsupportedModelError, match="is no supernet"):
            nets_of(odd)
    changed = {k: v * np.nan if k == "weights/stem/kernel" else v for k, v in arrays.items()}
    np.savez(tmp_path / "nan.npz", **changed)
    with pytest.raises(UnsupportedModelError, match="weights/stem/kernel holds no finite numbers"):
        write_subnet(tmp_path / "nan.npz", Choice(0.5, 1, 3), out)
    assert run(["supernet", "show", str(damaged)]) == UnsupportedModelError.exit_code
    assert run(["supernet", "show", str(tmp_path / "none.supernet")]) == UsageError.exit_code
    assert "does not exist" in capsys.readouterr().err
    assert not out.exists()
