"""Comparing the aot engine with TFLite-Micro on the host, tensor by tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.interpreters import TfliteMicro
from tinydeploy.tflite import expose_intermediates, read_graph


def random_samples(tensor: Tensor, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Random values of a tensor's whole range, (samples, *shape without the batch)."""
    shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if tensor.dtype == "float32":
        return (3 * rng.normal(size=(samples, *shape))).astype(np.float32)
    if tensor.dtype == "bool":
        return rng.integers(0, 2, (samples, *shape)).astype(bool)
    if tensor.dtype == "int32":  # plain numbers, whose products do not overflow
        return rng.integers(-30000, 30001, (samples, *shape)).astype(np.int32)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max + 1, (samples, *shape)).astype(tensor.dtype)


def random_inputs(model: Path, samples: int, seed: int = 0) -> list[np.ndarray]:
    graph = read_graph(model)
    rng = np.random.default_rng(seed)
    return [random_samples(graph.tensors[t], samples, rng) for t in graph.inputs]


def assert_same(model: Path, inputs: list[np.ndarray]) -> None:
    """Integers equal byte for byte, floats within 1e-5 + 1e-4 |reference|."""
    native = AotCompiler().native(model)
    with TfliteMicro(model) as reference:
        expected = reference.predict(inputs)
    graph = read_graph(model)
    producer = {t: op for op in graph.ops for t in op.outputs}
    for t, ours, theirs in zip(graph.outputs, native.predict(inputs), expected, strict=True):
        what = f"tensor {t} of {producer[t].name} (layer {producer[t].index})"
        assert ours.dtype == theirs.dtype, what
        if ours.dtype == np.float32:
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5, err_msg=what)
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=what)


def exposed(model: Path, folder: Path) -> Path:
    """A copy of the model with every intermediate tensor among its outputs."""
    copy = folder / f"exposed_{model.name}"
    copy.write_bytes(expose_intermediates(model.read_bytes()))
    return copy
