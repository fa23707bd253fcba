"""Which channels to remove for a number of multiply-accumulates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.train.layout import Component, Layout
from tinydeploy.pipeline.train.work import alive, macs_of

LEAST_SHARE = 8
"""At least an eighth of a group's channels stays: a layer of one channel passes nothing on."""

MULTIPLE = 4
WIDE = 8
"""Groups of at least `WIDE` channels are cut to multiples of `MULTIPLE`, the int8 values in a word:
on a Cortex-M4 a depthwise layer of 9 channels takes three times the instructions of one of 12."""


def floors(found: Layout) -> dict[str, int]:
    """How many channels of each group stay at least."""
    return {c.name: _floor(c.size) for c in found.components}


def narrowest(found: Layout) -> dict[str, int]:
    """How many channels of each group `narrowed` keeps at least."""
    sizes = {c.name: c.size for c in found.components}
    return {name: MULTIPLE if size >= WIDE else 1 for name, size in sizes.items()}


def _floor(size: int) -> int:
    least = -(-size // LEAST_SHARE)
    return -(-least // MULTIPLE) * MULTIPLE if size >= WIDE else least


def least_important(
    found: Layout, importance: np.ndarray, limit: float, least: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Channels to keep of each group so that at most `limit` multiply-accumulates are left.

    Removed one after the other (groups of `WIDE`: `MULTIPLE` at once): always those whose
    importance for each multiply-accumulate saved is the least. No more are removed than `least`
    says, so more than `limit` may be left if that cannot be reached.
    """
    stays = alive(found, {})
    wide = {c.name for c in found.components if least[c.name] >= MULTIPLE}
    now = macs_of(found, stays)
    while now > limit:
        best: tuple[float, int, np.ndarray] | None = None
        for component in found.components:
            name = component.name
            left = component.classes[stays[component.classes]]
            count = 1
            if name in wide:
                count = len(left) % MULTIPLE or MULTIPLE
            if len(left) - count < least[name]:
                continue
            out = left[np.argsort(importance[left], kind="stable")[:count]]
            stays[out] = False
            after = macs_of(found, stays)
            stays[out] = True
            price = float(importance[out].sum()) / (now - after)
            if best is None or price < best[0]:
                best = price, after, out
        if best is None:
            break
        _, now, out = best
        stays[out] = False
    return _kept(found, stays)


def narrowed(found: Layout, importance: np.ndarray, limit: float) -> dict[str, np.ndarray]:
    """The same share of every group's channels, the largest with at most `limit` MACs left.

    Of each group its most important ones are kept, at least one; in groups of `WIDE` the share is
    rounded to a multiple of `MULTIPLE`.
    """
    sizes = [c.size for c in found.components]
    shares = sorted({k / n / 2 for n in sizes for k in range(1, 2 * n + 1)})
    low, high = 0, len(shares) - 1  # shares[low] is taken if nothing above it fits
    while low < high:
        middle = (low + high + 1) // 2
        if macs_of(found, _most_important(found, importance, shares[middle])) <= limit:
            low = middle
        else:
            high = middle - 1
    return _kept(found, _most_important(found, importance, shares[low]))


def _most_important(found: Layout, importance: np.ndarray, share: float) -> np.ndarray:
    stays = alive(found, {})
    for component in found.components:
        size = component.size
        unit = MULTIPLE if size >= WIDE else 1
        count = min(size, max(unit, round(share * size / unit) * unit))
        order = np.argsort(-importance[component.classes], kind="stable")
        stays[component.classes[order[count:]]] = False
    return stays


def _kept(found: Layout, stays: np.ndarray) -> dict[str, np.ndarray]:
    return {c.name: np.flatnonzero(stays[c.classes]) for c in found.components}


def require_removable(found: Layout, share: float, least: Mapping[str, int], whole: int) -> None:
    """Raise UnsupportedModelError if no more than 1 - `share` of `whole` MACs can be removed."""
    if not found.components:
        raise UnsupportedModelError(
            "none of its channels can be removed: all of them reach its inputs, its outputs or a "
            "layer that mixes channels in a way that is not known here",
            hint="use a recipe without training, or distill with a student of your own",
        )
    smallest = macs_of(found, alive(found, {n: np.arange(k) for n, k in least.items()}))
    if smallest > share * whole:
        raise UnsupportedModelError(
            f"macs = {share:g} cannot be reached: with all that can be removed from "
            f"{_names(found.components)}, {smallest / whole:.2f} of its {whole} "
            "multiply-accumulates are left",
            hint=f"ask for macs = {np.ceil(100 * smallest / whole) / 100:g} or more",
        )


def _names(components: tuple[Component, ...]) -> str:
    names = [c.name for c in components]
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
