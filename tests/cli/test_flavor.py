"""The MLflow flavor: what MLflow loads computes what the board computes, and nothing is pickled."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinydeploy.mlflow
from tinydeploy import plugins, tflite
from tinydeploy.cli.plugin import flavor
from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.errors import RegistryError, ToolMissingError, UsageError
from tinydeploy.pipeline.artifact import save_artifact
from tinydeploy.pipeline.data import prepare
from tinydeploy.registry import keys, signing
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.types import Artifact, InputDescription

MODELS = Path(__file__).resolve().parents[1] / "models"
INT8 = MODELS / "dscnn_int8.tflite"
TWO = MODELS / "two_inputs_int8.tflite"


@pytest.fixture(autouse=True)
def trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYDEPLOY_CONFIG", str(tmp_path / "config"))


def samples(model: Path, count: int = 3) -> dict[str, np.ndarray]:
    graph, rng = tflite.read_graph(model), np.random.default_rng(5)
    return {
        t.name: rng.integers(-128, 127, (count, *t.shape[1:]), np.int8, endpoint=True)
        for t in (graph.tensors[i] for i in graph.inputs)
    }


def on_host(model: Path, x: dict[str, np.ndarray]) -> list[np.ndarray]:
    return AotCompiler().native(model).predict(list(x.values()))


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow with a model called kws, whose alias nano33ble is its version 1."""
    import os

    module = import_mlflow()
    folder, before = tmp_path_factory.mktemp("mlflow"), Path.cwd()
    module.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    os.chdir(folder)  # where MLflow puts artifacts that nobody gave a place
    tinydeploy.mlflow.log_model(INT8, registered_model_name="kws")
    module.MlflowClient().set_registered_model_alias("kws", "nano33ble", "1")
    yield module
    os.chdir(before)
    module.set_tracking_uri(None)


def test_pyfunc_computes_what_the_board_computes(mlflow: Any) -> None:
    x = samples(INT8)
    loaded = mlflow.pyfunc.load_model("models:/kws@nano33ble")
    (array,), (expected,) = x.values(), on_host(INT8, x)
    found = loaded.predict(array)
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())
    assert loaded.predict(loaded.input_example).shape == (1, *expected.shape[1:])
    with pytest.raises(mlflow.exceptions.MlflowException, match="dtype"):
        loaded.predict(array.astype(np.float32))


def test_raw_floats_are_quantized_as_the_boards_host_does(mlflow: Any) -> None:
    graph = tflite.read_graph(INT8)
    tensor = graph.tensors[graph.inputs[0]]
    raw = np.random.default_rng(1).normal(0, 2, (4, *tensor.shape[1:])).astype(np.float32)
    (expected,) = on_host(INT8, {"x": prepare(raw, tensor, None)})
    direct = tinydeploy.mlflow.load_model("models:/kws@nano33ble")
    through = mlflow.pyfunc.load_model("models:/kws/1").get_raw_model()
    assert direct.engine == "aot"
    for model in (direct, through):
        assert model.predict(raw).tobytes() == expected.tobytes()
        assert model.predict(raw.astype(np.float64)).tobytes() == expected.tobytes()


def test_described_raw_data(tmp_path: Path) -> None:
    graph = tflite.read_graph(INT8)
    tensor = graph.tensors[graph.inputs[0]]
    described = InputDescription("uint8", 1 / 32, 4.0)
    artifact = Artifact(
        tmp_path / "m.tflite", graph.sha256, graph.size_bytes, "int8", "net", "0" * 64, "",
        input=described,
    )  # fmt: skip
    save_artifact(artifact, INT8.read_bytes())
    tinydeploy.mlflow.save_model(artifact.path, tmp_path / "model")
    model = flavor.open_folder(tmp_path / "model")
    assert model.artifact.input == described
    raw = np.random.default_rng(2).integers(0, 255, (2, *tensor.shape[1:]), np.uint8)
    quantized = prepare(raw, tensor, described)
    assert model.predict(raw).tobytes() == model.predict(quantized).tobytes()
    for other in (np.int32, np.float32):
        with pytest.raises(UsageError, match="raw data of this model is described as uint8"):
            model.predict(raw.astype(other))


