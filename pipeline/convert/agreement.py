"""How far two models of the same net are from each other on the same samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinydeploy.compression import Agreement

_LEAST = 1e-12


def agreement(expected: Sequence[np.ndarray], got: Sequence[np.ndarray]) -> Agreement:
    """Real outputs, an array (N, ...) each, against those expected of the same samples.

    Classes are read from a single output of several elements; equal maxima: the lowest index wins.
    """
    want = np.concatenate([x.reshape(len(x), -1) for x in expected], axis=1).astype(np.float64)
    have = np.concatenate([x.reshape(len(x), -1) for x in got], axis=1).astype(np.float64)
    variance = float(np.square(want - want.mean(axis=0)).sum())
    error = float(np.square(have - want).sum()) / max(variance, _LEAST)
    if len(expected) != 1 or want.shape[1] < 2:
        return Agreement(error)
    return Agreement(error, float(np.mean(want.argmax(axis=1) != have.argmax(axis=1))))
