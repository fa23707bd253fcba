"""Train a source before it is converted: what a recipe's `[training]` asks for.

One module a method, each with ``run(job) -> Path``; `tinydeploy.plugins` names them, and other
packages can add more. A training runs in a process of its own and keeps its state, so that one that
was interrupted goes on where it was.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tinydeploy.errors import UsageError
from tinydeploy.lineage import tool_versions
from tinydeploy.pipeline.data import Dataset
from tinydeploy.pipeline.train.job import alone_in, write_samples
from tinydeploy.pipeline.train.progress import Bar
from tinydeploy.pipeline.worker import run_worker
from tinydeploy.store import cache_dir, sha256_file, sha256_json, sha256_tree, write_json
from tinydeploy.types import InputDescription, ModelSource, Recipe, Task, Training, to_json

_DONE = "trained.json"


class OutOfTimeError(Exception):
    """A training was stopped at the deadline that its caller gave; its state is kept."""


def trained(
    source: ModelSource,
    recipe: Recipe,
    data: Dataset | None,
    description: InputDescription | None,
    task: Task,
    progress: Callable[[str], None],
    deadline: float = math.inf,
) -> ModelSource:
    """The source, trained on `data` as the recipe says: a Keras model or a quantized `.tflite`.

    It is kept in the cache folder by the content of all that made it. The same bytes each time on
    one machine. After `deadline` (of `time.monotonic`) it stops when it next says how far it is,
    with all epochs so far kept, and raises OutOfTimeError; the same call goes on there.
    Raises UsageError for data that is missing or does not fit, and for a source that cannot be
    trained; UnsupportedModelError for a model that the method cannot work on.
    """
    training = recipe.training
    if training is None:
        return source
    if source.format != "keras":
        raise UsageError(
            f"the recipe {recipe.name!r} trains, {source.path.name} cannot be trained",
            hint="bring the Keras model (.keras or .h5) that it was made from",
        )
    data = require_training_set(recipe.name, data, task)
    made_of = {
        "source": [source.name, source.sha256],
        "training": to_json(training),
        "data": data.sha256,
        "described": to_json([description, task]),
        "code": sha256_tree(Path(__file__).parent, ("*.py",)),
        "tools": {k: v for k, v in tool_versions().items() if "keras" in k or "tensorflow" in k},
    }
    folder = cache_dir() / "training" / sha256_json(made_of)[:32]
    bar = Bar(f"train    {source.name} {recipe.name}", progress)

    def waiting() -> None:
        bar.waiting()
        _require_time(bar, deadline)

    with alone_in(folder, waiting):
        done = folder / _DONE
        if not (done.exists() and _made(done).exists()):
            with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
                job = _worker_job(Path(scratch), source, training, data, description, task)
                run_worker(
                    Path(scratch),
                    {**job, "folder": str(folder.resolve())},
                    module="tinydeploy.pipeline.train.worker",
                    what=f"{source.path.name} cannot be trained by the recipe {recipe.name!r}",
                    hint="use a recipe without training",
                    timeout_s=None,
                    progress=lambda said: _shown(bar, said, deadline),
                )
                made = json.loads((Path(scratch) / "result.json").read_text(encoding="utf-8"))
            write_json(done, made)
            for state in folder.glob("*.npz"):
                state.unlink()
        path = _made(done)
    return ModelSource(
        path=path,
        format="tflite" if path.suffix == ".tflite" else "keras",
        sha256=sha256_file(path),
        name=source.name,
        trusted=source.trusted,
    )


def _made(done: Path) -> Path:
    return done.parent / str(json.loads(done.read_text(encoding="utf-8"))["file"])


def _shown(bar: Bar, said: Mapping[str, Any], deadline: float) -> None:
    bar.show(said)
    _require_time(bar, deadline)


def _require_time(bar: Bar, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise OutOfTimeError(bar.what)


def require_training_set(recipe: str, data: Dataset | None, task: Task) -> Dataset:
    """The data, if a recipe can train on it for this task. Raises UsageError."""
    if data is None:
        raise UsageError(
            f"the recipe {recipe!r} needs a training set",
            hint="--training FILE.npz, or [data] training: samples as x (N, ...) and labels as y",
        )
    if data.y is None and task != "anomaly":
        raise UsageError(
            f"training data {data.path} has no labels",
            hint="an .npz with x (N, ...) and y (N,), or a folder of images with a folder a class",
        )
    return data


def _worker_job(
    scratch: Path,
    source: ModelSource,
    training: Training,
    data: Dataset,
    description: InputDescription | None,
    task: Task,
) -> dict[str, Any]:
    """What the worker is told; the samples go into `scratch`."""
    write_samples(scratch, data, training.seed)
    return {
        "name": source.name,
        "path": str(source.path.resolve()),
        "trusted": source.trusted,
        "training": to_json(training),
        "description": to_json(description),
        "task": task,
    }
