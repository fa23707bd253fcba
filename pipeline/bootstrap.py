"""Losses of resampled data sets: the paired bootstrap of RMSE, MAE and area under the ROC curve.

Both models are scored on the same resampled indices. The seed is fixed: the same evaluations give
the same evidence.
"""

from __future__ import annotations

import numpy as np

from tinydeploy.types import HIGHER_IS_BETTER, Evaluation

_SEED = 20_231
_AT_ONCE = 2_000_000  # elements of a block of indices


def resampled_losses(
    reference: Evaluation, variant: Evaluation, resamples: int
) -> np.ndarray | None:
    """The loss of `variant` on each of `resamples` resampled data sets (resamples,).

    None if one of them did not keep what the metric is made of.
    """
    if reference.metric == "auc":
        pairs = [
            (e.per_sample.get("score"), e.per_sample.get("label")) for e in (reference, variant)
        ]
        if any(s is None or y is None for s, y in pairs) or pairs[0][1] != pairs[1][1]:
            return None
        scores = [np.asarray(s, np.float64) for s, _ in pairs]
        values = _auc(scores, np.asarray(pairs[0][1]) == 1, resamples)
    else:
        key = "squared_error" if reference.metric == "rmse" else "absolute_error"
        errors = [np.asarray(e.per_sample.get(key, ()), np.float64) for e in (reference, variant)]
        if not errors[0].size == errors[1].size > 0:
            return None
        values = _means(errors, resamples)
        if reference.metric == "rmse":
            values = np.sqrt(values)
    sign = 1 if HIGHER_IS_BETTER[reference.metric] else -1
    return np.asarray(sign * (values[0] - values[1]))


def _means(errors: list[np.ndarray], resamples: int) -> np.ndarray:
    """The mean of each array over the same resampled indices, (2, resamples)."""
    rng = np.random.default_rng(_SEED)
    samples = errors[0].size
    block = max(1, _AT_ONCE // samples)
    found = []
    for start in range(0, resamples, block):
        chosen = rng.integers(0, samples, (min(block, resamples - start), samples))
        found.append([e[chosen].mean(axis=1) for e in errors])
    return np.concatenate(found, axis=1)


def _auc(scores: list[np.ndarray], positive: np.ndarray, resamples: int) -> np.ndarray:
    """The area under the ROC curve of both models, (2, resamples); classes resampled apart.

    With weights (how often a sample was drawn) it is the weighted Mann-Whitney statistic, ties
    counting half.
    """
    rng = np.random.default_rng(_SEED)
    groups = [np.unique(s, return_inverse=True)[1] for s in scores]
    classes = [np.flatnonzero(positive), np.flatnonzero(~positive)]
    found = np.empty((2, resamples))
    for i in range(resamples):
        drawn = [rng.choice(c, c.size) for c in classes]
        for model, group in enumerate(groups):
            above, below = (np.bincount(group[d], minlength=group.max() + 1) for d in drawn)
            less = np.cumsum(below) - below
            found[model, i] = np.dot(above, less + below / 2) / (drawn[0].size * drawn[1].size)
    return found
