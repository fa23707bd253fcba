"""The example: its data, its committed nets, and that they come from its script."""

from __future__ import annotations

import gzip
import importlib.util
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinydeploy.config import load_config
from tinydeploy.graph_stats import parameters, tensor_bytes, total_macs
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, load_dataset
from tinydeploy.pipeline.evaluate import evaluate
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph

NETS = ("small", "medium", "large")


@pytest.fixture(scope="module")
def folder(root: Path) -> Path:
    return root / "examples" / "fashion_mnist"


@pytest.fixture(scope="module")
def script(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_mnist_data", folder / "data.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Dataset]:
    out = tmp_path_factory.mktemp("data")
    subprocess.run([sys.executable, folder / "data.py", "--out", out], check=True)
    return {
        name: load_dataset(out / f"{name}.npz") for name in ("calibration", "validation", "test")
    }


def idx(values: np.ndarray) -> bytes:
    return gzip.compress(
        struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    )


# ---------------------------------------------------------------- data.py
def test_splits_are_whole_and_apart(data: dict[str, Dataset]) -> None:
    assert {name: len(d) for name, d in data.items()} == {
        "calibration": 300, "validation": 5000, "test": 10_000,
    }  # fmt: skip
    for part in data.values():
        assert part.x.shape[1:] == (28, 28, 1) and part.x.dtype == np.uint8
        assert part.labels[0] == "t-shirt/top" and len(part.labels) == 10
        assert part.y is not None and set(part.y.tolist()) == set(range(10))
    rows = {name: {image.tobytes() for image in d.x} for name, d in data.items()}
    assert not rows["calibration"] & rows["validation"]


def test_split_positions_do_not_overlap(script: ModuleType) -> None:
    parts = [script.TRAINING, script.VALIDATION, script.CALIBRATION]
    taken = [i for part in parts for i in range(60_000)[part]]
    assert len(taken) == len(set(taken)) == 54_000 + 5_000 + 300


def test_idx_files(script: ModuleType, tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "a.gz").write_bytes(idx(values))
    assert np.array_equal(script.read_idx(tmp_path / "a.gz"), values)
    for content in (
        b"", b"\0\0\x08", b"\1\0\x08\1\0\0\0\1\0", b"\0\0\x0d\1\0\0\0\1\0", b"\0\0\x08\1\0\0\0\2\0",
        b"\0\0\x08\3\0\0\0\2",
    ):  # fmt: skip
        (tmp_path / "b.gz").write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=r"idx file|elements"):
            script.read_idx(tmp_path / "b.gz")


def test_missing_data_says_what_to_install(folder: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, folder / "data.py", "--data", tmp_path, "--out", tmp_path / "out"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "apt-get install dataset-fashion-mnist" in done.stderr
    assert not list((tmp_path / "out").glob("*"))


# ---------------------------------------------------------------- the nets
@pytest.fixture(scope="module")
def int8(folder: Path, data: dict[str, Dataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8")
    config = load_config(folder / "tinydeploy.toml")
    for name in NETS:
        convert(
            load_source(folder / f"{name}.keras"),
            load_recipe("int8"),
            out,
            calibration=data["calibration"],
            description=config.input,
        )
    return out


@pytest.fixture(scope="module")
def scores(int8: Path, data: dict[str, Dataset]) -> dict[str, float]:
    """Test accuracy of the int8 variants, by LiteRT."""
    found = {}
    for name in NETS:
        model = int8 / f"{name}-int8.tflite"
        with LiteRt(model) as predictor:
            result = evaluate(model, data["test"], predictor, split="test", engine="litert")
        found[name] = result.value
    return found


@pytest.fixture(scope="module")
def train(folder: Path) -> Iterator[ModuleType]:
    """train.py, which finds data.py beside it."""
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("train")
    finally:
        sys.path.remove(str(folder))
        for name in ("train", "data"):
            sys.modules.pop(name, None)


def test_files_are_small(folder: Path) -> None:
    assert sum((folder / f"{name}.keras").stat().st_size for name in NETS) < 2_000_000


def table(folder: Path) -> dict[str, list[str]]:
    """The rows of the README's table of nets."""
    lines = (folder / "README.md").read_text().splitlines()
    rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows if row[0] in NETS}


@pytest.mark.parametrize("name", NETS)
def test_the_readme_says_what_the_nets_are(
    folder: Path, int8: Path, scores: dict[str, float], name: str
) -> None:
    row = table(folder)[name]
    graph = read_graph(int8 / f"{name}-int8.tflite")
    peak = max(
        sum(tensor_bytes(graph.tensors[t]) for t in (*op.inputs, *op.outputs)
            if t >= 0 and graph.tensors[t].data is None)
        for op in graph.ops
    )  # fmt: skip
    numbers = [int(cell.replace(",", "")) for cell in row[:3]]
    assert numbers == [parameters(graph), total_macs(graph), peak]
    # Another CPU's TensorFlow may round the scales differently: a tenth of a point.
    assert 100 * scores[name] == pytest.approx(float(row[4].rstrip(" %")), abs=0.1)


def test_the_family_spans_what_the_boards_need(scores: dict[str, float]) -> None:
    values = [scores[name] for name in NETS]
    assert values == sorted(values) and values[0] > 0.86 and values[-1] >= 0.91


def test_the_nets_are_those_of_the_script(folder: Path, int8: Path, train: ModuleType) -> None:
    import keras

    assert tuple(train.NETS) == NETS
    for name, net in train.NETS.items():
        committed = keras.models.load_model(folder / f"{name}.keras", compile=False)
        shapes = [w.shape for w in train.build(net, name).get_weights()]
        assert [w.shape for w in committed.get_weights()] == shapes
        assert train.macs(net) == total_macs(read_graph(int8 / f"{name}-int8.tflite"))


def test_batches_are_seeded_shifted_and_mirrored(train: ModuleType) -> None:
    x = np.zeros((256, 28, 28, 1), np.uint8)
    x[:, 10, 20] = 255
    first, again = (train.Augmented(x, np.arange(256), 1, seed=3) for _ in range(2))
    images, labels = first[0]
    assert images.shape == (128, 28, 28, 1) and len(first) == 2
    np.testing.assert_array_equal(images, again[0][0])
    np.testing.assert_array_equal(labels, again[0][1])
    _, rows, columns, _ = np.nonzero(images)
    assert images.max() == 1 and len(rows) == 128
    assert set(rows) == {9, 10, 11} and set(columns) == {6, 7, 8, 19, 20, 21}


def test_fused_normalization_is_kerass_own(train: ModuleType) -> None:
    import keras

    x = np.random.default_rng(0).normal(2, 3, (64, 4, 4, 5)).astype(np.float32)
    layers = [kind(momentum=0.5) for kind in (keras.layers.BatchNormalization,
                                              train.FusedBatchNormalization)]  # fmt: skip
    outputs = [np.asarray(layer(x, training=True)) for layer in layers]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-4)
    for own, fused in zip(*(layer.get_weights() for layer in layers), strict=True):
        np.testing.assert_allclose(own, fused, rtol=2e-3)  # the fused variance is the unbiased one
    outputs = [np.asarray(layer(x, training=False)) for layer in layers]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=5e-3)
