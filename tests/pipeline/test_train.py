"""Recipes that train: what they need, that they can be interrupted, and the same bytes twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from tinydeploy.cli.main import cli
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.pipeline.train import OutOfTimeError, trained
from tinydeploy.pipeline.train.job import alone_in, write_samples
from tinydeploy.pipeline.train.losses import require_labels
from tinydeploy.pipeline.train.progress import Bar
from tinydeploy.types import InputDescription, ModelSource, Training

RECIPE = """name = "tuned"
description = "Trained a little longer."
activations = "float32"
weights = "float32"

[training]
method = "tune"
epochs = 3
batch = 16
learning_rate = 0.01
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def recipe_file(tmp_path: Path) -> Path:
    path = tmp_path / "tuned.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    keras.utils.set_random_seed(3)
    net = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3, "softmax")]
    )
    path = tmp_path_factory.mktemp("net") / "net.keras"
    net.save(path)
    return path


def samples(count: int = 96) -> Dataset:
    """Three classes that a line each tells apart; uint8."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, count)
    x = rng.integers(0, 120, (count, 6))
    x[np.arange(count), y] += 130
    return make_dataset(x.astype(np.uint8), y, (), Path("samples.npz"))


PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def accuracy(model: Path) -> float:
    from ai_edge_litert.interpreter import Interpreter

    data = samples(300)
    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    right = 0
    for x, y in zip(data.x, data.y if data.y is not None else (), strict=True):
        row = (x.astype(np.float32) / 255)[np.newaxis]
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], row)
        interpreter.invoke()
        right += int(
            interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax() == y
        )
    return right / len(data)


def run(source: ModelSource, recipe: Path, progress: list[str] | None = None) -> Path:
    lines = progress if progress is not None else []
    return trained(source, load_recipe(recipe), samples(), PIXELS, "classify", lines.append).path


def test_it_learns_and_makes_the_same_bytes_twice(
    keras_file: Path, recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    made = []
    for turn in ("first", "second"):
        monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / turn))
        artifact = convert(
            load_source(keras_file), load_recipe(recipe_file), tmp_path / turn,
            training=samples(), description=PIXELS, progress=lines.append,
        )  # fmt: skip
        made.append(artifact)
    assert made[0].sha256 == made[1].sha256
    assert made[0].training_sha256 == samples().sha256 and made[0].source_name == "net"
    assert len(lines) == 6 and "tune [####################] 3/3, loss" in lines[2]
    plain = convert(
        load_source(keras_file), load_recipe("float32"), tmp_path, training=samples(),
        description=PIXELS,
    )  # fmt: skip
    assert plain.training_sha256 == "" and accuracy(made[0].path) > accuracy(plain.path)


def test_a_finished_training_is_not_run_again(keras_file: Path, recipe_file: Path) -> None:
    lines: list[str] = []
    first = run(load_source(keras_file), recipe_file, lines)
    count = len(lines)
    assert run(load_source(keras_file), recipe_file, lines) == first and len(lines) == count
    assert not list(first.parent.glob("*.npz"))
    first.unlink()
    assert run(load_source(keras_file), recipe_file, lines) == first and first.exists()


def test_another_process_at_the_same_training_is_waited_for_as_long_as_there_is_time(
    keras_file: Path, recipe_file: Path
) -> None:
    source, recipe = load_source(keras_file), load_recipe(recipe_file)
    folder = run(source, recipe_file).parent
    lines: list[str] = []
    with alone_in(folder, pytest.fail):
        deadline = time.monotonic() + 0.5
        with pytest.raises(OutOfTimeError):
            trained(source, recipe, samples(), PIXELS, "classify", lines.append, deadline)
    assert lines == ["train    net tuned: waits for another process that trains the same"]
    assert run(source, recipe_file, lines).parent == folder and len(lines) == 1


def test_a_killed_training_goes_on_and_ends_with_the_same_bytes(
    keras_file: Path, recipe_file: Path, tmp_path: Path
) -> None:
    recipe_file.write_text(RECIPE.replace("epochs = 3", "epochs = 400"))
    data = tmp_path / "data.npz"
    np.savez(data, x=samples().x, y=samples().y)
    command = [
        str(Path(sys.executable).with_name("tinydeploy")), "convert", str(keras_file), "--recipe",
        str(recipe_file), "--training", str(data), "--input-dtype", "uint8", "--input-scale",
        str(1 / 255), "--out", str(tmp_path / "out"),
    ]  # fmt: skip

    def start(cache: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "TINYDEPLOY_CACHE": str(tmp_path / cache)}
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    whole = start("whole")
    assert whole.wait() == 0
    expected = (tmp_path / "out/net-tuned.tflite").read_bytes()
    (tmp_path / "out/net-tuned.tflite").unlink()

    cut = start("cut")
    assert cut.stderr is not None
    for line in cut.stderr:
        if " 20/400" in line:
            break
    os.killpg(cut.pid, signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    assert not (tmp_path / "out/net-tuned.tflite").exists()
    time.sleep(0.1)
    again = start("cut")
    said = again.communicate()[1]
    assert again.returncode == 0 and " 20/400" not in said and " 400/400" in said
    assert (tmp_path / "out/net-tuned.tflite").read_bytes() == expected


def test_sets_that_are_sorted_by_class_are_mixed_before_anything_is_held_out(
    tmp_path: Path,
) -> None:
    y = np.repeat(np.arange(3), 40)
    data = make_dataset(np.stack([y, np.arange(120)], 1), y, (), Path("sorted.npz"))
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        write_samples(tmp_path / name, data, seed)
    written = [[np.load(tmp_path / n / f"{k}.npy") for k in "xy"] for n in "abc"]
    for x, labels in written:
        assert (x[:, 0] == labels).all() and sorted(x[:, 1]) == list(range(120))
        assert set(labels[:12]) == set(labels[-12:]) == {0, 1, 2}
    assert (written[0][0] == written[1][0]).all() and (written[0][0] != written[2][0]).any()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 1, 3]), "from 0 to 3; the model has 3 classes"),
        (np.array([-1, 1, 2]), "from -1 to 2"),
        (np.array([0.5, 1, 2]), "from 0.5 to 2"),
        (np.eye(3), r"shape \(3, 3\) for 3 samples"),
    ],
)
def test_labels_that_are_no_classes_of_the_model(
    keras_file: Path, labels: np.ndarray, message: str
) -> None:
    import keras

    model = keras.models.load_model(keras_file)
    require_labels(model, np.array([[2], [0], [1]]), 3)
    with pytest.raises(UsageError, match=message) as caught:
        require_labels(model, labels, 3)
    assert "from 0 to 2" in caught.value.hint


def test_targets_that_are_not_what_the_model_gives(keras_file: Path, recipe_file: Path) -> None:
    x = samples().x.astype(np.float32)
    pairs = make_dataset(x, np.zeros((len(x), 2)), (), Path("pairs.npz"))
    recipe = load_recipe(recipe_file)
    for data, task, count in ((pairs, "regress", 2), (pairs, "anomaly", 6)):
        message = f"{count} numbers a sample, the model's output has 3"
        with pytest.raises(UnsupportedModelError, match=message):
            trained(load_source(keras_file), recipe, data, None, task, print)  # type: ignore[arg-type]


def test_what_it_needs(keras_file: Path, recipe_file: Path, tmp_path: Path) -> None:
    source, recipe = load_source(keras_file), load_recipe(recipe_file)
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="needs a training set") as caught:
        convert(source, recipe, out)
    assert "--training" in caught.value.hint
    unlabelled = make_dataset(samples().x, None, (), Path("bare.npz"))
    with pytest.raises(UsageError, match=r"bare\.npz has no labels"):
        convert(source, recipe, out, training=unlabelled, description=PIXELS)
    lite = convert(source, load_recipe("float32"), tmp_path / "lite")
    with pytest.raises(UsageError, match="cannot be trained") as caught:
        convert(load_source(lite.path), recipe, out, training=samples())
    assert ".keras" in caught.value.hint
    wrong = make_dataset(np.zeros((20, 5), np.uint8), np.zeros(20, int), (), Path("w.npz"))
    with pytest.raises(UnsupportedModelError, match=r"samples of the shape \(5,\)"):
        convert(source, recipe, out, training=wrong, description=PIXELS)
    with pytest.raises(UsageError, match="needs a calibration set"):  # before it trains
        convert(source, load_recipe("distill"), out, training=samples(), description=PIXELS)
    assert not out.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"tune"', '"dream"', r"method = 'dream'"),
        ("epochs = 3", "epochs = 0", "epochs = 0"),
        ("batch = 16", "macs = 1.5", "macs = 1.5"),
        ("batch = 16", "bach = 16", "unknown key"),
        ("batch = 16", "seed = -1", "seed = -1"),
        ('"tune"', '"slim"', "macs = 1 removes no channels"),
    ],
)
def test_settings_that_make_no_sense(recipe_file: Path, old: str, new: str, message: str) -> None:
    recipe_file.write_text(RECIPE.replace(old, new))
    with pytest.raises(UsageError, match=message):
        load_recipe(recipe_file)


def test_a_training_that_diverges_is_told_and_not_kept(tmp_path: Path) -> None:
    import tensorflow as tf

    from tinydeploy.pipeline.train.epochs import run_epochs
    from tinydeploy.pipeline.train.job import Job

    x, y = np.zeros((8, 2), np.float32), np.zeros(8)
    said: list[str] = []
    training = Training("tune", epochs=4, batch=4)
    job = Job("n", None, training, "classify", x, y, tmp_path, lambda *w: said.append(str(w)))
    weight = tf.Variable(1.0)

    def step(_: np.ndarray, __: np.ndarray) -> float:
        weight.assign(weight * 2)
        return float("nan") if weight > 16 else 1.0

    with pytest.raises(UnsupportedModelError, match="the loss is nan after 3 epochs") as caught:
        run_epochs(job, "tune", [weight], step, 4)
    assert "learning_rate" in caught.value.hint and len(said) == 2
    with np.load(tmp_path / "tune.npz") as kept:
        assert len(kept["losses"]) == 2 and kept["v0"] == 16


def test_recipes_show_prints_a_recipe_that_can_be_read_again(
    recipe_file: Path, tmp_path: Path
) -> None:
    shown = CliRunner().invoke(cli, ["recipes", "show", str(recipe_file)])
    assert shown.exit_code == 0, shown.output
    copy = tmp_path / "copy" / "tuned.toml"
    copy.parent.mkdir()
    copy.write_text(shown.stdout)
    assert load_recipe(copy) == load_recipe(recipe_file)


def test_the_bar_tells_stages_apart() -> None:
    lines: list[str] = []
    bar = Bar("train x", lines.append)
    for stage, done in (("a", 1), ("a", 2), ("b", 4)):
        bar.show({"stage": stage, "done": done, "total": 4, "found": ""})
    assert [line.split(" [")[0] for line in lines] == ["train x: a", "train x: a", "train x: b"]
    assert "#" * 20 in lines[2] and "left" in lines[1] and "left" not in lines[2]
