"""Distillation: its loss, its students, that it ends the same, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
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
from tinydeploy.pipeline.train import distill
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.logits import without_softmax
from tinydeploy.pipeline.train.losses import task_loss
from tinydeploy.pipeline.train.work import macs
from tinydeploy.tflite import read_graph
from tinydeploy.types import Task, Training

RECIPE = """name = "taught"
description = "Half of the work."
activations = "float32"
weights = "float32"

[training]
method = "distill"
epochs = 5
batch = 32
learning_rate = 0.003
macs = 0.5
"""


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    path = tmp_path_factory.mktemp("net") / "net.keras"
    residual_net(keras).save(path)
    return path


def job(model: object, folder: Path, task: Task = "classify", **settings: object) -> Job:
    x, y = images(320)
    training = Training("distill", batch=64, **settings)  # type: ignore[arg-type]
    labels = None if task == "anomaly" else y
    return Job("net", model, training, task, x, labels, folder, lambda *_: None)


def test_the_same_after_a_kill_and_smaller(
    net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "in-process"))
    x, y = images(320)
    data, recipe = tmp_path / "data.npz", tmp_path / "taught.toml"
    np.savez(data, x=x, y=y)
    recipe.write_text(RECIPE)
    lines: list[str] = []
    made = convert(
        load_source(net), load_recipe(recipe), tmp_path / "whole",
        training=load_dataset(data), progress=lines.append,
    ).path  # fmt: skip
    assert any("student begins with" in line for line in lines)
    killed = command(net, recipe, data, tmp_path / "killed")
    assert run(killed, tmp_path / "cache", kill_at="distill [")[0] == -signal.SIGKILL
    assert not (tmp_path / "killed").exists()
    code, said = run(killed, tmp_path / "cache")
    assert code == 0 and "distill [" in said and " 1/5" not in said
    assert (tmp_path / "killed" / made.name).read_bytes() == made.read_bytes()
    whole = convert(load_source(net), load_recipe("float32"), tmp_path / "whole").path
    before, after = (total_macs(read_graph(p.read_bytes())) for p in (whole, made))
    assert after <= 0.5 * before


def test_the_loss_is_the_formula() -> None:
    rng = np.random.default_rng(1)
    teacher, z = rng.normal(0, 3, (2, 7, 4)).astype(np.float32)
    labels = rng.integers(0, 4, 7)
    a, t = 0.3, 2.5

    def softmax(v: np.ndarray) -> np.ndarray:
        return np.exp(v) / np.exp(v).sum(1, keepdims=True)

    entropy = -np.log(softmax(z)[np.arange(7), labels])
    p, q = softmax(teacher / t), softmax(z / t)
    expected = np.mean((1 - a) * entropy + a * t**2 * (p * np.log(p / q)).sum(1))
    given = job(None, Path(), temperature=t, teacher_weight=a)
    y = np.concatenate([labels[:, None], teacher], axis=1).astype(np.float32)
    assert float(distill.distillation_loss(given)(y, z)) == pytest.approx(expected, rel=1e-5)
    # One logit is a softmax over (0, logit).
    one = np.float32([[1.0, 0.4], [0.0, -2.0]])
    said = float(distill.distillation_loss(given)(one, np.float32([[0.4], [-2.0]])))
    own = (math.log1p(math.exp(-0.4)) + math.log1p(math.exp(-2.0))) / 2
    assert said == pytest.approx((1 - a) * own, rel=1e-5)
    regress = distill.distillation_loss(dataclasses.replace(given, task="regress"))
    y = np.float32([[1, 2, 3, 5]])
    assert float(regress(y, np.float32([[0, 0]]))) == pytest.approx(0.7 * 2.5 + 0.3 * 17)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_logits_are_what_the_softmax_takes(library: str) -> None:
    k = pytest.importorskip(library)
    x = images(5)[0]
    dense = residual_net(k)
    layer = k.Sequential(
        [k.Input((8, 8, 1)), k.layers.Flatten(), k.layers.Dense(3), k.layers.Softmax()]
    )
    for model in (dense, layer):
        bare = without_softmax(model)
        z = np.asarray(bare(x))
        exps = np.exp(z - z.max(1, keepdims=True))
        np.testing.assert_allclose(
            exps / exps.sum(1, keepdims=True), np.asarray(model(x)), rtol=1e-4, atol=1e-6
        )
        assert np.abs(z).max() > 1.01 or (z < 0).any()
        assert without_softmax(bare) is bare


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_softmax_in_a_model_that_is_the_last_layer(library: str) -> None:
    module = pytest.importorskip(library)
    layers = module.layers
    head = module.Sequential([module.Input((4,)), layers.Dense(3, activation="softmax")])
    for model in (
        module.Sequential([module.Input((6,)), layers.Dense(4, activation="relu"), head]),
        module.Model(inputs := module.Input((6,)), head(layers.Dense(4)(inputs))),
    ):
        x = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
        y = np.array([0, 1, 2, 1, 0])
        bare = without_softmax(model)
        z = np.asarray(bare(x))
        np.testing.assert_allclose(np.exp(z) / np.exp(z).sum(1, keepdims=True), model(x), rtol=1e-5)
        entropy = -np.log(np.asarray(model(x))[np.arange(5), y]).mean()
        for net in (model, bare):
            loss = float(task_loss(net, "classify")(y, net(x)))
            assert loss == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_the_student_narrows_the_source_and_learns_from_it(library: str, tmp_path: Path) -> None:
    k = pytest.importorskip(library)
    teacher = residual_net(k)
    path = distill.run(job(teacher, tmp_path, macs=0.4, epochs=10, learning_rate=0.01))
    student = k.models.load_model(path, compile=False)
    assert macs(student) <= 0.4 * macs(teacher)
    x = images(200, seed=8)[0]
    ours, theirs = (np.asarray(m(x)).argmax(1) for m in (student, teacher))
    assert (ours == theirs).mean() > 0.9
    np.testing.assert_allclose(np.asarray(student(x)).sum(1), 1, rtol=1e-5)


def test_regression_and_anomaly(tmp_path: Path) -> None:
    import keras

    keras.utils.set_random_seed(2)
    L = keras.layers
    line = keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(8, "relu"), L.Dense(1)])
    auto = keras.Sequential([
        keras.Input((8, 8, 1)), L.Conv2D(6, 3, padding="same", activation="relu"),
        L.Conv2D(1, 3, padding="same"),
    ])  # fmt: skip
    for model, task in ((line, "regress"), (auto, "anomaly")):
        folder = tmp_path / task
        folder.mkdir()
        given = job(model, folder, task, macs=0.5, epochs=3)  # type: ignore[arg-type]
        student = keras.models.load_model(distill.run(given))
        assert macs(student) <= 0.5 * macs(model)
        target = given.x if task == "anomaly" else given.y
        assert target is not None
        error = np.mean((np.asarray(student(given.x)).reshape(len(target), -1)
                         - target.reshape(len(target), -1)) ** 2)  # fmt: skip
        before = np.mean((np.asarray(model(given.x)).reshape(len(target), -1)
                          - target.reshape(len(target), -1)) ** 2)  # fmt: skip
        assert error < before  # the sources are not trained


def test_a_student_of_the_users_own(net: Path, tmp_path: Path) -> None:
    import keras

    L = keras.layers
    keras.utils.set_random_seed(4)
    own = keras.Sequential(
        [keras.Input((8, 8, 1)), L.Conv2D(3, 3, 2, activation="relu"), L.Flatten(), L.Dense(3)]
    )
    own.save(tmp_path / "own.keras")
    recipe = tmp_path / "taught.toml"
    recipe.write_text(RECIPE.replace("epochs = 5", "epochs = 30") + 'student = "own.keras"\n')
    training = load_recipe(recipe).training
    assert training is not None and training.student == str((tmp_path / "own.keras").resolve())
    folder = tmp_path / "job"
    folder.mkdir()
    teacher = keras.models.load_model(net)
    given = dataclasses.replace(job(teacher, folder), training=training)
    student = keras.models.load_model(distill.run(given))
    assert [type(layer) for layer in student.layers] == [type(layer) for layer in own.layers]
    x, y = images(200, seed=8)
    assert (np.asarray(student(x)).argmax(1) == y).mean() > 0.5

    small = keras.Sequential([keras.Input((8, 8, 1)), L.Flatten(), L.Dense(2)])
    small.save(tmp_path / "own.keras")
    assert load_recipe(recipe).training != training  # another file, another recipe
    with pytest.raises(UnsupportedModelError, match=r"outputs of the student own\.keras"):
        distill.run(given)


def test_students_that_make_no_sense(tmp_path: Path) -> None:
    recipe = tmp_path / "taught.toml"
    recipe.write_text(RECIPE + 'student = "none.keras"\n')
    with pytest.raises(UsageError, match=r"none\.keras does not exist"):
        load_recipe(recipe)
    recipe.write_text(RECIPE.replace('"distill"', '"tune"') + 'student = "none.keras"\n')
    with pytest.raises(UsageError, match=r"student = 'none\.keras'"):
        load_recipe(recipe)
    (tmp_path / "some.keras").write_bytes(b"x")
    recipe.write_text(RECIPE + 'student = "some.keras"\nstudent_sha256 = "00"\n')
    with pytest.raises(UsageError, match="another sha256"):
        load_recipe(recipe)
