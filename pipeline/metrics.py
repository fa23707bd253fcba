"""Metrics in plain numpy: accuracy, RMSE, MAE, area under the ROC curve."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.types import Task

TASK_METRICS: Mapping[Task, tuple[str, ...]] = {
    "classify": ("accuracy",),
    "regress": ("rmse", "mae"),
    "anomaly": ("auc",),
}
"""Metrics of each task; the first one is the default."""

DEFAULT_METRIC: Mapping[Task, str] = {task: known[0] for task, known in TASK_METRICS.items()}


def metric_of(task: Task, metric: str | None = None) -> str:
    """`metric`, or the task's default. Raises UsageError if the task has no such metric."""
    known = TASK_METRICS[task]
    if metric is None:
        return DEFAULT_METRIC[task]
    if metric not in known:
        raise UsageError(
            f"{metric!r} is no metric of the task {task!r}", hint=f"known: {', '.join(known)}"
        )
    return metric


def correct(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether the greatest of (N, K) scores stands at the label (N,); bool (N,).

    Equal maxima: the lowest index wins.
    """
    return np.argmax(scores, axis=1) == labels


def rmse(predicted: np.ndarray, target: np.ndarray) -> float:
    """Root of the mean squared difference over all elements."""
    return float(np.sqrt(np.mean(np.square(_difference(predicted, target)))))


def mae(predicted: np.ndarray, target: np.ndarray) -> float:
    """Mean absolute difference over all elements."""
    return float(np.mean(np.abs(_difference(predicted, target))))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the ROC curve of (N,) scores for labels 0/1 (N,).

    It is the chance that a positive scores above a negative, ties counting half: the Mann-Whitney
    statistic U over n1*n0, with midranks for ties (Hanley & McNeil, Radiology 143, 1982).
    Raises UsageError unless both labels occur.
    """
    positive = np.asarray(labels) == 1
    n1 = int(positive.sum())
    n0 = positive.size - n1
    if n1 == 0 or n0 == 0:
        raise UsageError(
            f"AUC needs samples of both labels, found {n0} with 0 and {n1} with 1",
            hint="y is 1 for anomalies and 0 for normal samples",
        )
    u = _midranks(np.asarray(scores, np.float64))[positive].sum() - n1 * (n1 + 1) / 2
    return float(u / (n1 * n0))


def _midranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of the ranks that they take up."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]


def _difference(predicted: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.asarray(predicted, np.float64) - np.asarray(target, np.float64)
