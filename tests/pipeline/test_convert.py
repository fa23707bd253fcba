"""Keras and `.tflite` sources to artifacts. TensorFlow itself runs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import dequantize, prepare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, InputDescription

PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def network(layers: Any) -> Any:
    """A separable CNN in either version of Keras; `layers` is its module."""
    inputs = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x)))
    return inputs, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files as users have them: both versions of Keras, and what must be refused."""
    import keras
    import tf_keras

    out = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(1)
    model = keras.Model(*network(keras.layers))
    model.save(out / "three.keras")
    model.save(out / "three_h5.h5")
    with open(out / "expected.npy", "wb") as f:
        np.save(f, model.predict(pixels().x / np.float32(255), verbose=0))
    old = tf_keras.Model(*network(tf_keras.layers))
    old.set_weights(model.get_weights())
    old.save(out / "two.h5")
    old.save(out / "two_zip.keras")

    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x * 2)(inputs)).save(out / "lambda.keras")
    old_inputs = tf_keras.Input((4,))
    doubled = tf_keras.layers.Lambda(lambda x: x * 2)(old_inputs)
    tf_keras.Model(old_inputs, doubled).save(out / "lambda.h5")
    tf_keras.Model(old_inputs, tf_keras.layers.ReLU()(old_inputs * 2.0)).save(out / "operator.h5")
    model.save_weights(out / "weights.weights.h5")
    varying = keras.Input((None, 8, 1))
    keras.Model(varying, keras.layers.Conv2D(2, 3)(varying)).save(out / "varying.keras")
    pair = [keras.Input((4,)), keras.Input((4,))]
    keras.Model(pair, keras.layers.Add()(pair)).save(out / "pair.keras")
    return out


def pixels() -> Dataset:
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    return make_dataset(x, np.arange(40) % 3, ("a", "b", "c"), Path("pixels.npz"))


