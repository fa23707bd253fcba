"""Data sets from `.npz` and image folders, and how samples become inputs."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.data import (
    Dataset,
    load_dataset,
    make_dataset,
    prepare,
    require_same_classes,
)
from tinydeploy.pipeline.prepare import as_float, dequantize, quantize
from tinydeploy.types import InputDescription

FLOAT = Tensor(0, "in", (1, 2, 2, 1), "float32")
INT8 = Tensor(0, "in", (1, 2, 2, 1), "int8", scales=(0.5,), zero_points=(-3,))
UINT8_PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


# ---------------------------------------------------------------- .npz
def test_npz(tmp_path: Path) -> None:
    x, y = np.arange(12, dtype=np.uint8).reshape(3, 2, 2), np.array([0, 1, 1])
    data = load_dataset(npz(tmp_path, x=x, y=y, names=np.array(["no", "yes"])))
    assert data.labels == ("no", "yes") and len(data) == 3
    assert np.array_equal(data.x, x) and data.y is not None and np.array_equal(data.y, y)
    with pytest.raises(ValueError, match="read-only"):
        data.x[0] = 1


def test_names_of_samples_are_not_names_of_classes(tmp_path: Path) -> None:
    data = load_dataset(
        npz(tmp_path, x=np.ones((3, 4)), y=np.array([0, 1, 1]), names=np.array(["a", "b", "c"]))
    )
    assert data.labels == ()


def test_hash_is_of_the_content(tmp_path: Path) -> None:
    x, y = np.ones((3, 4), np.float32), np.array([0, 1, 1])
    first = load_dataset(npz(tmp_path, x=x, y=y))
    np.savez_compressed(tmp_path / "again.npz", x=x, y=y, more=np.ones(2))
    assert load_dataset(tmp_path / "again.npz").sha256 == first.sha256
    for other in ({"x": x * 2, "y": y}, {"x": x, "y": y[::-1]}, {"x": x}, {"x": x[:, :2, None]}):
        assert load_dataset(npz(tmp_path, **other)).sha256 != first.sha256


def test_spread_takes_from_all_over(tmp_path: Path) -> None:
    data = load_dataset(npz(tmp_path, x=np.ones((100, 1)), y=np.repeat(np.arange(10), 10)))
    part = data.spread(20)
    assert part.y is not None and part.y.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert part.sha256 != data.sha256 and data.spread(100) is data


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.arange(3)}, "holds no x; it holds y"),
        ({"x": np.ones((0, 4))}, "no samples"),
        ({"x": np.ones(4)}, "no samples"),
        ({"x": np.ones((2, 4)), "y": np.arange(3)}, "x has 2 samples"),
        ({"x": np.array([["a"]])}, "not numbers"),
        ({"x": np.ones((2, 4)), "y": np.array(["a", "b"])}, "not numbers"),
        ({"x": np.array([[1.0, np.nan]])}, "NaN"),
        ({"x": np.array([[1.0, np.inf]])}, "infinite"),
        ({"x": np.ones((1, 2)), "y": np.array([np.nan])}, "y holds NaN"),
        (
            {"x": np.ones((3, 2)), "y": np.array([0, 1, 2]), "names": np.array(["a", "b"])},
            "2 class",
        ),
        ({"x": np.ones((2, 2)), "y": np.arange(2), "names": np.arange(2)}, "names is int64"),
    ],
)
def test_unusable_npz(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load_dataset(npz(tmp_path, **arrays))
    assert caught.value.hint


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UsageError, match="not a readable") as caught:
        load_dataset(path)
    assert "objects" in caught.value.hint


@pytest.mark.parametrize("damage", ["cut", "text", "npy", "claims", "missing"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = npz(tmp_path, x=np.ones((10, 10)))
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:300])
    elif damage == "text":
        path.write_text("x,y\n1,2\n")
    elif damage == "npy":
        np.save(tmp_path / "x.npy", np.ones((2, 2)))
        path = tmp_path / "x.npy"
    elif damage == "missing":
        path = tmp_path / "nothing.npz"
    else:  # a header that claims far more than the file holds
        with zipfile.ZipFile(path, "w") as archive:
            header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 99), }\n"
            archive.writestr("x.npy", b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(UsageError) as caught:
        load_dataset(path)
    assert caught.value.hint


# ---------------------------------------------------------------- images
def images(root: Path, sizes: dict[str, tuple[int, int]], mode: str = "L") -> Path:
    for number, (name, (width, height)) in enumerate(sizes.items()):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        color = number * 40
        Image.new(mode, (width, height), color if mode == "L" else (color, 1, 2)).save(path)
    return root


def test_image_folder(tmp_path: Path) -> None:
    root = images(tmp_path, {"dog/b.png": (5, 4), "cat/2.png": (5, 4), "dog/a.png": (5, 4)})
    (root / "cat" / "notes.txt").write_text("not an image")
    (root / ".cache").mkdir()
    data = load_dataset(root)
    assert data.labels == ("cat", "dog") and data.y is not None
    assert data.y.tolist() == [0, 1, 1] and data.x.shape == (3, 4, 5, 1)
    assert data.x[:, 0, 0, 0].tolist() == [40, 80, 0]  # by class, then by name
    assert load_dataset(root, channels=3).x.shape == (3, 4, 5, 3)


def test_images_of_several_sizes_need_a_resize(tmp_path: Path) -> None:
    root = images(tmp_path, {"a/1.png": (5, 4), "a/2.png": (8, 8)}, mode="RGB")
    with pytest.raises(UsageError, match=r"2\.png is 8 x 8") as caught:
        load_dataset(root)
    assert "resize" in caught.value.hint
    data = load_dataset(root, description=InputDescription(dtype="uint8", resize=(6, 7)))
    assert data.x.shape == (2, 6, 7, 3)


def test_unusable_image_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no folders with images"):
        load_dataset(tmp_path)
    root = images(tmp_path, {"a/1.png": (5, 4)})
    (root / "a" / "2.png").write_bytes((root / "a" / "1.png").read_bytes()[:40])
    with pytest.raises(UsageError, match=r"2\.png is not a readable image"):
        load_dataset(root)
    (root / "a" / "2.png").unlink()
    Image.new("I;16", (5, 4)).save(root / "a" / "3.png")
    with pytest.raises(UsageError, match="more than 8 bits"):
        load_dataset(root)


# ---------------------------------------------------------------- samples to inputs
def test_own_dtype_goes_in_as_it_is() -> None:
    x = np.array([[[1, -128], [127, 0]]], np.int8)
    assert np.array_equal(prepare(x, INT8, None), x[..., np.newaxis])


def test_float_is_quantized_half_away_from_zero_then_clipped() -> None:
    values = np.array([0.25, -0.25, 0.75, -0.75, 1e9, -1e9, 0.2499, 62.0], np.float32)
    x = values.reshape(2, 2, 2, 1)
    # divided by 0.5: 0.5 -0.5 1.5 -1.5, rounded away: 1 -1 2 -2, and the zero point of -3
    expected = [-2, -4, -1, -5, 127, -128, -3, 121]
    assert prepare(x, INT8, None).reshape(-1).tolist() == expected


def test_a_value_just_below_a_half_is_rounded_down() -> None:
    below = np.nextafter(np.float32(0.5), np.float32(0))
    unit = Tensor(0, "in", (1, 1), "int8", scales=(1.0,), zero_points=(0,))
    assert quantize(np.array([[below]], np.float32), unit).item() == 0


def test_described_bytes() -> None:
    x = np.array([[[0, 255], [51, 102]]], np.uint8)
    described = prepare(x, FLOAT, UINT8_PIXELS)
    assert described.dtype == np.float32 and described.shape == (1, 2, 2, 1)
    assert described.reshape(-1).tolist() == pytest.approx([0, 1, 0.2, 0.4])
    shifted = InputDescription(dtype="uint8", scale=0.5, mean=2.0)
    assert prepare(x, INT8, shifted).reshape(-1).tolist() == [-7, 127, 44, 95]


def test_described_images_are_resized() -> None:
    x = np.full((3, 9, 7), 51, np.uint8)
    description = InputDescription(dtype="uint8", scale=1 / 255, resize=(2, 2))
    assert prepare(x, FLOAT, description) == pytest.approx(np.full((3, 2, 2, 1), 0.2))


@pytest.mark.parametrize(
    ("x", "description"),
    [
        (np.ones((1, 2, 2), np.uint8), None),
        (np.ones((1, 2, 2), np.int16), None),
        (np.ones((1, 2, 2), np.int8), UINT8_PIXELS),
        (np.ones((1, 2, 2), np.float32), UINT8_PIXELS),
        (np.ones((1, 2, 2), np.uint8), InputDescription()),
        (np.ones((1, 2, 2), np.uint8), InputDescription(dtype="unit8")),
    ],
)
def test_other_dtypes_are_an_error(x: np.ndarray, description: InputDescription | None) -> None:
    with pytest.raises(UsageError, match=f"x is {x.dtype}") as caught:
        prepare(x, INT8, description)
    assert str(x.dtype) in caught.value.hint or description is not None


@pytest.mark.parametrize("shape", [(1, 4), (1, 2, 2, 3), (1, 3, 3), (2,), (1, 4, 1, 1)])
def test_other_shapes_are_an_error(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="the model's input 'in' takes") as caught:
        prepare(np.ones(shape, np.float32), FLOAT, None)
    assert "(N, 2, 2, 1)" in caught.value.hint


def test_values_beyond_float32_are_an_error() -> None:
    with pytest.raises(UsageError, match="float32 cannot"):
        prepare(np.full((1, 2, 2), 1e300), FLOAT, None)


@pytest.mark.parametrize(
    "wrong", [{"scale": 0.0}, {"scale": float("nan")}, {"scale": float("inf")}, {"mean": np.nan}]
)
def test_a_description_that_makes_all_samples_alike(wrong: dict[str, float]) -> None:
    x = np.ones((1, 2, 2), np.uint8)
    with pytest.raises(UsageError, match="the input is described with scale"):
        prepare(x, INT8, InputDescription(dtype="uint8", **wrong))


def test_integer_tensors_without_scale_take_only_their_own_dtype() -> None:
    tokens = Tensor(0, "tokens", (1, 3), "int32")
    x = np.ones((2, 3), np.int32)
    assert np.array_equal(prepare(x, tokens, None), x)
    with pytest.raises(UnsupportedModelError, match="without one scale"):
        prepare(x.astype(np.float32), tokens, None)


@given(
    st.lists(st.integers(-128, 127), min_size=4, max_size=4),
    st.floats(2**-13, 2**13, width=32),
    st.integers(-128, 127),
)
def test_quantize_undoes_dequantize(q: list[int], scale: float, zero_point: int) -> None:
    tensor = Tensor(0, "t", (1, 4), "int8", scales=(scale,), zero_points=(zero_point,))
    values = np.array([q], np.int8)
    assert np.array_equal(quantize(dequantize(values, tensor), tensor), values)
    assert np.array_equal(dequantize(values, tensor), as_float(values, tensor, None))


@pytest.mark.shared
def test_keyword_spotting_set(shared: Path) -> None:
    data: Dataset = load_dataset(shared / "data" / "kws01.npz")
    assert data.x.shape == (1000, 49, 10, 1) and data.x.dtype == np.int8 and data.labels == ()


def test_a_function_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\n"
        "def only(): return np.ones((4, 2), np.float32)\n"
        "def both(): return np.ones((4, 2), np.float32), [0, 1, 0, 1], ['a', 'b']\n"
        "number = 3\n"
    )
    assert load_dataset(tmp_path / "mine:only").y is None
    both = load_dataset(tmp_path / "mine:both")
    assert both.labels == ("a", "b") and both.y is not None and both.y.tolist() == [0, 1, 0, 1]
    for name, message in (("mine:number", "no function number"), ("other:only", "there is no")):
        with pytest.raises(UsageError, match=message):
            load_dataset(tmp_path / name)


def test_a_function_of_the_user_that_fails(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def labels():\n    return [0, 1]\n")
    (tmp_path / "own.py").write_text(
        "import numpy as np\nimport beside\n"
        "def good():\n    import beside\n    return np.zeros((2, 3)), beside.labels()\n"
        "def fails():\n    return {}['x']\n"
        "def ragged():\n    return [[1, 2], [3]]\n"
        "def takes(x):\n    return x\n"
    )
    (tmp_path / "broken.py").write_text("def f(:\n")
    before = list(sys.path)
    assert load_dataset(tmp_path / "own:good").y is not None
    for name, message in (
        ("own:fails", r"failed: KeyError: 'x' \(.*own\.py, line 7\)"),
        ("own:ragged", "failed: ValueError: .*inhomogeneous"),
        ("own:takes", "failed: TypeError: .*missing 1 required"),
        ("broken:f", "failed: SyntaxError"),
    ):
        with pytest.raises(UsageError, match=message):
            load_dataset(tmp_path / name)
    assert sys.path == before


def test_classes_keep_their_numbers(tmp_path: Path) -> None:
    x = np.zeros((2, 3))
    data = make_dataset(x, np.array([0, 1]), ("cat", "dog"), tmp_path)
    require_same_classes(data, ("cat", "dog", "eel"), "the model")
    require_same_classes(data, (), "the model")
    require_same_classes(data, ("ape", "bee"), "the model")
    with pytest.raises(UsageError, match="'cat' is number 0, in the model it is 1"):
        require_same_classes(data, ("ape", "cat", "dog"), "the model")


def test_channels_first_images_are_turned() -> None:
    tensor = Tensor(index=0, name="x", shape=(1, 4, 5, 3), dtype="float32")
    x = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    turned = prepare(x, tensor, InputDescription(layout="channels-first"))
    assert turned.shape == (2, 4, 5, 3) and turned[1, 2, 3, 1] == x[1, 1, 2, 3]
    with pytest.raises(UsageError, match="no channels first"):
        prepare(x[0], tensor, InputDescription(layout="channels-first"))
    with pytest.raises(UsageError, match="takes") as caught:
        prepare(x, tensor, None)
    assert "--input-layout channels-first" in caught.value.hint