def test_several_inputs_go_by_name(tmp_path: Path) -> None:
    tinydeploy.mlflow.save_model(TWO, tmp_path / "model")
    mlflow = import_mlflow()
    x = samples(TWO)
    expected = on_host(TWO, x)
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    found = loaded.predict(x)
    found = list(found.values()) if isinstance(found, dict) else [found]
    assert [f.tobytes() for f in found] == [e.tobytes() for e in expected]
    with pytest.raises(UsageError, match="no input"):
        loaded.get_raw_model().predict({"a": 1, "b": 2})


def test_without_a_compiler_litert_computes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tinydeploy.mlflow.save_model(INT8, tmp_path / "model")
    monkeypatch.setattr(
        AotCompiler, "native", lambda *a, **k: (_ for _ in ()).throw(ToolMissingError("no cc"))
    )
    with pytest.warns(UserWarning, match="LiteRT computes .*no cc"):
        model = flavor.open_folder(tmp_path / "model")
    assert model.engine == "litert"
    x = samples(INT8)
    expected = plugins.load("interpreter", "litert")(INT8).predict(list(x.values()))[0]
    assert model.predict(*x.values()).tobytes() == expected.tobytes()


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle

    mlflow = import_mlflow()

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("pickle")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads", "dump", "dumps"):
            monkeypatch.setattr(module, name, refuse)
    tinydeploy.mlflow.save_model(INT8, tmp_path / "model")
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    loaded.predict(loaded.input_example)
    names = {p.name for p in (tmp_path / "model").iterdir()}
    assert {"MLmodel", "model.tflite", "README.md", "requirements.txt", "manifest.json"} <= names
    for path in (tmp_path / "model").iterdir():
        assert path.suffix not in (".pkl", ".pickle", ".joblib", ".py")
        assert path.read_bytes()[:1] != b"\x80"
    assert (tmp_path / "model" / "requirements.txt").read_text().startswith("tinydeploy==")


def test_what_was_changed_is_not_loaded(tmp_path: Path) -> None:
    mlflow = import_mlflow()
    tinydeploy.mlflow.save_model(INT8, tmp_path / "model")
    for name in ("model.tflite", "artifact.json", "manifest.json", "README.md"):
        folder = tmp_path / name.replace(".", "_")
        shutil.copytree(tmp_path / "model", folder)
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(RegistryError, match=r"refused|cannot be read"):
            mlflow.pyfunc.load_model(str(folder))
    with pytest.raises(UsageError, match="exists"):
        tinydeploy.mlflow.save_model(INT8, tmp_path / "model")


def test_a_signature_can_be_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = import_mlflow()
    folder = tmp_path / "model"
    tinydeploy.mlflow.save_model(INT8, folder)
    wanted = {"require_signature": True}
    with pytest.raises(RegistryError, match="no signature"):
        mlflow.pyfunc.load_model(str(folder), model_config=wanted)
    private, public = keys.new_key(tmp_path, "me")
    signing.sign_folder(folder, "kws", private)
    with pytest.raises(RegistryError, match="not trusted"):
        mlflow.pyfunc.load_model(str(folder), model_config=wanted)
    keys.trust(public.path)
    mlflow.pyfunc.load_model(str(folder), model_config=wanted)
    monkeypatch.setenv("TINYDEPLOY_REQUIRE_SIGNATURE", "1")
    mlflow.pyfunc.load_model(str(folder))
    (folder / "signature.json").unlink()
    with pytest.raises(RegistryError, match="no signature"):
        mlflow.pyfunc.load_model(str(folder))
    with pytest.raises(UsageError, match="no option"):
        flavor.load_pyfunc(folder, {"engin": "aot"})


def test_the_card_means_nothing_in_markdown() -> None:
    from tinydeploy.registry.card import plain, variant_card

    assert plain("<b>|x`\n# y") == "\\<b\\>\\|x\\` \\# y"
    graph = tflite.read_graph(INT8)
    artifact = Artifact(
        INT8, graph.sha256, graph.size_bytes, "int8", "<script>", "0" * 64, "",
        labels=tuple(f"c{i}|" for i in range(30)),
    )  # fmt: skip
    card = variant_card(artifact, graph, None, {"source": {"name": "a|b"}})
    assert "<script>" not in card and "and 10 more" in card
    assert json.dumps(card) == json.dumps(
        variant_card(artifact, graph, None, {"source": {"name": "a|b"}})
    )
