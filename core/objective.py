"""What "smallest" means: one figure, or a weighted sum of several, read without evaluating code.

::

    flash
    0.5*flash_bytes/1e5 + 0.5*ram_bytes/1e4
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tinydeploy.errors import UsageError

FIGURES: Mapping[str, str] = {
    "flash": "flash_bytes",
    "ram": "ram_bytes",
    "instructions": "instructions",
    "latency": "latency_us",
    "energy": "energy_uj",
}
"""Objectives of one figure: name -> field of `Candidate`. A sum may name either."""

_NUMBER = r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_TERM = re.compile(rf"\s*(?:{_NUMBER}\s*\*\s*)?([a-z_]+)\s*(?:([*/])\s*{_NUMBER})?\s*")


@dataclass(frozen=True)
class Objective:
    """`weights` maps fields of `Candidate` to what one unit of them costs; less is better."""

    text: str
    weights: Mapping[str, float]

    @property
    def single(self) -> str:
        """The name of the figure ("flash"), "" for a weighted sum."""
        return self.text if self.text in FIGURES else ""


def parse_objective(text: str) -> Objective:
    """The objective that a user wrote, its text in a canonical form. Raises UsageError."""
    fields = {**FIGURES, **{f: f for f in FIGURES.values()}}
    weights: dict[str, float] = {}
    at = 0
    while True:
        term = _TERM.match(text, at)
        if not term or term[2] not in fields:
            raise _nonsense(text)
        weight = float(term[1] or 1)
        if term[3]:
            factor = float(term[4])
            if not factor:
                raise _nonsense(text)
            weight = weight * factor if term[3] == "*" else weight / factor
        field = fields[term[2]]
        weights[field] = weights.get(field, 0.0) + weight
        at = term.end()
        if at == len(text):
            break
        if text[at] != "+":
            raise _nonsense(text)
        at += 1
    weights = {f: w for f, w in weights.items() if w}
    if not weights or not all(map(math.isfinite, weights.values())):
        raise _nonsense(text)
    names = {f: n for n, f in FIGURES.items()}
    if len(weights) == 1:
        field = next(iter(weights))
        return Objective(names[field], {field: 1.0})
    return Objective(" + ".join(f"{w!r}*{f}" for f, w in weights.items()), weights)


def _nonsense(text: str) -> UsageError:
    return UsageError(
        f"no objective is called {text!r}",
        hint=f"known: {', '.join(FIGURES)}; or a sum like 0.5*flash_bytes/1e5 + 2*ram_bytes/1e4",
    )
