"""Which layers get int4 weights: chosen by measured sensitivity, under a budget.

Each layer is measured alone, then layers are taken in the order of what they cost for each byte
that they save. A mix is not the sum of its parts, so every mix that counts is measured as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tinydeploy.compression import Agreement, Judge, MixBudget
from tinydeploy.errors import UnsupportedModelError

_ROUNDING = 1e-9
"""Of the difference of two shares: 7/300 - 1/300 may be more than 0.02."""

Layers = frozenset[int]
"""Layers with int4 weights, by their number."""


@dataclass(frozen=True)
class Trial:
    """A mix that was measured: its agreement with the float model, and bytes of its constants."""

    agreement: Agreement
    weight_bytes: int


@dataclass(frozen=True)
class Choice:
    """The layers that get int4 weights, with the measurements that led there."""

    layers: Layers
    int8: Trial
    reached: Trial
    alone: Mapping[int, Trial]


def choose(
    names: Mapping[int, str], measure: Callable[[Layers], Trial], budget: MixBudget, judge: Judge
) -> Choice:
    """The mix for a budget; `names` are the layers that may be int4, at least one.

    With `max_loss` alone as many bytes are saved as it allows, with a limit of bytes alone as
    little is lost as that allows; with both, both hold.
    Raises UnsupportedModelError with the figure that was reached where no mix was found.
    """
    return _Search(names, measure, budget, judge).choice()


class _Search:
    def __init__(
        self,
        names: Mapping[int, str],
        measure: Callable[[Layers], Trial],
        budget: MixBudget,
        judge: Judge,
    ) -> None:
        self.names, self.judge = names, judge
        self._measure = measure
        self._known: dict[Layers, Trial] = {}
        self.int8 = self.measure(frozenset())
        self.alone = {layer: self.measure(frozenset([layer])) for layer in names}
        self.saved = {
            k: self.int8.weight_bytes - trial.weight_bytes for k, trial in self.alone.items()
        }
        self.order = sorted((k for k in names if self.saved[k] > 0), key=self._cost)
        self.max_loss = budget.max_loss
        limits = [budget.max_weight_bytes]
        if budget.max_weight_share is not None:
            limits.append(int(budget.max_weight_share * self.int8.weight_bytes))
        self.max_bytes = min((b for b in limits if b is not None), default=None)

    def _cost(self, layer: int) -> tuple[float, int]:
        """Squared error a byte saved: it tells layers apart that change equally few classes."""
        more = self.alone[layer].agreement.error - self.int8.agreement.error
        return more / self.saved[layer], layer

    def measure(self, layers: Layers) -> Trial:
        if layers not in self._known:
            self._known[layers] = self._measure(layers)
        return self._known[layers]

    def loss(self, layers: Layers) -> float:
        """How much less the mix agrees with the float model than int8 does."""
        return self.measure(layers).agreement.loss(self.judge) - self.int8.agreement.loss(
            self.judge
        )

    def keeps(self, layers: Layers, max_loss: float) -> bool:
        """Whether the mix loses no more than that."""
        return self.loss(layers) <= max_loss + _ROUNDING

    def choice(self) -> Choice:
        if not self.order:
            raise UnsupportedModelError(
                "int4 weights save no bytes in any layer", hint="use the recipe int8"
            )
        small = frozenset() if self.max_bytes is None else self._small_enough(self.max_bytes)
        if small and (self.max_loss is None or self.keeps(small, self.max_loss)):
            return self._made(small)
        if self.max_loss is None:
            raise UnsupportedModelError(
                f"int8 weights take {self.int8.weight_bytes:,} B, within the budget of "
                f"{self.max_bytes:,} B: no layer needs int4",
                hint="use the recipe int8, or allow fewer bytes",
            )
        good = self._good_enough(self.max_loss)
        if not good:
            raise self._all_too_sensitive(self.max_loss)
        reached = self.measure(good).weight_bytes
        if self.max_bytes is None or reached <= self.max_bytes:
            return self._made(good)
        raise UnsupportedModelError(
            f"no mix meets both budgets: within max_loss = {self.max_loss:g} the weights take "
            f"{reached:,} B of {self.max_bytes:,} B allowed, and where they fit the loss is "
            f"{self.loss(small):.4g}",
            hint="allow more loss or more bytes, or use a smaller net",
        )

    def _made(self, layers: Layers) -> Choice:
        return Choice(layers, self.int8, self.measure(layers), self.alone)

    def _small_enough(self, max_bytes: int) -> Layers:
        """The least sensitive layers that bring the weights down to `max_bytes`."""
        chosen: list[int] = []
        left = self.int8.weight_bytes
        for layer in self.order:
            if left <= max_bytes:
                break
            chosen.append(layer)
            left -= self.saved[layer]
        if left > max_bytes:
            raise UnsupportedModelError(
                f"with int4 weights in all {len(self.order)} layers that can have them the weights "
                f"still take {left:,} B, {max_bytes:,} B are allowed (int8: "
                f"{self.int8.weight_bytes:,} B)",
                hint="allow more bytes, or use a smaller net",
            )
        for layer in reversed(chosen):  # what a larger layer after it has made needless
            if left + self.saved[layer] <= max_bytes:
                chosen.remove(layer)
                left += self.saved[layer]
        return frozenset(chosen)

    def _good_enough(self, max_loss: float) -> Layers:
        """As many layers as lose no more than `max_loss` together, the least sensitive first."""
        chosen: Layers = frozenset()
        for layer in self.order:
            if self.keeps(chosen | {layer}, max_loss):
                chosen |= {layer}
        return chosen

    def _all_too_sensitive(self, max_loss: float) -> UnsupportedModelError:
        least = min(self.order, key=lambda k: self.loss(frozenset([k])))
        return UnsupportedModelError(
            f"no layer can have int4 weights within max_loss = {max_loss:g}: the least sensitive, "
            f"{self.names[least]}, loses {self.loss(frozenset([least])):.4g}",
            hint="allow more loss, or use the recipe int8",
        )
