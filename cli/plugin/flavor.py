"""The flavor behind `tinydeploy.mlflow`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinydeploy.errors import (
    RegistryError,
    ToolMissingError,
    UnsupportedModelError,
    UsageError,
)
from tinydeploy.types import Artifact

if TYPE_CHECKING:
    from tinydeploy.graph import Tensor
    from tinydeploy.ports import Predictor

ENGINES = ("aot", "litert", "tflm")
_OPTIONS = ("engine", "require_signature")


def save_model(
    model: Artifact | Path | str, path: Path, mlflow_model: Any, input_example: Any
) -> None:
    """See `tinydeploy.mlflow.save_model`."""
    from tinydeploy import tflite
    from tinydeploy.cli import wiring
    from tinydeploy.pipeline.artifact import load_artifact
    from tinydeploy.registry.card import variant_card
    from tinydeploy.registry.files import made_with
    from tinydeploy.registry.folder import import_mlflow
    from tinydeploy.registry.manifest import write_manifest
    from tinydeploy.registry.mlmodel import write_model_folder

    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} exists", hint="choose another folder")
    artifact = model if isinstance(model, Artifact) else load_artifact(Path(model))
    wiring.require_deployable(artifact.path)
    import_mlflow()
    lineage = {
        "model_sha256": artifact.sha256,
        "source": {"name": artifact.source_name, "sha256": artifact.source_sha256},
        "recipe": {"name": artifact.recipe, "sha256": ""},
        "calibration_sha256": artifact.data_sha256,
        **made_with(wiring.lineage()),
    }
    card = variant_card(artifact, tflite.read_graph(artifact.path), None, lineage)
    write_model_folder(
        path, artifact, None, card=card, model=mlflow_model, input_example=input_example
    )
    write_manifest(path, "variant", lineage)


def log_model(
    model: Artifact | Path | str,
    name: str,
    registered_model_name: str | None,
    input_example: Any,
    options: Mapping[str, Any],
) -> Any:
    """See `tinydeploy.mlflow.log_model`."""
    import tinydeploy.mlflow as flavor
    from tinydeploy.registry.folder import import_mlflow

    return import_mlflow().models.Model.log(
        artifact_path=None,
        name=name,
        flavor=flavor,
        model=model,
        registered_model_name=registered_model_name,
        input_example=input_example,
        **options,
    )


def load_model(
    model_uri: str, engine: str, require_signature: bool, download: Mapping[str, Any]
) -> BoardModel:
    """See `tinydeploy.mlflow.load_model`."""
    from tinydeploy.registry.folder import import_mlflow
    from tinydeploy.registry.schema import TAG_MANIFEST

    mlflow = import_mlflow()
    try:
        folder = Path(mlflow.artifacts.download_artifacts(model_uri, **download))
        registered = _registered_tags(mlflow, model_uri).get(TAG_MANIFEST)
    except (mlflow.exceptions.MlflowException, OSError) as e:
        raise RegistryError(
            f"{model_uri} cannot be loaded: {e}",
            hint="set MLFLOW_TRACKING_URI to the registry: sqlite:////ABSOLUTE/mlruns/mlflow.db",
        ) from e
    return open_folder(folder, engine, require_signature, registered)


def load_pyfunc(folder: Path, config: Mapping[str, Any]) -> PyfuncModel:
    """See `tinydeploy.mlflow._load_pyfunc`."""
    if unknown := sorted(set(config) - set(_OPTIONS)):
        raise UsageError(
            f"no option is called {unknown[0]!r}", hint=f"known: {', '.join(_OPTIONS)}"
        )
    signed = truth(config.get("require_signature", False))
    return PyfuncModel(open_folder(folder, str(config.get("engine", "aot")), signed))


def open_folder(
    folder: Path, engine: str = "aot", signed: bool = False, manifest_sha256: str | None = None
) -> BoardModel:
    """The model of an MLmodel folder, every file of it checked first.

    `manifest_sha256` is the manifest's hash, where a registry knows it.
    """
    from tinydeploy.registry import keys, signing
    from tinydeploy.registry.manifest import problems, read_manifest
    from tinydeploy.registry.mlmodel import read_model_folder

    if wrong := problems(folder, manifest_sha256):
        raise RegistryError(
            f"{folder} is refused: {wrong[0][0]} {wrong[0][1]}",
            hint="a file was changed after it was registered: import or deploy it again",
        )
    signing.require_signature(folder, str(folder), keys.signatures_required(signed))
    lineage = read_manifest(folder)["lineage"]
    return BoardModel(read_model_folder(folder, str(lineage.get("model_sha256"))), engine)


class BoardModel:
    """A model that computes on the host what its board computes.

    `engine` is what it runs on in fact: "litert" after a fall-back.
    """

    def __init__(self, artifact: Artifact, engine: str = "aot") -> None:
        from tinydeploy import plugins
        from tinydeploy.cli import wiring
        from tinydeploy.tflite import read_graph

        if engine not in ENGINES:
            raise UsageError(f"no engine is called {engine!r}", hint=f"use {', '.join(ENGINES)}")
        graph = read_graph(artifact.path)
        self.artifact = artifact
        self.inputs: list[Tensor] = [graph.tensors[i] for i in graph.inputs]
        self.outputs: list[Tensor] = [graph.tensors[i] for i in graph.outputs]
        self.engine = engine
        self._predictor: Predictor
        if engine == "aot":
            try:
                self._predictor = wiring.compiler().native(artifact.path)
                return
            except (ToolMissingError, UnsupportedModelError) as e:
                warnings.warn(
                    f"LiteRT computes instead of the board's own code, and may differ from the "
                    f"board in the last bit: {e.message}",
                    stacklevel=2,
                )
                self.engine = "litert"
        self._predictor = plugins.load("interpreter", self.engine)(artifact.path)

    def predict(self, x: Any) -> Any:
        """Outputs for N samples, in the model's own dtype.

        `x` is an array (N, ...), or name -> array for several inputs: samples in the model's own
        dtype go in as they are; floats, and data of the described dtype, are described and
        quantized first, as a board's host would. One output gives an array, several a dict.
        Raises UsageError.
        """
        from tinydeploy.pipeline.data import prepare

        single = self.artifact.input if len(self.inputs) == 1 else None
        arrays = [
            self._own(a, t) if self._is_own(a, t) else prepare(a, t, single)
            for a, t in zip(self._arrays(x), self.inputs, strict=True)
        ]
        return self._run(arrays)

    def predict_own(self, x: Any) -> Any:
        """As `predict`, but takes nothing other than the model's own dtype."""
        given = self._arrays(x)
        return self._run([self._own(a, t) for a, t in zip(given, self.inputs, strict=True)])

    def close(self) -> None:
        """Release what it holds."""
        self._predictor.close()

    def _is_own(self, array: np.ndarray, tensor: Tensor) -> bool:
        described = self.artifact.input
        other = described is not None and array.dtype.name == described.dtype
        return array.dtype.name == tensor.dtype and array.dtype.kind != "f" and not other

    def _own(self, array: np.ndarray, tensor: Tensor) -> np.ndarray:
        from tinydeploy.pipeline.prepare import fit_shape

        if array.dtype.name != tensor.dtype:
            raise UsageError(
                f"input {tensor.name!r} takes {tensor.dtype}, not {array.dtype}",
                hint="tinydeploy.mlflow.load_model(URI).predict quantizes raw data",
            )
        return fit_shape(array, tensor)

    def _arrays(self, x: Any) -> list[np.ndarray]:
        if isinstance(x, Mapping):
            missing = [t.name for t in self.inputs if t.name not in x]
            if missing and not (len(x) == len(self.inputs) == 1):
                raise UsageError(
                    f"there is no input {missing[0]!r}",
                    hint=f"the model's inputs: {', '.join(t.name for t in self.inputs)}",
                )
            found = list(x.values()) if missing else [x[t.name] for t in self.inputs]
        elif len(self.inputs) == 1:
            found = [x]
        elif isinstance(x, Sequence) and len(x) == len(self.inputs):
            found = list(x)
        else:
            raise UsageError(
                f"the model has {len(self.inputs)} inputs",
                hint="give a dict of arrays by input name",
            )
        return [np.asarray(a) for a in found]

    def _run(self, arrays: list[np.ndarray]) -> Any:
        results = self._predictor.predict(arrays)
        if len(results) == 1:
            return results[0]
        return {t.name: r for t, r in zip(self.outputs, results, strict=True)}


class PyfuncModel:
    """What `mlflow.pyfunc` wraps: the dtypes of the signature, which are the model's own."""

    def __init__(self, model: BoardModel) -> None:
        self._model = model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """Outputs for the samples of an array, or of a dict of arrays by input name."""
        return self._model.predict_own(model_input)

    def get_raw_model(self) -> BoardModel:
        """For `PyFuncModel.get_raw_model`: its `predict` takes raw data as well."""
        return self._model


def truth(value: Any) -> bool:
    """A yes or no out of a configuration, where MLflow's command line has only text."""
    text = str(value).lower()
    if text not in ("true", "false", "1", "0", "yes", "no"):
        raise UsageError(f"{value!r} is neither true nor false")
    return text in ("true", "1", "yes")


def _registered_tags(mlflow: Any, uri: str) -> Mapping[str, str]:
    """The tags of the version behind a `models:/` URI, nothing for any other."""
    if not uri.startswith("models:/"):
        return {}
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    client = mlflow.MlflowClient()
    name, version = get_model_name_and_version(client, uri)
    found: Mapping[str, str] = client.get_model_version(name, version).tags
    return found
