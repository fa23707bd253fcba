"""The process behind `litert.compress`: ranges of activations, then litert-quantizer."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.compression import MixBudget
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert.mixing import int4_layers, mix
from tinydeploy.pipeline.convert.ranges import activation_ranges
from tinydeploy.pipeline.worker import read_job, report_error
from tinydeploy.tflite import read_graph
from tinydeploy.types import from_json, to_json

_INT4_OPERATORS = {"CONV_2D": "CHANNELWISE", "FULLY_CONNECTED": "TENSORWISE"}
"""What TFLite-Micro computes right with int4 weights, and how fine their scales may be."""


class Quantizing:
    """A float model and the ranges of its activations: quantized in as many ways as are asked."""

    def __init__(self, folder: Path, job: dict[str, Any]) -> None:
        """Of `folder`'s `model.tflite` and `samples.npy`."""
        self.job = job
        self.path = folder / "model.tflite"
        self.model = self.path.read_bytes()
        self.graph = read_graph(self.model)
        self.samples = np.load(folder / "samples.npy", allow_pickle=False)
        ranges = activation_ranges(self.model, self.samples, job["ranges"], job["percentile"])
        ranges.update({k: (lo, hi) for k, (lo, hi) in job["known"].items() if k in ranges})
        self.ranges = {
            name: {"min": np.array([lo], np.float32), "max": np.array([hi], np.float32)}
            for name, (lo, hi) in ranges.items()
        }

    def quantized(self, int4: Collection[tuple[str, str]] = ()) -> bytes:
        """The quantized model; operators of a (scope, kind) in `int4` get int4 weights.

        The scope is a regular expression for the names of an operator's outputs.
        """
        from litert_quantizer import qtyping, quantizer

        names, fine = qtyping.TFLOperationName, qtyping.QuantGranularity
        config = {
            "activation_num_bits": 16 if self.job["activations"] == "int16" else 8,
            "weight_num_bits": 8,
            "weight_granularity": fine.TENSORWISE
            if self.job["granularity"] == "tensor"
            else fine.CHANNELWISE,
            "algorithm_key": "min_max_uniform_quantize",
        }
        work = quantizer.Quantizer(str(self.path))
        work.add_static_config(regex=".*", operation_name=names.ALL_SUPPORTED, **config)
        for scope, kind in int4:
            granularity = fine[_INT4_OPERATORS[kind]]
            four = {**config, "weight_num_bits": 4, "weight_granularity": granularity}
            work.add_static_config(regex=scope, operation_name=names(kind), **four)
        result = work.quantize(self.ranges, enable_progress_bar=False, enable_progress_report=False)
        return bytes(result.quantized_model)

    def with_int4(self, numbers: Collection[int]) -> bytes:
        """The quantized model with int4 weights in the operators of those numbers."""
        scopes = []
        for number in sorted(numbers):
            op = self.graph.ops[number]
            outputs = "".join(f"{re.escape(self.graph.tensors[t].name)};" for t in op.outputs)
            scopes.append((f"^{outputs}$", op.name))
        return self.quantized(scopes)


def quantize(folder: Path, job: dict[str, Any]) -> bytes:
    """The quantized model of `folder`'s files; of a mixed one `mix.json` is written as well."""
    work = Quantizing(folder, job)
    if job["weights"] == "mixed":
        budget = from_json(MixBudget, job["mixed"])
        candidates = int4_layers(work.graph, frozenset(_INT4_OPERATORS))
        model, chosen = mix(work.model, work.samples, candidates, work.with_int4, budget)
        (folder / "mix.json").write_text(json.dumps(to_json(chosen)), encoding="utf-8")
        return model
    if job["weights"] == "int4":
        return work.quantized([(".*", kind) for kind in _INT4_OPERATORS])
    return work.quantized()


def main() -> None:
    """Write `quantized.tflite`, or `error.json`."""
    folder, job = read_job(sys.argv)
    try:
        model = quantize(folder, job)
    except UnsupportedModelError as error:
        report_error(folder, error.message, error.hint)
        return
    except Exception as error:  # ValueError, RuntimeError, NotImplementedError, KeyError, ...
        report_error(folder, f"{type(error).__name__}: {error}")
        return
    (folder / "quantized.tflite").write_bytes(model)


if __name__ == "__main__":
    main()
