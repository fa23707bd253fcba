"""The MLmodel folder of a variant: what a model version points to.

::

    model/MLmodel              MLflow's description: flavors, signature, hashes (YAML)
    model/model.tflite         the model
    model/artifact.json        the artifact's description: input, labels, task, metric, threshold
    model/README.md            the model card
    model/input_example.json   one sample in the model's own dtype
    model/requirements.txt     what `mlflow.pyfunc` needs to load it
    model/python_env.yaml      the same for MLflow's virtual environments
    model/manifest.json        all of these by sha256 (see `manifest`), and signature.json

There is no pickle and no code in it: `mlflow.pyfunc` loads it with `tinydeploy.mlflow`.
"""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy import tflite
from tinydeploy.errors import RegistryError
from tinydeploy.graph import Graph, Tensor
from tinydeploy.mlflow import FLAVOR_NAME
from tinydeploy.store import read_json, sha256_file, write_atomic, write_json
from tinydeploy.types import Artifact, from_json, to_json

FLAVOR_VERSION = "1"
MODEL_FILE = "model.tflite"
SIDECAR_FILE = "artifact.json"
CARD_FILE = "README.md"
REQUIREMENTS_FILE = "requirements.txt"
PYTHON_ENV_FILE = "python_env.yaml"
LOADER = "tinydeploy.mlflow"

_REQUIRED = ("tinydeploy", "mlflow", "numpy")

# dtypes of `.tflite` files that numpy has no type for: the type that carries them.
_CARRIERS = {"int4": "int8"}


def write_model_folder(
    folder: Path,
    artifact: Artifact,
    run_id: str | None,
    *,
    card: str,
    model: Any = None,
    input_example: Any = None,
) -> None:
    """Write the folder of an artifact, which a run with `run_id` produced, all but its manifest.

    `card` is the model card. `model` is the `mlflow.models.Model` to complete, a new one by
    default; `input_example` samples in the model's own dtype, a seeded random one by default.
    Raises UnsupportedModelError if the `.tflite` cannot be read, RegistryError if it is not the
    one that the artifact describes.
    """
    from mlflow.models import Model
    from mlflow.models.utils import _save_example  # what the flavors within MLflow call

    graph = tflite.read_graph(artifact.path)
    if graph.sha256 != artifact.sha256:
        raise _changed(artifact.path, graph.sha256, artifact.sha256)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / MODEL_FILE, artifact.path.read_bytes())
    write_json(folder / SIDECAR_FILE, to_json(_moved(artifact, Path(MODEL_FILE))))
    flavor: dict[str, Any] = {
        "flavor_version": FLAVOR_VERSION,
        "data": MODEL_FILE,
        "artifact": SIDECAR_FILE,
        "recipe": artifact.recipe,
        "task": artifact.task,
        "model_sha256": artifact.sha256,
        "source_sha256": artifact.source_sha256,
    }
    write_atomic(folder / CARD_FILE, card)
    requirements = "".join(f"{name}=={version(name)}\n" for name in _REQUIRED)
    write_atomic(folder / REQUIREMENTS_FILE, requirements)
    python = platform.python_version()
    environment = f"python: {python}\ndependencies:\n- -r {REQUIREMENTS_FILE}\n"
    write_atomic(folder / PYTHON_ENV_FILE, environment)
    described = model or Model(artifact_path=folder.name, run_id=run_id)
    _save_example(
        described, example(graph) if input_example is None else input_example, str(folder)
    )
    described.flavors[FLAVOR_NAME] = flavor
    described.flavors["python_function"] = {
        "loader_module": LOADER,
        "python_version": python,
        "env": {"virtualenv": PYTHON_ENV_FILE},
        # MLflow passes on only what is named here; see `tinydeploy.mlflow._load_pyfunc`.
        "config": {"engine": "aot", "require_signature": False},
    }
    described.signature = _signature(graph)
    described.model_size_bytes = artifact.size_bytes
    described.save(str(folder / "MLmodel"))


def example(graph: Graph) -> Any:
    """One seeded random sample: an array for one input, name -> array for several."""
    rng = np.random.default_rng(0)
    arrays = {}
    for tensor in (graph.tensors[i] for i in graph.inputs):
        dtype = np.dtype(_CARRIERS.get(tensor.dtype, tensor.dtype))
        shape = (1, *tensor.shape[1:])
        if dtype.kind == "f":
            arrays[tensor.name] = rng.uniform(-1, 1, shape).astype(dtype)
        elif dtype.kind == "b":
            arrays[tensor.name] = rng.integers(0, 2, shape).astype(dtype)
        else:
            limits = np.iinfo(dtype)
            arrays[tensor.name] = rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def read_model_folder(folder: Path, sha256: str) -> Artifact:
    """The artifact of a folder. Raises RegistryError if a file is missing or was changed."""
    try:
        sidecar = read_json(folder / SIDECAR_FILE)
        artifact = _moved(from_json(Artifact, sidecar), folder / MODEL_FILE)
        found = sha256_file(artifact.path)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise RegistryError(
            f"{folder} is incomplete: {e}",
            hint="delete the version in the MLflow UI and deploy again",
        ) from e
    if found != sha256:
        raise _changed(artifact.path, found, sha256)
    return artifact


def _moved(artifact: Artifact, path: Path) -> Artifact:
    return dataclasses.replace(artifact, path=path)


def _changed(path: Path, found: str, expected: str) -> RegistryError:
    return RegistryError(
        f"{path} has the sha256 {found[:12]}..., expected {expected[:12]}...",
        hint="the file was changed or damaged: deploy again",
    )


def _signature(graph: Graph) -> Any:
    """Inputs and outputs in the model's own dtypes; the batch dimension is free.

    MLflow takes a plain array where the one tensor has no name, and a dict of arrays by name
    where there are several.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    def schema(indices: tuple[int, ...]) -> Schema:
        specs = [_spec(graph.tensors[i]) for i in indices]
        if len(specs) == 1:
            specs[0]["name"] = None
        return Schema([TensorSpec(**spec) for spec in specs])

    return ModelSignature(inputs=schema(graph.inputs), outputs=schema(graph.outputs))


def _spec(tensor: Tensor) -> dict[str, Any]:
    dtype = np.dtype(_CARRIERS.get(tensor.dtype, tensor.dtype))
    return {"type": dtype, "shape": (-1, *tensor.shape[1:]), "name": tensor.name}
