"""What a Keras file may hold, and that nothing in it is run, read elsewhere or waited for."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact


@pytest.mark.parametrize("name", ["lambda.keras", "lambda.h5"])
def test_code_in_a_model_is_never_run(convert_file: Callable[..., Artifact], name: str) -> None:
    with pytest.raises(UnsupportedModelError, match="Lambda layer"):
        convert_file(name, "float32")


@pytest.mark.parametrize("where", ["layers", "model"])
def test_modules_that_a_model_names_are_not_imported(
    convert_file: Callable[..., Artifact],
    keras_files: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    (tmp_path / "beside.py").write_text("raise SystemExit('was run')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        zipfile.ZipFile(keras_files / "two_zip.keras") as good,
        zipfile.ZipFile(keras_files / "foreign.keras", "w") as bad,
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
        convert_file("foreign.keras", "float32")
    assert "--trust-source" in caught.value.hint


@pytest.mark.parametrize("name", ["two.h5", "three_h5.h5", "two_zip.keras", "three.keras"])
@pytest.mark.parametrize("how", ["external", "link", "virtual"])
def test_weights_are_not_read_from_other_files(
    convert_file: Callable[..., Artifact], keras_files: Path, tmp_path: Path, name: str, how: str
) -> None:
    import h5py

    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    with h5py.File(tmp_path / "secret.h5", "w") as other:
        other["secret"] = np.zeros(1024, np.float32)
    weights = tmp_path / "weights.h5"
    zipped = name.endswith(".keras")
    if zipped:
        with zipfile.ZipFile(keras_files / name) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
    else:
        weights.write_bytes((keras_files / name).read_bytes())
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
    target = keras_files / f"foreign-{how}-{name}"
    if zipped:
        with zipfile.ZipFile(keras_files / name) as good, zipfile.ZipFile(target, "w") as bad:
            for member in good.namelist():
                is_weights = member == "model.weights.h5"
                bad.writestr(member, weights.read_bytes() if is_weights else good.read(member))
    else:
        target.write_bytes(weights.read_bytes())
    with pytest.raises(UnsupportedModelError, match="is stored in another file") as caught:
        convert_file(target.name, "float32")
    assert "--trust-source" in caught.value.hint


@pytest.mark.parametrize("name", ["two.h5", "two_zip.keras"])
def test_layers_that_wait_for_each_other_end_no_one(
    convert_file: Callable[..., Artifact], keras_files: Path, name: str
) -> None:
    import h5py

    target = keras_files / f"circle-{name}"

    def circular(text: str) -> str:
        config = json.loads(text)
        layers = config["config"]["layers"]
        first = next(layer for layer in layers if layer["class_name"] == "Conv2D")
        first["inbound_nodes"] = [[[layers[-1]["name"], 0, 0, {}]]]
        return json.dumps(config)

    if name.endswith(".h5"):
        target.write_bytes((keras_files / name).read_bytes())
        with h5py.File(target, "r+") as file:
            file.attrs["model_config"] = circular(file.attrs["model_config"])
    else:
        with zipfile.ZipFile(keras_files / name) as good, zipfile.ZipFile(target, "w") as bad:
            for member in good.namelist():
                text = good.read(member)
                bad.writestr(member, circular(text) if member == "config.json" else text)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModelError, match="waits for its own output"):
        convert_file(target.name, "float32")


def test_layers_that_are_called_twice_and_models_in_models_are_loaded(
    convert_file: Callable[..., Artifact], keras_files: Path
) -> None:
    import tf_keras

    layers = tf_keras.layers
    inner_inputs = tf_keras.Input((4,))
    inner = tf_keras.Model(inner_inputs, layers.Dense(4)(inner_inputs) * 2.0)
    row = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(4)])
    shared, inputs = layers.Dense(4), tf_keras.Input((4,))
    x = inner(shared(row(shared(inner(inputs)))))
    tf_keras.Model(inputs, layers.Add()([row(x), x + shared(x)])).save(keras_files / "twice.h5")
    assert convert_file("twice.h5", "float32").path.exists()


def test_pure_functions_of_keras_2_are_loaded(
    convert_file: Callable[..., Artifact], keras_files: Path
) -> None:
    import h5py

    (op,) = read_graph(convert_file("operator.h5", "float32").path).ops
    assert (op.name, op.options["fused_activation_function"]) == ("MUL", "RELU")
    (keras_files / "harmful.h5").write_bytes((keras_files / "operator.h5").read_bytes())
    with h5py.File(keras_files / "harmful.h5", "r+") as file:
        config = file.attrs["model_config"]
        assert "math.multiply" in config
        file.attrs["model_config"] = config.replace("math.multiply", "io.write_file")
    with pytest.raises(UnsupportedModelError, match=r"'io\.write_file'"):
        convert_file("harmful.h5", "float32")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("weights.weights.h5", "weights without their model"),
        ("varying.keras", r"the shape \(None, None, 8, 1\)"),
        ("pair.keras", "2 inputs"),
    ],
)
def test_models_that_cannot_be_converted(
    convert_file: Callable[..., Artifact], tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        convert_file(name, "int8")
    assert caught.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["three.keras", "three_h5.h5"])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97])
def test_truncated_models(
    convert_file: Callable[..., Artifact],
    keras_files: Path,
    tmp_path: Path,
    name: str,
    share: float,
) -> None:
    raw = (keras_files / name).read_bytes()
    cut = keras_files / f"cut-{share}-{name}"
    cut.write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(UnsupportedModelError) as caught:
        convert_file(cut.name, "float32")
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


def test_code_runs_only_in_what_the_user_trusts(keras_files: Path, tmp_path: Path) -> None:
    for name in ("lambda.keras", "lambda.h5"):
        with pytest.raises(UnsupportedModelError, match="Lambda") as caught:
            convert(load_source(keras_files / name), load_recipe("float32"), tmp_path / "out")
        assert "--trust-source" in caught.value.hint
        source = load_source(keras_files / name, trusted=True)
        artifact = convert(source, load_recipe("float32"), tmp_path / "trusted")
        with LiteRt(artifact.path) as predictor:
            (out,) = predictor.predict([np.ones((1, 4), np.float32)])
        assert (out == 2).all()
