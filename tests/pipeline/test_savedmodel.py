"""SavedModels: signatures, batch, and what would run code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import make_dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.source import load_source
from tinydeploy.tflite import read_graph

X = np.random.default_rng(0).normal(size=(20, 8, 4)).astype(np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("saved")
    spec = tf.TensorSpec((None, 8, 4), tf.float32, name="x")

    class Two(tf.Module):
        def __init__(self) -> None:
            self.weights = tf.Variable(
                np.random.default_rng(1).normal(size=(4, 3)), dtype="float32"
            )

        @tf.function(input_signature=[spec])
        def classify(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": tf.nn.softmax(tf.reduce_mean(x, 1) @ self.weights)}

        @tf.function(input_signature=[spec])
        def embed(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"e": tf.nn.relu(tf.reduce_max(x, 1))}

    class Spy(tf.Module):
        @tf.function(input_signature=[spec])
        def spy(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {
                "e": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), "float32")
            }

    class Starting(tf.Module):
        """Runs `act` when it is loaded."""

        def __init__(self, act: Callable[[], None]) -> None:
            class Resource(tf.saved_model.experimental.TrackableResource):
                def _create_resource(self) -> tf.Tensor:
                    return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[1], shared_name="own")

                def _initialize(self) -> None:
                    act()

            self.resource = Resource()
            self.weights = tf.Variable(tf.ones((4, 3)))

        @tf.function(input_signature=[spec])
        def use(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            handle = self.resource.resource_handle
            with tf.control_dependencies([tf.raw_ops.VarIsInitializedOp(resource=handle)]):
                return {"y": x @ self.weights}

    def logs() -> None:
        tf.raw_ops.CreateSummaryFileWriter(
            writer=tf.raw_ops.SummaryWriter(shared_name="w"), logdir=str(folder / "written"),
            max_queue=1, flush_millis=1, filename_suffix="",
        )  # fmt: skip

    def saves() -> None:
        tf.raw_ops.SaveV2(
            prefix=str(folder / "written"), tensor_names=["a"], shape_and_slices=[""],
            tensors=[tf.constant([1.0])],
        )  # fmt: skip

    for name, act in (("harmless", lambda: None), ("logs", logs), ("saves", saves)):
        starting = Starting(act)
        tf.saved_model.save(
            starting, str(folder / name), signatures={"serving_default": starting.use}
        )
    _let_initializer_save(folder / "saves" / "saved_model.pb")

    class Eight(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((8, 4), tf.float32, name="x")])
        def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": 2 * x}

    eight = Eight()
    tf.saved_model.save(eight, str(folder / "eight"), signatures={"serving_default": eight.double})

    two = Two()
    tf.saved_model.save(
        two, str(folder / "two"), signatures={"classify": two.classify, "embed": two.embed}
    )
    tf.saved_model.save(two, str(folder / "one"), signatures={"serving_default": two.classify})
    spy = Spy()
    tf.saved_model.save(spy, str(folder / "spy"), signatures={"serving_default": spy.spy})
    expected = tf.nn.softmax(tf.reduce_mean(X, 1) @ two.weights)
    np.save(folder / "expected.npy", np.asarray(expected))
    return folder


def _let_initializer_save(path: Path) -> None:
    """TensorFlow leaves out an operator that nothing depends on; whoever means harm does not."""
    from tensorflow.core.protobuf import saved_model_pb2

    proto = saved_model_pb2.SavedModel()
    proto.ParseFromString(path.read_bytes())
    for function in proto.meta_graphs[0].graph_def.library.function:
        if "initializer" in function.signature.name:
            save = next(n for n in function.node_def if n.op == "SaveV2")
            function.control_ret["saved"] = save.name
            function.signature.control_output.append("saved")
    path.write_bytes(proto.SerializeToString())


@pytest.mark.parametrize(("name", "title"), [("one", "one"), ("two#classify", "two-classify")])
def test_a_signature_with_a_batch_of_one(
    models: Path, tmp_path: Path, name: str, title: str
) -> None:
    source = load_source(models / name)
    assert source.format == "savedmodel" and source.name == title
    artifact = convert(source, load_recipe("float32"), tmp_path)
    graph = read_graph(artifact.path)
    assert graph.tensors[graph.inputs[0]].shape == (1, 8, 4)
    with LiteRt(artifact.path) as predictor:
        (out,) = predictor.predict([X])
    np.testing.assert_allclose(out, np.load(models / "expected.npy"), atol=1e-6)
    int8 = convert(
        source, load_recipe("int8"), tmp_path,
        calibration=make_dataset(X, None, (), Path("x.npz")),
    )  # fmt: skip
    assert int8.data_sha256 and read_graph(int8.path).tensors[graph.inputs[0]].dtype == "int8"


def test_other_signatures_are_other_models(models: Path, tmp_path: Path) -> None:
    artifact = convert(load_source(models / "two#embed"), load_recipe("float32"), tmp_path)
    with LiteRt(artifact.path) as predictor:
        (out,) = predictor.predict([X])
    np.testing.assert_allclose(out, np.maximum(X.max(1), 0), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "message"), [("two", "several signatures"), ("two#none", "no signature 'none'")]
)
def test_signatures_are_listed(models: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        convert(load_source(models / name), load_recipe("float32"), tmp_path)
    assert "classify, embed" in caught.value.hint


def test_a_graph_that_reads_files_is_not_loaded(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="ReadFile") as caught:
        convert(load_source(models / "spy"), load_recipe("float32"), tmp_path / "out")
    assert "--trust-source" in caught.value.hint and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "operator"), [("logs", "SummaryWriter"), ("saves", "SaveV2")])
def test_an_initializer_that_writes_files_is_not_run(
    models: Path, tmp_path: Path, name: str, operator: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=operator) as caught:
        convert(load_source(models / name), load_recipe("float32"), tmp_path)
    assert "--trust-source" in caught.value.hint
    assert not list(models.glob("written*"))


def test_an_initializer_that_writes_nothing_is_run(models: Path, tmp_path: Path) -> None:
    assert convert(load_source(models / "harmless"), load_recipe("float32"), tmp_path).path.exists()


def test_a_batch_that_cannot_become_one(models: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModelError, match="takes batches of 8 only"):
        convert(load_source(models / "eight"), load_recipe("float32"), tmp_path)


def test_identity_is_the_content_of_all_files(models: Path) -> None:
    source = load_source(models / "one")
    variables = models / "one" / "variables" / "variables.index"
    content = variables.read_bytes()
    variables.write_bytes(content + b" ")
    assert load_source(models / "one").sha256 != source.sha256
    variables.write_bytes(content)


def test_damage_is_said(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"\x0a\xff\xff")
    with pytest.raises(UnsupportedModelError, match="not a readable SavedModel"):
        convert(load_source(tmp_path), load_recipe("float32"), tmp_path / "out")
