"""Score a model on labelled data, with whatever engine computes its outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Graph, Tensor
from tinydeploy.pipeline import metrics
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.data import Dataset, require_same_classes
from tinydeploy.pipeline.prepare import as_float, dequantize, prepare
from tinydeploy.ports import Predictor
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, Evaluation, InputDescription, Task

DEFAULT_THRESHOLD = 0.5
"""Above it, a single output says class 1; an artifact's own threshold goes first."""


def evaluate(
    model: Artifact | Path,
    dataset: Dataset,
    predictor: Predictor,
    *,
    split: str,
    engine: str,
    task: Task | None = None,
    metric: str | None = None,
) -> Evaluation:
    """The model's metric over all samples of `dataset`, outputs computed by `predictor`.

    `engine` and `split` only name them in the result. Task and metric are the artifact's unless
    given; without a metric the task follows from the data as well: see `guess_task`.

    - classify: y (N,) class numbers; the greatest output is the prediction (equal maxima: the
      lowest index), or a single output against the threshold.
    - regress: y (N, ...) numbers, compared with the dequantized output.
    - anomaly: y (N,) of 0 and 1; the score is a single output, or, when the output has the input's
      shape, the mean squared reconstruction error.

    Raises UsageError for data that does not fit the model or the task.
    """
    artifact = model if isinstance(model, Artifact) else load_artifact(model)
    graph = read_graph(artifact.path)
    source, target = _single_tensors(graph, artifact.path)
    if dataset.y is None:
        raise UsageError(
            f"{dataset.path} holds no y to compare with", hint="evaluation needs labelled data"
        )
    if task is None:
        task = artifact.task if artifact.metric else guess_task(graph, dataset.y)
    if metric is None and task == artifact.task:
        metric = artifact.metric or None
    metric = metrics.metric_of(task, metric)
    inputs = prepare(dataset.x, source, artifact.input)
    (outputs,) = predictor.predict([inputs])
    correct: tuple[int, ...] = ()
    each: dict[str, np.ndarray] = {}
    if task == "classify":
        require_same_classes(dataset, artifact.labels, "the model")
        hits = _hits(outputs, target, dataset, artifact.threshold)
        correct = tuple(int(hit) for hit in hits)
        values = {"accuracy": float(np.mean(hits))}
    elif task == "regress":
        values, each = _regression(outputs, target, dataset)
    else:
        scores = _anomaly_scores(outputs, target, dataset, source, artifact.input)
        labels = _binary(dataset)
        values = {"auc": metrics.auc(scores, labels)}
        each = {"score": scores, "label": labels}
    return Evaluation(
        model_sha256=artifact.sha256,
        data_sha256=dataset.sha256,
        split=split,
        engine=engine,
        metric=metric,
        value=values[metric],
        samples=len(dataset),
        metrics=values,
        correct=correct,
        per_sample={name: tuple(map(float, v)) for name, v in each.items()},
    )


def guess_task(graph: Graph, y: np.ndarray) -> Task:
    """The task that a model and the labels `y` of its data suggest.

    Labels that are not integers (N,): regress. Labels 0 and 1 for a model whose output has the
    shape of its input: anomaly. Several outputs, or labels 0 and 1: classify. Otherwise regress.
    """
    if y.ndim != 1 or y.dtype.kind not in "iub":
        return "regress"
    source, target = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    binary = bool(np.isin(y, (0, 1)).all())
    if binary and target.elements > 1 and source.sample_shape == target.sample_shape:
        return "anomaly"
    return "classify" if target.elements > 1 or binary else "regress"


def _single_tensors(graph: Graph, path: Path) -> tuple[Tensor, Tensor]:
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedModelError(
            f"{path.name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "only models with one of each can be evaluated",
            hint="compare its raw outputs with `tinydeploy run`",
        )
    return graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]


def _hits(
    outputs: np.ndarray, target: Tensor, dataset: Dataset, threshold: float | None
) -> np.ndarray:
    labels = _labels(dataset)
    scores = outputs.reshape(len(outputs), -1)
    classes = scores.shape[1]
    if labels.min() < 0 or labels.max() >= max(classes, 2):
        raise UsageError(
            f"{dataset.path}: y goes from {labels.min()} to {labels.max()}, the model tells "
            f"{max(classes, 2)} classes apart",
            hint="class numbers count from 0 in the order of the model's outputs",
        )
    if dataset.path.is_dir() and len(dataset.labels) < classes:
        raise UsageError(
            f"{dataset.path} holds folders of {len(dataset.labels)} classes, the model tells "
            f"{classes} apart: it cannot be told which those are",
            hint="class numbers are positions of folders: add an empty one for each class that has "
            "no images",
        )
    if classes == 1:
        limit = DEFAULT_THRESHOLD if threshold is None else threshold
        return (dequantize(scores[:, 0], target) > limit) == (labels == 1)
    return metrics.correct(scores, labels)


def _regression(
    outputs: np.ndarray, target: Tensor, dataset: Dataset
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """The metrics, and the mean errors of each sample (N,)."""
    predicted = dequantize(outputs, target)
    truth = _targets(dataset)
    if predicted.size != truth.size:
        raise UsageError(
            f"{dataset.path}: y has samples of the shape {truth.shape[1:]}, "
            f"the model's output {predicted.shape[1:]}",
            hint="y holds the numbers that the model should give",
        )
    truth = truth.reshape(predicted.shape)
    error = (predicted.astype(np.float64) - truth).reshape(len(predicted), -1)
    each = {
        "squared_error": np.mean(np.square(error), axis=1),
        "absolute_error": np.mean(np.abs(error), axis=1),
    }
    return {"rmse": metrics.rmse(predicted, truth), "mae": metrics.mae(predicted, truth)}, each


def _anomaly_scores(
    outputs: np.ndarray,
    target: Tensor,
    dataset: Dataset,
    source: Tensor,
    description: InputDescription | None,
) -> np.ndarray:
    values = dequantize(outputs, target).reshape(len(outputs), -1)
    if values.shape[1] == 1:
        return values[:, 0]
    original = as_float(dataset.x, source, description).reshape(len(outputs), -1)
    if original.shape != values.shape:
        raise UsageError(
            f"the output of the model has {values.shape[1]} elements, its input "
            f"{original.shape[1]}: that is no reconstruction",
            hint="an anomaly detector gives one score, or reconstructs its input",
        )
    return np.mean(np.square(original - values, dtype=np.float64), axis=1)


def _targets(dataset: Dataset) -> np.ndarray:
    if dataset.y is None:
        raise UsageError(f"{dataset.path} holds no y", hint="evaluation needs labelled data")
    return dataset.y


def _labels(dataset: Dataset) -> np.ndarray:
    """The class numbers (N,). Raises UsageError if y is something else."""
    y = _targets(dataset)
    if y.ndim != 1 or y.dtype.kind not in "iub":
        raise UsageError(
            f"{dataset.path}: y is {y.dtype} {y.shape}, not one class number a sample",
            hint="give class numbers, or another task (regress)",
        )
    return y.astype(np.int64)


def _binary(dataset: Dataset) -> np.ndarray:
    labels = _labels(dataset)
    if not np.isin(labels, (0, 1)).all():
        raise UsageError(
            f"{dataset.path}: y holds other values than 0 and 1",
            hint="y is 1 for anomalies and 0 for normal samples",
        )
    return labels