@pytest.fixture
def run(models: Path, tmp_path: Path) -> Callable[..., Artifact]:
    def run(name: str, recipe: str, **options: Any) -> Artifact:
        options = {"calibration": pixels(), "description": PIXELS, **options}
        source = load_source(models / name)
        return convert(source, load_recipe(recipe), tmp_path / "out", **options)

    return run


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
    run: Callable[..., Artifact], models: Path, name: str, recipe: str, tolerance: float
) -> None:
    artifact = run(name, recipe)
    assert artifact.path.name == f"{Path(name).stem}-{recipe}.tflite"
    assert np.abs(outputs(artifact) - np.load(models / "expected.npy")).max() < tolerance
    ops = [op.name for op in read_graph(artifact.path).ops]
    assert ops == ["CONV_2D", "DEPTHWISE_CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]


def test_integer_recipes_are_per_channel_and_integer_to_the_ends(
    run: Callable[..., Artifact],
) -> None:
    for recipe, dtype in (("int8", "int8"), ("int16x8", "int16")):
        graph = read_graph(run("three.keras", recipe).path)
        ends = [graph.tensors[t].dtype for t in (*graph.inputs, *graph.outputs)]
        assert ends == [dtype, dtype]
        assert len(graph.tensors[graph.ops[0].inputs[1]].scales) == 4
        assert graph.tensors[graph.inputs[0]].shape == (1, 8, 8, 1)


def test_tensorflows_quantizer_says_what_half_of_the_samples_would_do(
    run: Callable[..., Artifact],
) -> None:
    plain = run("three.keras", "int8")
    artifact = run("three.keras", "int8", calibration_effect=True)
    assert artifact.sha256 == plain.sha256
    assert artifact.calibration is not None and artifact.calibration.samples == 40
    (half,) = artifact.calibration.effects
    assert half.samples == 20 and 0 < half.range_change < 1
    assert half.outputs.changed is not None and half.outputs.error < 0.5


def test_the_same_bytes_twice(run: Callable[..., Artifact], models: Path, tmp_path: Path) -> None:
    first = run("three.keras", "int8")
    run("two.h5", "int16x8")
    run("pair.keras", "float32")
    assert run("three.keras", "int8").sha256 == first.sha256
    script = f"""
import numpy as np
from pathlib import Path
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import load_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.types import InputDescription
out = Path({str(tmp_path)!r})
print(convert(load_source(Path({str(models / "three.keras")!r})), load_recipe("int8"), out,
              calibration=load_dataset(out / "pixels.npz"),
              description=InputDescription("uint8", 1 / 255)).sha256)
"""
    np.savez(tmp_path / "pixels.npz", x=pixels().x)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [first.sha256]
    assert done.stderr == ""  # TensorFlow's chatter is no message of ours


def test_artifact_and_its_description(run: Callable[..., Artifact], tmp_path: Path) -> None:
    artifact = run("three.keras", "int8", labels=("a", "b", "c"), task="classify")
    assert artifact.metric == "accuracy" and artifact.data_sha256 == pixels().sha256
    assert run("three.keras", "float32").data_sha256 == ""
    sidecar = artifact.path.with_suffix(".json")
    assert json.loads(sidecar.read_text())["path"] == artifact.path.name
    assert load_artifact(artifact.path) == load_artifact(sidecar) == artifact
    (tmp_path / "out").rename(tmp_path / "moved")
    moved = load_artifact(tmp_path / "moved" / artifact.path.name)
    assert moved.path.parent == tmp_path / "moved" and moved.labels == ("a", "b", "c")


def test_calibration_takes_the_recipes_number_of_samples(run: Callable[..., Artifact]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (400, 8, 8)).astype(np.uint8)
    data = make_dataset(x, None, (), Path("many.npz"))
    assert run("three.keras", "int8", calibration=data).data_sha256 == data.spread(300).sha256


# ---------------------------------------------------------------- what is refused
@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_code_in_a_model_is_never_run(run: Callable[..., Artifact], name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="Lambda layer"):
        run(name, "float32")


@pytest.mark.parametrize("where", ["layers", "model"])
def test_modules_that_a_model_names_are_not_imported(
    run: Callable[..., Artifact],
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    (tmp_path / "beside.py").write_text("raise SystemExit('was run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        zipfile.ZipFile(models / "two_zip.keras") as good,
        zipfile.ZipFile(models / "foreign.keras", "w") as bad,
    ):
        for name in good.namelist():
            content = good.read(name)
            if name == "config.json":
                config = json.loads(content)
                if where == "model":
                    config["module"] = "beside"
                else:
                    config["config"]["layers"][1]["module"] = "beside.layers"
                content = json.dumps(config).encode()
            bad.writestr(name, content)
    with pytest.raises(UnsupportedModelError, match="Python module 'beside") as caught:
        run("foreign.keras", "float32")
    assert "--trust-source" in caught.value.hint


@pytest.mark.parametrize("name", ["two.h5", "three_h5.h5", "two_zip.keras", "three.keras"])
@pytest.mark.parametrize("how", ["external", "link", "virtual"])
def test_weights_are_not_read_from_other_files(
    run: Callable[..., Artifact], models: Path, tmp_path: Path, name: str, how: str
) -> None:
    import h5py

    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["secret"] = np.zeros(1024, np.float32)
    weights = tmp_path / "weights.h5"
    zipped = name.endswith(".keras")
    if zipped:
        with zipfile.ZipFile(models / name) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
    else:
        weights.write_bytes((models / name).read_bytes())
    with h5py.File(weights, "r+") as file:
        found: list[str] = []
        file.visititems(lambda n, o: found.append(n) if isinstance(o, h5py.Dataset) else None)
        shape, kind = file[found[0]].shape, file[found[0]].dtype
        del file[found[0]]
        if how == "external":
            store = [(str(tmp_path / "secret.bin"), 0, 4096)]
            file.create_dataset(found[0], shape, kind, external=store)
        elif how == "link":
            file[found[0]] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/secret")
        else:
            layout = h5py.VirtualLayout((1024,), "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "secret", (1024,))
            file.create_virtual_dataset(found[0], layout)
    target = models / f"foreign-{how}-{name}"
    if zipped:
        with zipfile.ZipFile(models / name) as good, zipfile.ZipFile(target, "w") as bad:
            for member in good.namelist():
                is_weights = member == "model.weights.h5"
                bad.writestr(member, weights.read_bytes() if is_weights else good.read(member))
    else:
        target.write_bytes(weights.read_bytes())
    with pytest.raises(UnsupportedModelError, match="is stored in another file") as caught:
        run(target.name, "float32")
    assert "--trust-source" in caught.value.hint


@pytest.mark.parametrize("name", ["two.h5", "two_zip.keras"])
def test_layers_that_wait_for_each_other_end_no_one(
    run: Callable[..., Artifact], models: Path, name: str
) -> None:
    import h5py

    target = models / f"circle-{name}"

    def circular(text: str) -> str:
        config = json.loads(text)
        layers = config["config"]["layers"]
        first = next(layer for layer in layers if layer["class_name"] == "Conv2D")
        first["inbound_nodes"] = [[[layers[-1]["name"], 0, 0, {}]]]
        return json.dumps(config)

    if name.endswith(".h5"):
        target.write_bytes((models / name).read_bytes())
        with h5py.File(target, "r+") as file:
            file.attrs["model_config"] = circular(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(models / name) as good, zipfile.ZipFile(target, "w") as bad:
            for member in good.namelist():
                text = good.read(member)
                bad.writestr(member, circular(text) if member == "config.json" else text)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModelError, match="waits for its own output"):
        run(target.name, "float32")


def test_layers_that_are_called_twice_and_models_in_models_are_loaded(
    run: Callable[..., Artifact], models: Path
) -> None:
    import tf_keras

    layers = tf_keras.layers
    inner_inputs = tf_keras.Input((4,))
    inner = tf_keras.Model(inner_inputs, layers.Dense(4)(inner_inputs) * 2.0)
    row = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(4)])
    shared, inputs = layers.Dense(4), tf_keras.Input((4,))
    x = inner(shared(row(shared(inner(inputs)))))
    tf_keras.Model(inputs, layers.Add()([row(x), x + shared(x)])).save(models / "twice.h5")
    assert run("twice.h5", "float32").path.exists()


def test_pure_functions_of_keras_2_are_loaded(run: Callable[..., Artifact], models: Path) -> None:
    import h5py

    (op,) = read_graph(run("operator.h5", "float32").path).ops
    assert (op.name, op.options["fused_activation_function"]) == ("MUL", "RELU")
    (models / "harmful.h5").write_bytes((models / "operator.h5").read_bytes())
    with h5py.File(models / "harmful.h5", "r+") as file:
        config = file.attrs["model_config"]
        assert "math.multiply" in config
        file.attrs["model_config"] = config.replace("math.multiply", "io.write_file")
    with pytest.raises(UnsupportedModelError, match=r"'io\.write_file'"):
        run("harmful.h5", "float32")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights.weights.h5", "weights without their model"),
        ("varying.keras", r"the shape \(None, None, 8, 1\)"),
        ("pair.keras", "2 inputs"),
    ],
)
def test_models_that_cannot_be_converted(
    run: Callable[..., Artifact], tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        run(name, "int8")
    assert caught.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["three.keras", "three_h5.h5"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_models(
    run: Callable[..., Artifact], models: Path, tmp_path: Path, name: str, share: float
) -> None:
    raw = (models / name).read_bytes()
    cut = models / f"cut-{share}-{name}"
    cut.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(UnsupportedModelError) as caught:
        run(cut.name, "float32")
    assert caught.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "config", ["", "[]", "{}", "{" * 10, "[" * 20_000, '{"class_name": "Sequential"}']
)
def test_zip_files_that_hold_no_model(tmp_path: Path, config: str) -> None:
    with zipfile.ZipFile(tmp_path / "odd.keras", "w") as archive:
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("config.json", config)
    with pytest.raises(UnsupportedModelError, match=r"odd\.keras") as caught:
        convert(load_source(tmp_path / "odd.keras"), load_recipe("float32"), tmp_path / "out")
    assert caught.value.hint and not (tmp_path / "out").exists()


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
    run: Callable[..., Artifact],
    tmp_path: Path,
    data: np.ndarray | None,
    description: InputDescription | None,
    message: str,
) -> None:
    calibration = None if data is None else make_dataset(data, None, (), Path("bad.npz"))
    with pytest.raises(UsageError, match=message) as caught:
        run("three.keras", "int8", calibration=calibration, description=description)
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
    run: Callable[..., Artifact], models: Path, tmp_path: Path, recipe: str, tolerance: float
) -> None:
    float_model = run("three.keras", "float32")
    artifact = convert(
        load_source(float_model.path), load_recipe(recipe), tmp_path / "again",
        calibration=pixels(), description=PIXELS,
    )  # fmt: skip
    assert np.abs(outputs(artifact) - np.load(models / "expected.npy")).max() < tolerance
    assert artifact.data_sha256 == pixels().sha256


def test_code_runs_only_in_what_the_user_trusts(models: Path, tmp_path: Path) -> None:
    for name in ("lambda.keras", "lambda.h5"):
        with pytest.raises(UnsupportedModelError, match="Lambda") as caught:
            convert(load_source(models / name), load_recipe("float32"), tmp_path / "out")
        assert "--trust-source" in caught.value.hint
        source = load_source(models / name, trusted=True)
        artifact = convert(source, load_recipe("float32"), tmp_path / "trusted")
        with LiteRt(artifact.path) as predictor:
            (out,) = predictor.predict([np.ones((1, 4), np.float32)])
        assert (out == 2).all()


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
