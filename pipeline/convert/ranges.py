"""The range of each activation of a float model: min-max, percentile, or least squared error."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinydeploy.tflite import read_graph

_BINS = 2048
_LEVELS = 255
_SHRINKS = np.linspace(1.0, 0.3, 71)


def activation_ranges(
    model: bytes, samples: np.ndarray, method: str, percentile: float
) -> dict[str, tuple[float, float]]:
    """Least and greatest value of every float activation, by tensor name, over the samples.

    `samples` are (N, *shape) float32, run one by one. "min-max" takes the extremes; "percentile"
    cuts off what lies outside the central `percentile` percent of values; "mse" cuts both ends by
    the one factor that makes the squared error of rounding to 255 levels and clipping least (as
    TensorRT's and PyTorch's histogram observers search). The latter two look at a histogram of
    2,048 bins between the extremes. A range that touches zero at one end keeps that end.
    """
    interpreter, names = _interpreter(model)
    shape = interpreter.get_input_details()[0]["shape"]
    low = dict.fromkeys(names, np.inf)
    high = dict.fromkeys(names, -np.inf)
    for value in _runs(interpreter, samples, shape):
        for index, x in value(names):
            low[index] = min(low[index], float(x.min()))
            high[index] = max(high[index], float(x.max()))
    if method != "min-max":
        counts = {i: np.zeros(_BINS, np.int64) for i in names if high[i] > low[i]}
        for value in _runs(interpreter, samples, shape):
            for index, x in value(counts):
                counts[index] += np.histogram(x, _BINS, (low[index], high[index]))[0]
        for index, histogram in counts.items():
            low[index], high[index] = narrowed(
                histogram, low[index], high[index], method, percentile
            )
    return {name: (low[i], high[i]) for i, name in names.items() if np.isfinite(low[i])}


def narrowed(
    histogram: np.ndarray, low: float, high: float, method: str, percentile: float
) -> tuple[float, float]:
    """A narrower range than (low, high), between which `histogram` counts values in equal bins."""
    edges = np.linspace(low, high, len(histogram) + 1)
    if method == "percentile":
        share = np.concatenate([[0.0], np.cumsum(histogram) / histogram.sum()])
        outside = (1 - percentile / 100) / 2
        found = np.interp([outside, 1 - outside], share, edges)
        cut_low, cut_high = float(found[0]), float(found[1])
    else:
        centres = (edges[:-1] + edges[1:]) / 2
        costs = [_cost(histogram, centres, low * s, high * s) for s in _SHRINKS]
        best = float(_SHRINKS[int(np.argmin(costs))])
        cut_low, cut_high = low * best, high * best
    # ReLU's zero is exact: cutting there would move a zero point for nothing.
    return (low if low == 0 else cut_low), (high if high == 0 else cut_high)


def _cost(histogram: np.ndarray, centres: np.ndarray, low: float, high: float) -> float:
    """Expected squared error of a value rounded to 255 levels between low and high, or clipped."""
    step = max((max(high, 0.0) - min(low, 0.0)) / _LEVELS, 1e-30)
    beyond = np.maximum(centres - high, 0) + np.maximum(low - centres, 0)
    inside = beyond == 0
    return float((histogram * np.where(inside, step * step / 12, beyond**2)).sum())


def _interpreter(model: bytes) -> tuple[Any, dict[int, str]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(
        model_content=model, experimental_preserve_all_tensors=True, num_threads=1
    )
    interpreter.allocate_tensors()
    names = {
        t.index: t.name
        for t in read_graph(model).tensors
        if t.dtype == "float32" and t.data is None
    }
    return interpreter, names


def _runs(interpreter: Any, samples: np.ndarray, shape: Any) -> Any:
    """For each sample, a function that yields (index, values) of the tensors asked for."""
    index = interpreter.get_input_details()[0]["index"]

    def values(wanted: Any) -> Any:
        for i in wanted:
            try:
                yield i, interpreter.get_tensor(i)
            except ValueError:  # a tensor that the interpreter has optimized away
                continue

    for sample in samples:
        interpreter.set_tensor(index, sample.reshape(shape))
        interpreter.invoke()
        yield values
