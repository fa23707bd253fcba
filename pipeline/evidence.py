"""Is a variant worse than a reference, and by how much at most? Paired tests on the same samples.

Both models saw the same samples, so what counts is where they differ. A variant is *sufficient*
when the upper one-sided confidence bound of its loss is below the margin (non-inferiority), and
*inferior* when the lower bound is above it; otherwise there is insufficient evidence, and the
number of samples that would decide is estimated, losses going on as they were.

- accuracy: bounds from the score statistic for the difference of paired proportions (Tango,
  Statistics in Medicine 17, 1998, 891-908), and McNemar's exact test (binomial, two-sided) for
  whether there is a difference at all.
- other metrics: paired percentile bootstrap (Efron & Tibshirani, An Introduction to the Bootstrap,
  1993, chapter 13) with a fixed seed; for the area under the ROC curve, both classes apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.pipeline.bootstrap import resampled_losses
from tinydeploy.selection import Evidence, Proof
from tinydeploy.types import HIGHER_IS_BETTER, Evaluation

DEFAULT_CONFIDENCE = 0.95
_STEPS = 60  # of a bisection of an interval of length 2: beyond the precision of a double
_MOST_SAMPLES = 10**9
_RESAMPLES = 2000


def require_confidence(confidence: float) -> float:
    """`confidence` if it is one. Raises UsageError unless it is above 0.5 and below 1."""
    if not 0.5 < confidence < 1:
        raise UsageError(
            f"a confidence of {confidence:g} makes no sense", hint="write 0.95 for 95 percent"
        )
    return confidence


def compare(
    reference: Evaluation,
    variant: Evaluation,
    margin: float,
    confidence: float = DEFAULT_CONFIDENCE,
    name: str = "",
) -> Evidence | str:
    """The evidence on the loss of `variant` against `reference`, whose name is `name`.

    In plain words why not, if they cannot be compared: other data, another metric, or results that
    were kept as a mean only. A model compared with itself loses nothing, for certain.
    """
    require_confidence(confidence)
    if (reference.data_sha256, reference.metric) != (variant.data_sha256, variant.metric):
        return f"evaluated on other data than {name or 'the reference'}"
    if reference.model_sha256 == variant.model_sha256:
        return Evidence(
            name, variant.samples, 0.0, 0.0, 0.0, confidence, margin, "sufficient", "the same model"
        )
    if reference.metric == "accuracy":
        pair = np.array(reference.correct, bool), np.array(variant.correct, bool)
        if not len(pair[0]) == len(pair[1]) == variant.samples > 0:
            return "the results of single samples were not kept"
        lost, gained = int((pair[0] & ~pair[1]).sum()), int((~pair[0] & pair[1]).sum())
        return paired_proportions(lost, gained, variant.samples, margin, confidence, name)
    found = resampled_losses(reference, variant, _RESAMPLES)
    if found is None:
        return "the results of single samples were not kept"
    sign = 1 if HIGHER_IS_BETTER[reference.metric] else -1
    loss = sign * (reference.value - variant.value)
    return _bootstrapped(loss, found, variant.samples, margin, confidence, name)


# ---------------------------------------------------------------- paired proportions
def paired_proportions(
    lost: int, gained: int, samples: int, margin: float, confidence: float, name: str = ""
) -> Evidence:
    """The evidence when `lost` samples only the reference got right, and `gained` the variant."""
    wanted = NormalDist().inv_cdf(confidence)
    z = tango_z(lost, gained, samples, margin)
    proof: Proof = "insufficient evidence"
    needed = None
    if z <= -wanted:
        proof = "sufficient"
    elif z >= wanted:
        proof = "inferior"
    elif z:
        # All rates as they are, the statistic grows with the root of the number of samples.
        needed = _whole(samples * (wanted / z) ** 2)
    return Evidence(
        reference=name,
        samples=samples,
        loss=(lost - gained) / samples,
        lower=_root(lambda d: tango_z(lost, gained, samples, d) - wanted),
        upper=_root(lambda d: tango_z(lost, gained, samples, d) + wanted),
        confidence=confidence,
        margin=margin,
        proof=proof,
        method="Tango's score bound; p by McNemar's exact test",
        lost=lost,
        gained=gained,
        p_value=mcnemar(lost, gained),
        needed=needed,
    )


def tango_z(lost: int, gained: int, samples: int, delta: float) -> float:
    """Tango's score statistic of the hypothesis that the loss is `delta` (his equation 5).

    Approximately standard normal under it, and falling in `delta`. With b = lost, c = gained, and
    q the maximum likelihood estimate of gained's probability where lost's is q + delta:
    z = (b - c - n delta) / sqrt(n (2 q + delta (1 - delta))).
    """
    b, c, n = lost, gained, samples
    two_a = 4 * n
    half = -b - c + (2 * n - b + c) * delta
    root = half * half + 2 * two_a * c * delta * (1 - delta)
    q = (math.sqrt(max(root, 0.0)) - half) / two_a
    variance = n * (2 * q + delta * (1 - delta))
    difference = b - c - n * delta
    if variance <= 1e-12 * n:
        return math.copysign(math.inf, difference) if abs(difference) > 1e-9 * n else 0.0
    return difference / math.sqrt(variance)


def mcnemar(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test: of n = lost + gained, half each way by chance."""
    n, least = lost + gained, min(lost, gained)
    terms = (
        math.exp(math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) - n * math.log(2))
        for k in range(least + 1)
    )
    return min(1.0, 2 * math.fsum(terms))


def _root(function: Callable[[float], float]) -> float:
    """Where a falling function of the loss crosses zero, between -1 and 1."""
    low, high = -1.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if function(middle) > 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


# ---------------------------------------------------------------- bootstrap
def _bootstrapped(
    loss: float, found: np.ndarray, samples: int, margin: float, confidence: float, name: str
) -> Evidence:
    lower, upper = (float(v) for v in np.quantile(found, [1 - confidence, confidence]))
    proof: Proof = "insufficient evidence"
    needed = None
    if upper < margin:
        proof = "sufficient"
    elif lower > margin:
        proof = "inferior"
    elif loss != margin:
        # The width of the interval falls with the root of the number of samples.
        half = upper - loss if loss < margin else loss - lower
        needed = _whole(samples * (half / (margin - loss)) ** 2)
    method = f"paired bootstrap, {len(found):,} resamples"
    return Evidence(
        name, samples, loss, lower, upper, confidence, margin, proof, method, needed=needed
    )


def _whole(samples: float) -> int | None:
    """Rounded up; None for more than anybody has."""
    return None if not samples < _MOST_SAMPLES else math.ceil(samples)


# ---------------------------------------------------------------- words
def words(evidence: Evidence, metric: str) -> str:
    """One sentence: the loss, its bound, and what that means for the margin."""
    e = evidence
    if e.method == "the same model":
        return f"the reference itself: loses no {metric}"
    share = f"{e.confidence * 100:g} %"
    said = f"{metric} loss {e.loss:+.4f} against {e.reference}"
    if e.proof == "sufficient":
        return f"{said}, at most {e.upper:.4f} with {share} confidence: below {e.margin:g}"
    if e.proof == "inferior":
        return f"{said}, at least {e.lower:.4f} with {share} confidence: above {e.margin:g}"
    more = f"about {e.needed:,} samples would decide" if e.needed else "no number would decide"
    return (
        f"{said}, between {e.lower:.4f} and {e.upper:.4f} with {share} confidence each: "
        f"insufficient evidence for {e.margin:g} in {e.samples:,} samples, {more}"
    )
