"""Keras and `.tflite` sources to artifacts. TensorFlow itself runs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_samples import PIXELS, pixels

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import make_dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import dequantize, prepare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, InputDescription


def outputs(artifact: Artifact) -> np.ndarray:
    graph = read_graph(artifact.path)
    with LiteRt(artifact.path) as predictor:
        inputs = prepare(pixels().x, graph.tensors[graph.inputs[0]], artifact.input)
        (out,) = predictor.predict([inputs])
    return dequantize(out, graph.tensors[graph.outputs[0]])


# ---------------------------------------------------------------- what comes out
@pytest.mark.parametrize("name", ["three.keras", "three_h5.h5", "two.h5", "two_zip.keras"])
@pytest.mark.parametrize(
    ("recipe", "tolerance"), [("float32", 1e-5), ("int8", 0.02), ("int16x8", 0.01)]
)
def test_outputs_are_those_of_keras(
    convert_file: Callable[..., Artifact],
    keras_files: Path,
    name: str,
    recipe: str,
    tolerance: float,
) -> None:
    artifact = convert_file(name, recipe)
    assert artifact.path.name == f"{Path(name).stem}-{recipe}.tflite"
    assert np.abs(outputs(artifact) - np.load(keras_files / "expected.npy")).max() < tolerance
    ops = [op.name for op in read_graph(artifact.path).ops]
    assert ops == ["CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]


def test_integer_recipes_are_per_channel_and_integer_to_the_ends(
    convert_file: Callable[..., Artifact],
) -> None:
    for recipe, dtype in (("int8", "int8"), ("int16x8", "int16")):
        graph = read_graph(convert_file("three.keras", recipe).path)
        ends = [graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)]
        assert ends == [dtype, dtype]
        assert len(graph.tensors[graph.ops[0].inputs[1]].scales) == 4
        assert graph.tensors[graph.inputs[0]].shape == (1, 8, 8, 1)


def test_tensorflows_quantizer_says_what_half_of_the_samples_would_do(
    convert_file: Callable[..., Artifact],
) -> None:
    plain = convert_file("three.keras", "int8")
    artifact = convert_file("three.keras", "int8", calibration_effect=True)
    assert artifact.sha256 == plain.sha256
    assert artifact.calibration is not None and artifact.calibration.samples == 40
    (half,) = artifact.calibration.effects
    assert half.samples == 20 and 0 < half.range_change < 1
    assert half.outputs.changed is not None and half.outputs.error < 0.5


def test_the_same_bytes_twice(
    convert_file: Callable[..., Artifact], keras_files: Path, tmp_path: Path
) -> None:
    first = convert_file("three.keras", "int8")
    convert_file("two.h5", "int16x8")
    convert_file("pair.keras", "float32")
    assert convert_file("three.keras", "int8").sha256 == first.sha256
    script = f"""
import numpy as np
from pathlib import Path
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import load_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.types import InputDescription
out = Path({str(tmp_path)!r})
print(convert(load_source(Path({str(keras_files / "three.keras")!r})), load_recipe("int8"), out,
              calibration=load_dataset(out / "pixels.npz"),
              description=InputDescription("uint8", 1 / 255)).sha256)
