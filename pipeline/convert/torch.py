"""PyTorch models to `.tflite`, through litert-torch in an environment of its own."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.convert import channels, torch_environment
from tinydeploy.pipeline.convert.converted import Converted, require_changing
from tinydeploy.pipeline.convert.litert import compress
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.interpreters import LiteRt
from tinydeploy.pipeline.worker import run_worker
from tinydeploy.tflite import read_graph
from tinydeploy.types import InputDescription, ModelSource, Recipe

_WORKER = Path(__file__).with_name("torch_worker.py")
_TOLERANCE = 1e-3
_HINT = "use operators that litert-torch converts, or export the model as ONNX"


def convert(
    source: ModelSource,
    recipe: Recipe,
    calibration: Dataset | None,
    description: InputDescription | None,
) -> Converted:
    """A `.tflite` model with a batch of one and image-like inputs with channels last.

    The source is an exported program (`.pt2`), or `module:function`, which returns a
    `torch.nn.Module` and a tuple of example inputs; that function is the user's own code and is
    run. The result is compared with PyTorch before it is used.
    Raises ToolMissingError without the environment (see `torch_environment`), UsageError for
    calibration data that does not fit, UnsupportedModelError for what cannot be converted.
    """
    require_changing(recipe, source.path.name)
    model, agreement = _float_model(source.path, source.sha256)
    done = compress(model, recipe, calibration, description, name=source.path.name)
    return replace(done, agreement=agreement)


@functools.lru_cache(maxsize=4)
def _float_model(path: Path, sha256: str) -> tuple[bytes, Mapping[str, float]]:
    """The float `.tflite` and how well it agrees. Kept for the next recipe of the same content."""
    python = torch_environment.require()
    is_program = path.suffix == ".pt2"
    # A pickle within a .pt2 may hold tensors only.
    variables = {**os.environ, "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1" if is_program else "0"}
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch)
        run_worker(
            folder,
            {"source": str(path.absolute()), "program": is_program, "search": str(Path.cwd())},
            script=_WORKER,
            python=python,
            environment=variables,
            what=f"{path.name} cannot be converted",
            hint=_HINT,
        )
        model = channels.without_transposes((folder / "model.tflite").read_bytes())
        with np.load(folder / "compare.npz", allow_pickle=False) as archive:
            values = {key: archive[key] for key in archive.files}
    return model, _agreement(model, values, path.name)


def _agreement(model: bytes, values: Mapping[str, np.ndarray], name: str) -> dict[str, float]:
    """The largest absolute difference of each output from PyTorch's on the example input."""
    graph = read_graph(model)
    inputs = [values[f"input_{i}"] for i in range(len(graph.inputs))]
    inputs = [
        x.reshape(1, *graph.tensors[t].shape[1:]) for x, t in zip(inputs, graph.inputs, strict=True)
    ]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        path = Path(scratch) / "model.tflite"
        path.write_bytes(model)
        with LiteRt(path) as predictor:
            outputs = predictor.predict(inputs)
    agreement = {}
    for number, (index, got) in enumerate(zip(graph.outputs, outputs, strict=True)):
        want = values[f"output_{number}"]
        same = want.size == got.size
        difference = float(np.abs(want.ravel() - got.ravel()).max()) if same else float("inf")
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(want).max())):
            raise UnsupportedModelError(
                f"{name}: the converted model's output {number} differs by {difference:.3g} from "
                "what PyTorch computes",
                hint="export the model as ONNX instead",
            )
        agreement[graph.tensors[index].name] = difference
    return agreement
