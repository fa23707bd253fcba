"""Width search: masks compute what cuts compute, the share is met, interrupted or not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train import slim
from tinydeploy.pipeline.train.cut import cut
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.losses import task_loss
from tinydeploy.pipeline.train.masked import masked, ranked
from tinydeploy.pipeline.train.narrow import least
from tinydeploy.pipeline.train.recalibrate import Recalibration
from tinydeploy.pipeline.train.work import macs
from tinydeploy.tflite import read_graph
from tinydeploy.types import Training

RECIPE = """name = "slimmer"
description = "Two fifths of the work."
activations = "int8"
weights = "int8"
calibration_samples = 16

[training]
method = "slim"
epochs = 4
batch = 16
macs = 0.4
learning_rate = 0.01
"""


def small_net(library: str, *, residual: bool = False) -> Any:
    """8x8 images of three classes; with a depthwise layer, dropout and batch normalization."""
    keras = pytest.importorskip(library)
    keras.utils.set_random_seed(3)
    layers = keras.layers
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, 2, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3, padding="same")(x)))
    y = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 1)(x)))
    if residual:
        y = layers.Add()([y, layers.Conv2D(16, 3, padding="same", activation="relu")(y)])
    y = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(y))
    y = layers.Dense(12, "relu")(y)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(y))


def images(count: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Stripes across, stripes down, and neither; (N, 8, 8, 1) in 0..1."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, count)
    x = rng.uniform(0, 0.6, (count, 8, 8, 1))
    x[y == 0, ::2] += 0.4
    x[y == 1, :, ::2] += 0.4
    return x.astype(np.float32), y


def job_of(model: Any, folder: Path, lines: list[str] | None = None, **training: Any) -> Job:
    x, y = images()
    said = lines if lines is not None else []
    settings = {"epochs": 2, "batch": 16, "macs": 0.4, "learning_rate": 0.01} | training
    return Job(
        "net", model, Training("slim", **settings), "classify", x, y, folder,
        lambda stage, done, total, found: said.append(f"{stage} {done}/{total} {found}"),
    )  # fmt: skip


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_a_masked_net_computes_what_the_cut_one_does(library: str) -> None:
    model = small_net(library, residual=True)
    x, y = images()
    net = ranked(masked(model), task_loss(model, "classify"), x, y)
    assert all(sorted(o) == list(range(len(o))) for o in net.order.values())
    assert any(list(o) != sorted(o) for o in net.order.values())
    whole = model(x, training=False).numpy()
    np.testing.assert_array_equal(net.model(x, training=False).numpy(), whole)
    recalibrate = Recalibration(net.model, x, batch=64)
    for share in (0.3, 0.7):
        widths = {name: max(1, int(share * size)) for name, size in net.sizes().items()}
        net.stays.assign(net.mask(widths))
        recalibrate()
        small = cut(model, net.keep(widths))
        before = small(x, training=False).numpy()
        Recalibration(small, x, batch=64)()
        ours, theirs = net.model(x, training=False).numpy(), small(x, training=False).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert macs(small) == net.macs(widths) < macs(model)
        assert np.abs(before - theirs).max() > 1e-3  # the statistics did change
        assert np.abs(whole - theirs).max() > 1e-3


def test_statistics_are_those_of_the_samples() -> None:
    import keras

    model = keras.Sequential([keras.Input((5,)), keras.layers.BatchNormalization(momentum=0.9)])
    x = np.random.default_rng(1).normal(3, 2, (100, 5)).astype(np.float32)
    for _ in range(2):  # the same, whatever they were before
        Recalibration(model, x)()
        layer = model.layers[-1]
        np.testing.assert_allclose(layer.moving_mean.numpy(), x.mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.moving_variance.numpy(), x.var(0), rtol=1e-4)
    assert layer.momentum == 0.9


@pytest.mark.parametrize("library", ["keras", "tf_keras"])
def test_the_trace_meets_the_share(library: str, tmp_path: Path) -> None:
    lines: list[str] = []
    model = small_net(library)
    full = macs(model)
    path = slim.run(job_of(model, tmp_path, lines))
    trace = json.loads((tmp_path / "widths.json").read_text())
    assert trace[0]["macs"] == full and trace[0]["narrowed"] == ""
    for before, after in pairwise(trace):
        name = after["narrowed"]
        assert after["macs"] < before["macs"] and 0 <= after["accuracy"] <= 1
        changed = {n for n, w in after["widths"].items() if w != before["widths"][n]}
        assert changed == {name} and after["widths"][name] < before["widths"][name]
    last, target = trace[-1], int(0.4 * full)
    assert last["macs"] <= target < trace[-2]["macs"]
    widened = {**last["widths"], last["narrowed"]: last["widths"][last["narrowed"]] + 1}
    assert masked(model).macs(widened) > target  # no channel more has room
    made = __import__(library).models.load_model(path)
    assert macs(made) == last["macs"]
    assert lines[0].startswith("slimmable 1/1 loss")
    assert lines[-2].startswith("narrow 100/100") and f"{last['macs']:,} MACs" in lines[-2]
    assert lines[-1].startswith("fine-tune 1/1 loss")


def test_least_widths() -> None:
    assert [least(64, s) for s in (0.5, 0.25, 0.01)] == [16, 8, 8]
    assert [least(size, 0.5) for size in (1, 2, 3, 20)] == [1, 1, 1, 6]


@pytest.mark.parametrize(
    ("settings", "message"), [({"epochs": 1}, "epochs = 1"), ({"macs": 1.0}, "macs = 1.0")]
)
def test_settings_that_leave_nothing_to_do(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        slim.run(job_of(small_net("keras"), tmp_path, **settings))


def test_nets_that_cannot_be_narrowed(tmp_path: Path) -> None:
    import keras

    flat = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")]
    with pytest.raises(UnsupportedModelError, match="no channels that can be removed"):
        slim.run(job_of(keras.Sequential(flat), tmp_path))
    wide = [
        *(keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 1), keras.layers.Conv2D(32, 3)),
        *(keras.layers.LayerNormalization(), keras.layers.Conv2D(4, 1), keras.layers.Flatten()),
        keras.layers.Dense(3, "softmax"),
    ]
    with pytest.raises(UnsupportedModelError, match=r"at least 0\.\d\d of its") as caught:
        slim.run(job_of(keras.Sequential(wide), tmp_path, macs=0.2))
    assert "macs = 0." in caught.value.hint and not list(tmp_path.iterdir())


def test_a_killed_search_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    model = tmp_path / "net.keras"
    small_net("keras").save(model)
    recipe = tmp_path / "slimmer.toml"
    recipe.write_text(RECIPE)
    x, y = images()
    np.savez(tmp_path / "data.npz", x=(255 * x).astype(np.uint8), y=y)
    data = str(tmp_path / "data.npz")

    def start(cache: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [
                str(Path(sys.executable).with_name("tinydeploy")), "convert", str(model),
                "--recipe", str(recipe), "--training", data, "--calibration", data,
                "--input-dtype", "uint8", "--input-scale", str(1 / 255), "--out",
                str(tmp_path / "out" / cache),
            ],
            env={**os.environ, "TINYDEPLOY_CACHE": str(tmp_path / cache)},
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True,
        )  # fmt: skip

    whole = start("whole")
    said = whole.communicate()[1]
    assert whole.returncode == 0, said
    expected = (tmp_path / "out/whole/net-slimmer.tflite").read_bytes()
    assert len(read_graph(tmp_path / "out/whole/net-slimmer.tflite").ops) >= 6
    steps = said.count("narrow [")
    assert steps >= 3 and "slimmable [" in said and "fine-tune [" in said

    stopped = start("cut")
    assert stopped.stderr is not None
    for line in stopped.stderr:
        if "narrow [" in line:  # its first step is kept, the others are not made yet
            break
    os.killpg(stopped.pid, signal.SIGKILL)
    assert stopped.wait() == -signal.SIGKILL
    stopped.stderr.close()
    again = start("cut")
    rest = again.communicate()[1]
    assert again.returncode == 0, rest
    assert "slimmable [" not in rest and rest.count("narrow [") < steps
    assert (tmp_path / "out/cut/net-slimmer.tflite").read_bytes() == expected
