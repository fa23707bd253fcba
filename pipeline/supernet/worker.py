"""The process behind `train_supernet`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from tinydeploy.errors import TinydeployError
from tinydeploy.graph import Tensor
from tinydeploy.pipeline.prepare import as_float, channels_last
from tinydeploy.pipeline.supernet.space import Space
from tinydeploy.pipeline.supernet.stored import About, Supernet, write_supernet
from tinydeploy.pipeline.train.job import Job
from tinydeploy.pipeline.worker import read_job, report_error, report_progress
from tinydeploy.types import InputDescription, Training, from_json


def main() -> None:
    """Write the supernet into the job's folder, or `error.json`."""
    import keras
    import tensorflow as tf

    from tinydeploy.pipeline.supernet.train import train

    folder, said = read_job(sys.argv)
    training, space = from_json(Training, said["training"]), from_json(Space, said["space"])
    tf.config.experimental.enable_op_determinism()
    keras.utils.set_random_seed(training.seed)
    raw = np.load(folder / "x.npy", allow_pickle=False)
    description = said["description"] and from_json(InputDescription, said["description"])
    try:
        shape = channels_last(raw, description).shape[1:]
        if description and description.resize:
            shape = (*description.resize, shape[-1])
        tensor = Tensor(index=0, name="sample", shape=(1, *shape), dtype="float32")
        x = as_float(raw, tensor, description)
        y = np.load(folder / "y.npy", allow_pickle=False)
        kept = Path(said["folder"])
        job = Job(said["name"], None, training, "classify", x, y, kept, report_progress)
        weights, own = train(job, space, said["classes"])
    except TinydeployError as error:
        report_error(folder, error.message, error.hint)
        return
    height, width, depth = x.shape[1:]
    about = About(
        space, (height, width, depth), said["classes"], training, said["training_sha256"], len(x)
    )
    write_supernet(kept / said["made"], Supernet(about, weights, own))


if __name__ == "__main__":
    main()
