"""Is a model still good enough? Its figures on a board against limits and against the champion.

A limit is a number ("262144"), or a distance to the champion's figure: "+2%", "-5%", "+1024",
"-0.01". For a figure of which less is better it is the greatest value allowed, for accuracy and
its like the least. A figure that was not measured passes no limit, and figures of different
origins are never compared.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tinydeploy.errors import UsageError
from tinydeploy.types import Candidate

METRIC = "metric"
"""Key of the limit on the model's own metric; the other keys are fields of `Candidate`."""

FIGURES: Mapping[str, tuple[str, str]] = {
    METRIC: ("", ""),
    "flash_bytes": ("flash", "B"),
    "ram_bytes": ("RAM", "B"),
    "instructions": ("instructions", ""),
    "latency_us": ("latency", "us"),
    "energy_uj": ("energy", "uJ"),
}
"""What is compared: key -> (name, unit). The metric has the name of its own."""

_LIMIT = re.compile(r"([+-]?)(\d[\d_,]*(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(%?)")

# Differences of metrics below this are rounding: 0.90 - 0.01 is no less than 0.89.
_EPSILON = 1e-9


@dataclass(frozen=True)
class Limit:
    """`value` as such, or added to the champion's figure, or percent of it added to it."""

    value: float
    kind: Literal["absolute", "delta", "percent"] = "absolute"

    def bound(self, champion: float | None) -> float | None:
        """The number that the limit means; None without a champion to be relative to."""
        if self.kind == "absolute":
            return self.value
        if champion is None:
            return None
        return champion + (self.value if self.kind == "delta" else champion * self.value / 100)


def parse_limit(text: str) -> Limit:
    """The limit that a user wrote. Raises UsageError for anything else."""
    match = _LIMIT.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{text!r} is no limit",
            hint='write a number, or a distance to the champion: "+2%", "+1024", "-0.01"',
        )
    sign, digits, percent = match.groups()
    if percent and not sign:
        raise UsageError(
            f"{text!r} is no limit", hint=f'of what? "+{digits}%" is from the champion'
        )
    value = float(re.sub("[_,]", "", digits)) * (-1 if sign == "-" else 1)
    if not math.isfinite(value):
        raise UsageError(f"{text!r} is too large a number for a limit")
    return Limit(value, "percent" if percent else "delta" if sign else "absolute")


@dataclass(frozen=True)
class Check:
    """One figure of the model; without a limit it is shown and not judged (`ok` is True).

    `bound` is the limit as a number, `reason` says why it failed. `origin` is that of `value`.
    `required` is for yes (1) or no (0) where only yes will do.
    """

    name: str
    unit: str
    value: float | None
    champion: float | None = None
    bound: float | None = None
    limit: Limit | None = None
    origin: str = ""
    reason: str = ""
    required: bool = False

    @property
    def ok(self) -> bool:
        """True unless there is a reason why not."""
        return not self.reason


@dataclass(frozen=True)
class Verdict:
    """All checks on one board; `error` says what kept the board from being judged at all."""

    board: str
    checks: tuple[Check, ...]
    champion: str = ""
    error: str = ""

    @property
    def passed(self) -> bool:
        """True if every check is."""
        return not self.error and all(c.ok for c in self.checks)

    @property
    def reasons(self) -> list[str]:
        """Why it did not pass."""
        return [self.error] if self.error else [c.reason for c in self.checks if c.reason]


def judge(
    board: str,
    model: Candidate,
    limits: Mapping[str, Limit],
    champion: Candidate | None = None,
    unproven: str = "",
) -> Verdict:
    """Judge a model on a board by `limits`, whose keys are those of FIGURES.

    `unproven` says why the samples do not show that a limit on the metric holds; it fails then.
    `model.blocked` (too large for the board, an operator that is missing) fails, and so do outputs
    that differ from the host's. Raises UsageError for an unknown key, and for a limit relative to
    a champion that is not there.
    """
    for key, limit in limits.items():
        if key not in FIGURES:
            raise UsageError(f"no figure is called {key!r}", hint=f"known: {', '.join(FIGURES)}")
        if champion is None and limit.kind != "absolute":
            raise UsageError(
                f"the limit on {FIGURES[key][0] or model.metric} is relative to a champion, and "
                "none was named",
                hint="name the registered model with --name, or give a plain number",
            )
    title = f"{champion.name}, version {champion.version}" if champion else ""
    if model.blocked:
        return Verdict(board, (), title, model.blocked)
    checks = [_outputs(model), *(_check(key, model, limits.get(key), champion) for key in FIGURES)]
    if unproven and METRIC in limits:
        checks[1] = dataclasses.replace(checks[1], reason=unproven)
    shown = [c for c in checks if c.value is not None or c.champion is not None or c.limit]
    return Verdict(board, tuple(shown), title)


def _outputs(model: Candidate) -> Check:
    verified = {None: None, True: 1.0, False: 0.0}[model.outputs_verified]
    return Check(
        "outputs equal the host's",
        "",
        verified,
        reason="outputs differ from the host's" if model.outputs_verified is False else "",
        required=True,
    )


def _check(key: str, model: Candidate, limit: Limit | None, champion: Candidate | None) -> Check:
    name, unit = FIGURES[key]
    name = name or model.metric
    value, theirs = _figure(model, key), _figure(champion, key) if champion else None
    sources = [c.origin.get(key, "") if c else "" for c in (model, champion)]
    mixed = theirs is not None and value is not None and sources[0] != sources[1]
    bound = limit.bound(None if mixed else theirs) if limit else None
    return Check(
        name,
        unit,
        value,
        theirs,
        bound,
        limit,
        sources[0],
        _why(key, name, model, value, bound, sources if mixed else []) if limit else "",
    )


def _figure(candidate: Candidate, key: str) -> float | None:
    value = candidate.value if key == METRIC else getattr(candidate, key)
    return None if value is None or math.isnan(value) else value


def _why(
    key: str,
    name: str,
    model: Candidate,
    value: float | None,
    bound: float | None,
    mixed: Sequence[str],
) -> str:
    """Empty if the limit holds."""
    if value is None:
        return f"{name} not measured"
    if bound is None:
        if mixed:
            return f"{name} is {mixed[0]}, the champion's {mixed[1]}: they cannot be compared"
        return f"the champion's {name} is not known"
    least = key == METRIC and model.higher_is_better
    missed = bound - value if least else value - bound
    if missed <= (_EPSILON if key == METRIC else 0):
        return ""
    return f"{name} {number(value)} is {'below' if least else 'above'} {number(bound)}"


def number(value: float) -> str:
    """Digits in groups of three; whole numbers without decimals, small ones with four."""
    if float(value).is_integer() and abs(value) >= 2:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
