"""The process behind `trained`: load the model, prepare the samples, train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy import plugins
from tinydeploy.errors import TinydeployError, ToolMissingError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.convert.keras_load import load_model
from tinydeploy.pipeline.prepare import as_float
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.train.libraries import require_trainable, set_seed
from tinydeploy.pipeline.train.losses import require_labels, require_targets
from tinydeploy.pipeline.worker import read_job, report_error, report_progress
from tinydeploy.store import write_json
from tinydeploy.types import InputDescription, Training, from_json


def _job(folder: Path, said: dict[str, Any]) -> Job:
    import tensorflow as tf

    training = from_json(Training, said["training"])
    tf.config.experimental.enable_op_determinism()
    set_seed(training.seed)
    model = load_model(Path(said["path"]), trusted=said["trusted"])
    require_trainable(model)
    shape = (1, *tuple(model.inputs[0].shape)[1:])
    tensor = Tensor(index=0, name="input", shape=shape, dtype="float32")
    description = said["description"] and from_json(InputDescription, said["description"])
    x = as_float(np.load(folder / "x.npy", allow_pickle=False), tensor, description)
    labels = folder / "y.npy"
    y = np.load(labels, allow_pickle=False) if labels.exists() else None
    if said["task"] == "classify" and y is not None:
        require_labels(model, y, len(x))
    job = Job(
        name=said["name"],
        model=model,
        training=training,
        task=said["task"],
        x=x,
        y=y,
        folder=Path(said["folder"]),
        report=report_progress,
    )
    if job.task != "classify":
        require_targets(model, job.targets)
    return job


def main() -> None:
    """Write `result.json`, or `error.json`."""
    folder, said = read_job(sys.argv)
    try:
        path = plugins.load("trainer", said["training"]["method"])(_job(folder, said))
    except TinydeployError as error:
        missing = isinstance(error, ToolMissingError)
        report_error(folder, error.message, error.hint, missing=missing)
        return
    write_json(folder / "result.json", {"file": path.name})


if __name__ == "__main__":
    main()