"""
    np.savez(tmp_path / "pixels.npz", x=pixels().x)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [first.sha256]
    assert done.stderr == ""  # TensorFlow's chatter is no message of ours


def test_artifact_and_its_description(
    convert_file: Callable[..., Artifact], tmp_path: Path
) -> None:
    artifact = convert_file("three.keras", "int8", labels=("a", "b", "c"), task="classify")
    assert artifact.metric == "accuracy" and artifact.data_sha256 == pixels().sha256
    assert convert_file("three.keras", "float32").data_sha256 == ""
    sidecar = artifact.path.with_suffix(".json")
    assert json.loads(sidecar.read_text())["path"] == artifact.path.name
    assert load_artifact(artifact.path) == load_artifact(sidecar) == artifact
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = load_artifact(tmp_path / "moved" / artifact.path.name)
    assert moved.path.parent == tmp_path / "moved" and moved.labels == ("a", "b", "c")


def test_calibration_takes_the_recipes_number_of_samples(
    convert_file: Callable[..., Artifact],
) -> None:
    x = np.random.default_rng(0).integers(0, 256, (400, 8, 8)).astype(np.uint8)
    data = make_dataset(x, None, (), Path("many.npz"))
    assert (
        convert_file("three.keras", "int8", calibration=data).data_sha256 == data.spread(300).sha256
    )


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize(
    ("data", "description", "message"),
    [
        (None, PIXELS, "needs a calibration set"),
        (np.zeros((5, 8, 9, 1), np.uint8), PIXELS, r"calibration data bad.npz: .*\(8, 9, 1\)"),
        (np.zeros((5, 8, 8, 1), np.uint8), None, "calibration data bad.npz: x is uint8"),
        (np.zeros((5, 8, 8, 1), np.float32), PIXELS, "x is float32"),
    ],
)
def test_calibration_data_that_does_not_fit(
    convert_file: Callable[..., Artifact],
    tmp_path: Path,
    data: np.ndarray | None,
    description: InputDescription | None,
    message: str,
) -> None:
    calibration = None if data is None else make_dataset(data, None, (), Path("bad.npz"))
    with pytest.raises(UsageError, match=message) as caught:
        convert_file("three.keras", "int8", calibration=calibration, description=description)
    assert caught.value.hint and not (tmp_path / "out").exists()


def test_wrong_extensions_and_contents(tmp_path: Path) -> None:
    for name, content, error in (
        ("model.bin", b"", UsageError),
        ("model", b"", UsageError),
        ("missing.keras", None, UsageError),
        ("text.keras", b"hello", UnsupportedModelError),
        ("text.h5", b"hello", UnsupportedModelError),
        ("text.tflite", b"hello world", UnsupportedModelError),
    ):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(error) as caught:
            load_source(tmp_path / name)
        assert caught.value.hint


def test_names_are_fit_for_files_and_registries(root: Path, tmp_path: Path) -> None:
    model = (root / "tests" / "models" / "dscnn_int8.tflite").read_bytes()
    (tmp_path / "my model.v2 (é).tflite").write_bytes(model)
    assert load_source(tmp_path / "my model.v2 (é).tflite").name == "my-model-v2"


# ---------------------------------------------------------------- .tflite
def test_tflite_passes_by_its_own_recipe_or_as_it_is(root: Path, tmp_path: Path) -> None:
    for recipe in ("float32", "int8", "int16x8"):
        source = load_source(root / "tests" / "models" / f"dscnn_{recipe}.tflite")
        for chosen in (recipe, "as-is"):
            artifact = convert(source, load_recipe(chosen), tmp_path / "out")
            assert artifact.sha256 == source.sha256 and artifact.recipe == chosen
        for other in {"float32", "int8", "int16x8"} - {recipe}:
            if recipe == "float32":
                continue  # a float model can be compressed, see below
            with pytest.raises(UnsupportedModelError, match=f"dscnn_{recipe}.tflite: ") as caught:
                convert(source, load_recipe(other), tmp_path / "none")
            assert "as-is" in caught.value.hint and not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("int4-weights", "int4 weights"),
        ("int8-per-tensor", "one scale a tensor"),
        ("int8-mse", "ranges by mse"),
        ("int8-percentile", "ranges by percentile"),
    ],
)
def test_a_quantized_tflite_is_not_called_what_it_is_not(
    root: Path, tmp_path: Path, recipe: str, message: str
) -> None:
    source = load_source(root / "tests" / "models" / "dscnn_int8.tflite")
    with pytest.raises(UnsupportedModelError, match=f"{message}, and this model is quantized"):
        convert(source, load_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("recipe", ["pruned", "clustered"])
def test_weights_are_not_reduced_without_samples(root: Path, tmp_path: Path, recipe: str) -> None:
    source = load_source(root / "tests" / "models" / "dscnn_int8.tflite")
    with pytest.raises(UsageError, match="needs a calibration set"):
        convert(source, load_recipe(recipe), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("recipe", "tolerance"), [("int8", 0.02), ("int16x8", 0.01)])
def test_a_float_tflite_is_compressed(
    convert_file: Callable[..., Artifact],
    keras_files: Path,
    tmp_path: Path,
    recipe: str,
    tolerance: float,
) -> None:
    float_model = convert_file("three.keras", "float32")
    artifact = convert(
        load_source(float_model.path), load_recipe(recipe), tmp_path / "again",
        calibration=pixels(), description=PIXELS,
    )  # fmt: skip
    assert np.abs(outputs(artifact) - np.load(keras_files / "expected.npy")).max() < tolerance
    assert artifact.data_sha256 == pixels().sha256


@pytest.mark.parametrize(
    ("types", "reason"), [([], "dynamic range quantization"), (["float16"], "float16")]
)
def test_what_devices_compute_wrongly_is_refused(
    tmp_path: Path, types: list[str], reason: str
) -> None:
    """Models as TensorFlow makes them with its default options."""
    import tensorflow as tf

    weights = tf.constant(np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32))
    spec = tf.TensorSpec((1, 64), tf.float32)
    function = tf.function(lambda x: tf.matmul(x, weights), input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [getattr(tf, t) for t in types]
    (tmp_path / "made.tflite").write_bytes(converter.convert())
    source = load_source(tmp_path / "made.tflite")
    with pytest.raises(UnsupportedModelError, match=reason):
        convert(source, load_recipe("as-is"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_artifacts_that_were_tampered_with(root: Path, tmp_path: Path) -> None:
    source = load_source(root / "tests" / "models" / "dscnn_int8.tflite")
    artifact = convert(source, load_recipe("as-is"), tmp_path)
    sidecar = artifact.path.with_suffix(".json")
    good = sidecar.read_text()
    for changed, message in (
        (good.replace('"task"', '"tsak"'), "tsak: unknown key"),
        (good.replace('"classify"', '"clasify"'), "task: expected one of"),
        (good[: len(good) // 2], "not valid JSON"),
        ("[]", "does not describe"),
    ):
        sidecar.write_text(changed)
        with pytest.raises(UsageError, match=message):
            load_artifact(artifact.path)
    sidecar.write_text(good)
    artifact.path.write_bytes(artifact.path.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="describes another model") as caught:
        load_artifact(artifact.path)
    assert "convert" in caught.value.hint
    with pytest.raises(UsageError, match=r"\.keras is no \.tflite file"):
        load_artifact(artifact.path.with_suffix(".keras"))  # not the .tflite beside it
    artifact.path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        load_artifact(sidecar)


# ---------------------------------------------------------------- the real ones
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("kws_model.h5", (49, 10, 1)),
        ("pretrainedResnet.h5", (32, 32, 3)),
        ("ad01.h5", (640,)),
        ("str_ww_ref_model.h5", (30, 1, 40)),
    ],
)
def test_mlperf_tiny(shared: Path, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)
    data = make_dataset(x, None, (), Path("random.npz"))
    source = load_source(shared / "models" / "mlperf_tiny" / name)
    artifact = convert(source, load_recipe("int8"), tmp_path, calibration=data)
    assert read_graph(artifact.path).tensors[0].shape[0] == 1
