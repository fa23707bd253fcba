"""What a search may try: sources and settings of recipes, chosen by what fits a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.graph import Graph
from tinydeploy.types import Constraints, Recipe

CALIBRATION_SAMPLES = 300

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "activations": ("int8", "int16", "float32"),
    "granularity": ("channel", "tensor"),
    "ranges": ("min-max", "percentile", "mse"),
    "weights": ("as they are", "32 values", "16 values", "25% zeros", "40% zeros"),
}
"""Each setting with its values, the usual one first."""

_WEIGHTS: Mapping[str, Mapping[str, Any]] = {
    "as they are": {},
    "32 values": {"clusters": 32},
    "16 values": {"clusters": 16},
    "25% zeros": {"pruned": 0.25},
    "40% zeros": {"pruned": 0.4},
}
_SHORT = {
    "channel": "", "tensor": "tensor", "min-max": "", "percentile": "percentile", "mse": "mse",
    "as they are": "", "32 values": "c32", "16 values": "c16", "25% zeros": "p25",
    "40% zeros": "p40",
}  # fmt: skip


def recipe_of(settings: Mapping[str, str]) -> Recipe:
    """The recipe of a choice from `SETTINGS`; float32 has no other settings."""
    activations = settings["activations"]
    if activations == "float32":
        return Recipe("float32", "As trained.", "float32", "float32")
    rest = [_SHORT[settings[k]] for k in ("granularity", "ranges", "weights")]
    name = "-".join([{"int8": "int8", "int16": "int16x8"}[activations], *filter(None, rest)])
    return Recipe(
        name=name,
        description=f"Found by search: {', '.join(settings.values())}.",
        activations="int8" if activations == "int8" else "int16",
        weights="int8",
        calibration_samples=CALIBRATION_SAMPLES,
        granularity="tensor" if settings["granularity"] == "tensor" else "channel",
        ranges=settings["ranges"],  # type: ignore[arg-type]
        **_WEIGHTS[settings["weights"]],
    )


def settings_for(optimize: str) -> dict[str, tuple[str, ...]]:
    """`SETTINGS`, without weights in fewer values where the engine would not store them packed."""
    if optimize == "size":
        return dict(SETTINGS)
    return {**SETTINGS, "weights": SETTINGS["weights"][:1]}


def usual() -> dict[str, str]:
    """The usual value of every setting: the recipe int8."""
    return {name: values[0] for name, values in SETTINGS.items()}


@dataclass(frozen=True)
class SourceCost:
    """A source as int8 on a board: what it computes, and what it needs at least.

    `trained_from` is the source that it is trained from, "" for a source as it is; its figures are
    estimated then.
    """

    name: str
    path: Path
    macs: int
    arena_bytes: int
    constants_bytes: int
    fits: bool
    trained_from: str = ""


def promising(costs: Sequence[SourceCost]) -> list[SourceCost]:
    """The half of the sources that fit with most MACs, most first; at least two of them.

    The rule of MCUNet (Lin et al., 2020): of search spaces under a memory limit the best is the one
    whose models compute most in it. A source fits as well if one of its trainings does; all of them
    that do come with it.
    """
    fitting = sorted((c for c in costs if c.fits), key=lambda c: (-c.macs, c.name))
    sources = list(dict.fromkeys(c.trained_from or c.name for c in fitting))
    chosen = sources[: max(2, (len(sources) + 1) // 2)]
    return [c for c in fitting if (c.trained_from or c.name) in chosen]


def constants_bytes(graph: Graph) -> int:
    """Bytes of all constants of a model."""
    return sum(t.data.nbytes for t in graph.tensors if t.data is not None)


def too_large(arena_bytes: int, flash_bound_bytes: int, constraints: Constraints) -> str:
    """Why no build of a model can fit, in plain words, or "".

    The arena is what the plan needs, and RAM needs more; `flash_bound_bytes` is what the constants
    take at least.
    """
    limits = (
        ("RAM", arena_bytes, constraints.max_ram_bytes, constraints.board_ram_bytes),
        ("flash", flash_bound_bytes, constraints.max_flash_bytes, constraints.board_flash_bytes),
    )
    for what, needed, *bounds in limits:
        allowed = min((b for b in bounds if b is not None), default=None)
        if allowed is not None and needed > allowed:
            return f"needs at least {needed:,} B of {what}, {allowed:,} B are allowed"
    return ""
