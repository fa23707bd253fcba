"""What all equality tests share: models, inputs, the rule of equality, TFLite-Micro's outputs.

TFLite-Micro on the host is the reference. Integers have to be equal byte for byte; floats within
|d| <= 1e-5 + 1e-4 |ref|, because its kernels sum in another order and use libm.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinydeploy.graph import Graph, Tensor
from tinydeploy.pipeline.interpreters import TfliteMicro

FOLDER = Path(__file__).resolve().parents[1] / "models"
SMALL = sorted(p.stem for p in FOLDER.glob("*.tflite"))
MLPERF_TINY = {
    "keyword spotting": "kws_ref_model",
    "image classification": "pretrainedResnet_quant",
    "anomaly detection": "ad01_int8",
    "streaming wake word": "str_ww_ref_model",
}


def random_inputs(graph: Graph, samples: int, seed: int = 1) -> list[np.ndarray]:
    """Samples for each input: the first half over the whole range, the others near zero.

    Inputs over the whole range saturate many networks; those near their zero point do not.
    """
    rng = np.random.default_rng(seed)
    return [_random(graph.tensors[t], samples, rng) for t in graph.inputs]


def _random(tensor: Tensor, samples: int, rng: np.random.Generator) -> np.ndarray:
    shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    wide = samples // 2
    if tensor.dtype == "float32":
        scale = np.where(np.arange(samples) < wide, 3.0, 0.5).reshape(-1, *[1] * len(shape))
        return (rng.normal(0, 1, (samples, *shape)) * scale).astype(np.float32)
    limits = np.iinfo(tensor.dtype)
    whole = rng.integers(limits.min, limits.max + 1, (wide, *shape))
    near = rng.normal(tensor.zero_points[0], limits.max / 4, (samples - wide, *shape)).round()
    clipped = np.clip(near, limits.min, limits.max)
    return np.concatenate([whole, clipped]).astype(tensor.dtype)


def tflm_outputs(model: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """TFLite-Micro's outputs for N samples."""
    with TfliteMicro(model) as interpreter:
        return interpreter.predict(inputs)


def assert_equal(actual: np.ndarray, reference: np.ndarray, what: str) -> None:
    """Byte for byte for integers, within the tolerance for floats."""
    assert actual.dtype == reference.dtype and actual.shape == reference.shape, what
    if reference.dtype == np.float32:
        np.testing.assert_allclose(actual, reference, rtol=1e-4, atol=1e-5, err_msg=what)
    else:
        np.testing.assert_array_equal(actual, reference, err_msg=what)


def assert_lively(outputs: np.ndarray, what: str) -> None:
    """A comparison of constants would show nothing."""
    assert len(np.unique(outputs)) > 1, f"{what} is the same for every input"
