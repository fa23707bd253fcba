"""TRANSPOSEs are taken out of models that came with channels first; what is computed stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinydeploy.pipeline.convert.channels import without_transposes
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.tflite import read_graph

rng = np.random.default_rng(0)
WEIGHTS = rng.normal(size=(4 * 5 * 3, 7)).astype(np.float32)
KERNEL = rng.normal(size=(3, 3, 3, 3)).astype(np.float32)


def first(tf: Any, x: Any) -> Any:
    return tf.transpose(x, [0, 3, 1, 2])


def last(tf: Any, x: Any) -> Any:
    return tf.transpose(x, [0, 2, 3, 1])


CASES: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda tf, x: tf.reduce_mean(first(tf, x), [2, 3]) * 2.0,
    "kept mean": lambda tf, x: tf.reshape(
        tf.reduce_mean(first(tf, x), [2, 3], keepdims=True), [1, 3]
    ),
    "dense": lambda tf, x: tf.matmul(tf.reshape(first(tf, x), [1, -1]), WEIGHTS),
    "there and back": lambda tf, x: tf.nn.conv2d(
        last(tf, tf.nn.relu(first(tf, tf.nn.conv2d(x, KERNEL, 1, "SAME")))), KERNEL, 1, "SAME"
    ),
    "sum of two": lambda tf, x: tf.reduce_mean(
        first(tf, tf.nn.conv2d(x, KERNEL, 1, "SAME")) + first(tf, tf.nn.relu(x)), [2, 3]
    ),
    "concatenated": lambda tf, x: tf.reduce_max(
        tf.concat([first(tf, x), first(tf, tf.nn.relu(x))], 1), [2, 3]
    ),
    "only ones move": lambda tf, x: tf.reshape(
        first(tf, tf.nn.avg_pool2d(x, [4, 5], 1, "VALID")), [1, 3]
    ),
}


def model(function: Callable[[Any, Any], Any]) -> bytes:
    import tensorflow as tf

    spec = tf.TensorSpec((1, 4, 5, 3), tf.float32)
    concrete = tf.function(lambda x: function(tf, x), input_signature=[spec])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete.get_concrete_function()])
    return bytes(converter.convert())


def run(content: bytes, path: Path) -> np.ndarray:
    path.write_bytes(content)
    x = np.random.default_rng(1).normal(size=(3, 4, 5, 3)).astype(np.float32)
    with LiteRt(path) as predictor:
        return predictor.predict([x])[0]


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_transposed_and_nothing_else_changes(case: str, tmp_path: Path) -> None:
    before = model(CASES[case])
    after = without_transposes(before)
    assert "TRANSPOSE" not in [op.name for op in read_graph(after).ops]
    expected = run(before, tmp_path / "before.tflite")
    np.testing.assert_allclose(
        run(after, tmp_path / "after.tflite"), expected, rtol=1e-5, atol=1e-6
    )


def test_an_output_keeps_its_layout() -> None:
    before = model(lambda tf, x: first(tf, tf.nn.relu(x)))
    assert without_transposes(before) == before


def test_a_model_without_any_stays_as_it_is(root: Path) -> None:
    content = (root / "tests/models/dscnn_float32.tflite").read_bytes()
    assert without_transposes(content) == content
