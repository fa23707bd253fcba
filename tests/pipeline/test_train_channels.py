"""The recipe that removes channels: what goes, that it ends the same, and what it refuses."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
from training_runs import command, images, residual_net, run

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph_stats import total_macs
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import load_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.train.importance import importance
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.layout import layout
from tinydeploy.pipeline.train.losses import task_loss
from tinydeploy.pipeline.train.removal import (
    floors,
    least_important,
    narrowed,
    require_removable,
)  # fmt: skip
from tinydeploy.pipeline.train.work import macs
from tinydeploy.tflite import read_graph
from tinydeploy.types import Training

RECIPE = """name = "narrower"
description = "Half of the work."
activations = "int8"
weights = "int8"
calibration_samples = 50

[training]
method = "channels"
epochs = 6
batch = 32
learning_rate = 0.003
macs = 0.5
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "in-process"))


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    path = tmp_path_factory.mktemp("net") / "net.keras"
    residual_net(keras).save(path)
    return path


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "narrower.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.npz"
    x, y = images(320)
    np.savez(path, x=x, y=y)
    return path


def job(model: object, **settings: float) -> Job:
    x, y = images(256)
    training = Training("channels", batch=64, **settings)  # type: ignore[arg-type]
    return Job("net", model, training, "classify", x, y, Path(), lambda *_: None)


def test_it_is_smaller_no_worse_and_the_same_after_a_kill(
    net: Path, recipe: Path, data: Path, tmp_path: Path
) -> None:
    def made(name: str | Path) -> Path:
        samples = load_dataset(data)
        return convert(
            load_source(net), load_recipe(name), tmp_path / "whole", training=samples,
            calibration=samples,
        ).path  # fmt: skip

    whole, narrow = made("int8"), made(recipe)
    killed = command(net, recipe, data, tmp_path / "killed")
    code, said = run(killed, tmp_path / "cache", kill_at="fine-tune [#")
    assert code == -signal.SIGKILL and not (tmp_path / "killed").exists()
    code, said = run(killed, tmp_path / "cache")
    assert code == 0 and "after removal 1 [" not in said and "fine-tune [" in said
    assert (tmp_path / "killed" / narrow.name).read_bytes() == narrow.read_bytes()

    before, after = (total_macs(read_graph(p.read_bytes())) for p in (whole, narrow))
    assert after <= 0.5 * before
    assert accuracy(narrow) >= accuracy(whole) - 0.03


def accuracy(path: Path) -> float:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    given, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = given["quantization"]
    x, y = images(300, seed=9)
    right = 0
    for image, label in zip(x, y, strict=True):
        row = np.clip(np.round(image[np.newaxis] / scale + zero), -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], row)
        interpreter.invoke()
        right += int(interpreter.get_tensor(got["index"]).argmax() == label)
    return right / len(y)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_importance_is_what_gates_on_the_channels_would_say(library: str) -> None:
    """Against finite differences: the loss with a channel's readers scaled by 1 + h and 1 - h."""
    model = residual_net(pytest.importorskip(library))
    given = job(model)
    found = layout(model)
    said = importance(given, model, found)
    loss_of = task_loss(model, "classify")
    part = {p.layer.name: p for p in found.parts.values()}
    dense = model.layers[-1]
    kernel = dense.kernel.numpy()
    checked = 0
    for channel in found.components[-1].classes[:6]:  # of "wide", which Flatten spreads
        rows = part[dense.name].ins == channel
        assert rows.sum() == 4
        total = 0.0
        for start in range(0, 256, 64):
            x, y = given.x[start : start + 64], given.y[start : start + 64]  # type: ignore[index]
            losses = []
            for factor in (1.02, 0.98):
                dense.kernel.assign(np.where(rows[:, None], kernel * factor, kernel))
                losses.append(float(loss_of(y, model(x, training=False))))
            total += ((losses[0] - losses[1]) / 0.04) ** 2
        dense.kernel.assign(kernel)
        assert said[channel] == pytest.approx(total / 4, rel=0.03, abs=1e-7)
        checked += said[channel] > 1e-5
    assert checked >= 2


def test_what_is_removed_is_worth_least_and_never_all_of_a_group() -> None:
    import keras

    model = residual_net(keras)
    found, whole = layout(model), macs(model)
    values = importance(job(model), model, found)
    keep = least_important(found, values, 0.5 * whole, floors(found))
    left = macs(model, keep)
    assert 0.3 * whole < left <= 0.5 * whole
    for component in found.components:
        kept = keep[component.producers[0]]
        gone = np.setdiff1d(np.arange(len(component.classes)), kept)
        scores = values[component.classes]
        assert len(kept) and (not len(gone) or scores[gone].max() <= scores[kept].min())
        assert len(kept) % 4 == 0
    least = least_important(found, values, 0, floors(found))
    assert {n: len(k) for n, k in least.items()} == {"stem": 4, "wide": 4}
    uniform = narrowed(found, values, 0.5 * whole)
    assert macs(model, uniform) <= 0.5 * whole
    assert {n: len(k) for n, k in uniform.items()} == {"stem": 4, "wide": 12}


def test_what_cannot_be_removed_is_said() -> None:
    import keras

    small = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, activation="softmax")])
    with pytest.raises(UnsupportedModelError, match="none of its channels can be removed"):
        require_removable(layout(small), 0.5, {}, macs(small))
    model = residual_net(keras)
    found = layout(model)
    with pytest.raises(UnsupportedModelError, match=r"macs = 0\.01 cannot be reached") as caught:
        require_removable(found, 0.01, floors(found), macs(model))
    assert "stem, wide" in caught.value.message and "macs = 0.35" in caught.value.hint


def test_a_refused_training_leaves_nothing(recipe: Path, data: Path, tmp_path: Path) -> None:
    import keras

    small = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    )
    small.save(tmp_path / "small.keras")
    code, said = run(
        command(tmp_path / "small.keras", recipe, data, tmp_path / "out"), tmp_path / "cache"
    )
    assert code == 4 and "none of its channels can be removed" in said
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache").rglob("trained*"))


def test_a_recipe_that_removes_nothing_is_an_error(recipe: Path) -> None:
    assert load_recipe("pruned-channels").training == Training("channels", macs=0.5)
    recipe.write_text(RECIPE.replace("macs = 0.5", "macs = 1.0"))
    with pytest.raises(UsageError, match="macs = 1 removes no channels"):
        load_recipe(recipe)
