"""The MLflow flavor: `save_model`, `log_model`, `load_model`, and what `mlflow.pyfunc` calls.

    import tinydeploy.mlflow
    tinydeploy.mlflow.log_model("kws.tflite", name="model", registered_model_name="kws")
    mlflow.pyfunc.load_model("models:/kws@nano33ble").predict(x)   # x in the model's own dtype
    tinydeploy.mlflow.load_model("models:/kws@nano33ble").predict(x)   # or raw data

This module is only the name that users and `MLmodel` files write: a flavor needs the registry, the
compiler and the preparation of data, and the core knows none of them. What is behind each name
stands in `tinydeploy.plugins`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinydeploy import plugins
from tinydeploy.types import Artifact

FLAVOR_NAME = "tinydeploy"


def save_model(
    model: Artifact | Path | str,
    path: Path | str,
    mlflow_model: Any = None,
    input_example: Any = None,
) -> None:
    """Write the MLmodel folder of a `.tflite` to `path`, which must not exist yet.

    `model` is a file (what `tinydeploy convert` wrote beside it is taken along) or an artifact.
    `input_example` holds samples in the model's own dtype: an array, or name -> array for several
    inputs; a seeded random sample by default. There is no pickle and no code in the folder.
    Raises UnsupportedModelError or UsageError.
    """
    plugins.load("mlflow", "save_model")(model, Path(path), mlflow_model, input_example)


def log_model(
    model: Artifact | Path | str,
    name: str = "model",
    *,
    registered_model_name: str | None = None,
    input_example: Any = None,
    **options: Any,
) -> Any:
    """Log a `.tflite` to the active MLflow run, and register it under a name if one is given.

    Returns MLflow's ModelInfo. `options` are those of `mlflow.models.Model.log`. `tinydeploy
    deploy` and `tinydeploy register` log accuracy and footprint as well: prefer them.
    """
    return plugins.load("mlflow", "log_model")(
        model, name, registered_model_name, input_example, options
    )


def load_model(
    model_uri: str, *, engine: str = "aot", require_signature: bool = False, **download: Any
) -> Any:
    """A model whose `predict` computes what its board computes.

    `predict` takes samples in the model's own dtype, or raw data as the artifact describes it
    (float, or the described dtype), which are quantized as the board's host would. Results are
    in the model's own dtype. `engine` is "aot" (bit by bit what the board's firmware computes),
    "litert" or "tflm". Raises RegistryError if a file was changed since it was registered, or
    if a signature by a trusted key is required and missing.
    """
    return plugins.load("mlflow", "load_model")(model_uri, engine, require_signature, download)


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> Any:
    """For `mlflow.pyfunc.load_model`: `model_config` may hold `engine` and `require_signature`."""
    return plugins.load("mlflow", "load_pyfunc")(Path(path), model_config or {})
