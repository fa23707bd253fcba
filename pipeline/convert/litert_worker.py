"""The process behind `litert.compress`: ranges of activations, then litert-quantizer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.pipeline.convert.ranges import activation_ranges
from tinydeploy.pipeline.convert.worker import read_job, report_error

_INT4_OPERATORS = {"CONV_2D": "CHANNELWISE", "FULLY_CONNECTED": "TENSORWISE"}
"""What TFLite-Micro computes right with int4 weights, and how fine their scales may be."""


def quantize(folder: Path, job: dict[str, Any]) -> bytes:
    """The quantized model of `folder`'s `model.tflite` and `samples.npy`."""
    from litert_quantizer import qtyping, quantizer

    model = str(folder / "model.tflite")
    samples = np.load(folder / "samples.npy", allow_pickle=False)
    names = qtyping.TFLOperationName
    fine = qtyping.QuantGranularity
    work = quantizer.Quantizer(model)
    config = {
        "regex": ".*",
        "activation_num_bits": 16 if job["activations"] == "int16" else 8,
        "weight_num_bits": 8,
        "weight_granularity": fine.TENSORWISE
        if job["granularity"] == "tensor"
        else fine.CHANNELWISE,
        "algorithm_key": "min_max_uniform_quantize",
    }
    work.add_static_config(operation_name=names.ALL_SUPPORTED, **config)
    if job["weights"] == "int4":
        for operator, granularity in _INT4_OPERATORS.items():
            four = {**config, "weight_num_bits": 4, "weight_granularity": fine[granularity]}
            work.add_static_config(operation_name=names(operator), **four)
    ranges = activation_ranges(Path(model).read_bytes(), samples, job["ranges"], job["percentile"])
    ranges.update({k: (lo, hi) for k, (lo, hi) in job["known"].items() if k in ranges})
    found = {
        name: {"min": np.array([lo], np.float32), "max": np.array([hi], np.float32)}
        for name, (lo, hi) in ranges.items()
    }
    result = work.quantize(found, enable_progress_bar=False, enable_progress_report=False)
    return bytes(result.quantized_model)


def main() -> None:
    """Write `quantized.tflite`, or `error.json`."""
    folder, job = read_job(sys.argv)
    try:
        model = quantize(folder, job)
    except Exception as error:  # ValueError, RuntimeError, NotImplementedError, KeyError, ...
        report_error(folder, f"{type(error).__name__}: {error}")
        return
    (folder / "quantized.tflite").write_bytes(model)


if __name__ == "__main__":
    main()
