"""The MLmodel folder of a variant: what a model version points to.

::

    model/MLmodel         MLflow's description: flavor `tinydeploy`, signature, hashes (YAML)
    model/model.tflite    the model
    model/artifact.json   the artifact's description: input, labels, task, metric, threshold
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy import tflite
from tinydeploy.errors import RegistryError
from tinydeploy.graph import Graph, Tensor
from tinydeploy.store import sha256_file, write_atomic, write_json
from tinydeploy.types import Artifact, from_json, to_json

FLAVOR = "tinydeploy"
FLAVOR_VERSION = "1"
MODEL_FILE = "model.tflite"
SIDECAR_FILE = "artifact.json"

# dtypes of `.tflite` files that numpy has no type for: the type that carries them.
_CARRIERS = {"int4": "int8"}


def write_model_folder(folder: Path, artifact: Artifact, run_id: str) -> None:
    """Write the folder of an artifact, which a run with `run_id` produced.

    Raises UnsupportedModelError if the `.tflite` cannot be read, RegistryError if it is not the
    one that the artifact describes.
    """
    from mlflow.models import Model

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
    Model(
        artifact_path=folder.name,
        run_id=run_id,
        flavors={FLAVOR: flavor},
        signature=_signature(graph),
        model_size_bytes=artifact.size_bytes,
    ).save(str(folder / "MLmodel"))


def read_model_folder(folder: Path, sha256: str) -> Artifact:
    """The artifact of a folder. Raises RegistryError if a file is missing or was changed."""
    try:
        sidecar = json.loads((folder / SIDECAR_FILE).read_text(encoding="utf-8"))
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
    """Inputs and outputs in the model's own dtypes; the batch dimension is free."""
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    def schema(indices: tuple[int, ...]) -> Schema:
        return Schema([TensorSpec(**_spec(graph.tensors[i])) for i in indices])

    return ModelSignature(inputs=schema(graph.inputs), outputs=schema(graph.outputs))


def _spec(tensor: Tensor) -> dict[str, Any]:
    dtype = np.dtype(_CARRIERS.get(tensor.dtype, tensor.dtype))
    return {"type": dtype, "shape": (-1, *tensor.shape[1:]), "name": tensor.name}
