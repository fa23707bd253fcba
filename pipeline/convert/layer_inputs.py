"""What reaches the weights of each layer on a calibration set, as second moments."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tinydeploy.graph import Graph, Op
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.prepare import dequantize
from tinydeploy.tflite import expose_intermediates, read_graph

_SAMPLES = 128
_PATCHES = 8192
"""Rows that enter a layer's moments; more change them little."""


def layer_inputs(model: bytes, graph: Graph, inputs: np.ndarray) -> Callable[[Op], np.ndarray]:
    """A function that gives a layer's second moments (in + 1, in + 1): the mean of x xᵀ.

    x are the real numbers that one output of the layer multiplies: a patch (kernel height, kernel
    width, channels) of a CONV_2D, a row of a FULLY_CONNECTED, and a 1 for the bias. Padding counts
    as zeros.
    """
    samples = inputs[np.arange(min(len(inputs), _SAMPLES)) * len(inputs) // _SAMPLES]
    if len(inputs) < _SAMPLES:
        samples = inputs
    exposed = expose_intermediates(model)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        path = Path(scratch) / "exposed.tflite"
        path.write_bytes(exposed)
        with LiteRt(path) as predictor:
            outputs = predictor.predict([samples])
    found = dict(zip(read_graph(exposed).outputs, outputs, strict=True))
    found[graph.inputs[0]] = samples

    def moments(op: Op) -> np.ndarray:
        tensor = graph.tensors[op.inputs[0]]
        x = dequantize(found[op.inputs[0]], tensor).astype(np.float64)
        shape = graph.tensors[op.inputs[1]].shape
        rows = _patches(x, op, shape) if op.name == "CONV_2D" else x.reshape(-1, shape[-1])
        if len(rows) > _PATCHES:
            rows = rows[np.random.default_rng(0).choice(len(rows), _PATCHES, replace=False)]
        rows = np.append(rows, np.ones((len(rows), 1)), axis=1)
        return np.asarray(rows.T @ rows / len(rows))

    return moments


def _patches(x: np.ndarray, op: Op, shape: tuple[int, ...]) -> np.ndarray:
    """(patches, kernel height x kernel width x channels) of images (N, H, W, C)."""
    pads = []
    windows = []
    for axis, name in ((1, "h"), (2, "w")):
        dilation = int(op.options[f"dilation_{name}_factor"])
        stride = int(op.options[f"stride_{name}"])
        extent = (shape[axis] - 1) * dilation + 1
        missing = 0
        if op.options["padding"] == "SAME":
            missing = max((-(-x.shape[axis] // stride) - 1) * stride + extent - x.shape[axis], 0)
        pads.append((missing // 2, missing - missing // 2))
        windows.append((extent, stride, dilation))
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    extents = (windows[0][0], windows[1][0])
    view = np.lib.stride_tricks.sliding_window_view(padded, extents, axis=(1, 2))
    view = view[:, :: windows[0][1], :: windows[1][1], :, :: windows[0][2], :: windows[1][2]]
    return view.transpose(0, 1, 2, 4, 5, 3).reshape(-1, int(np.prod(shape[1:])))
