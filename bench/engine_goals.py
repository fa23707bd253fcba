"""What the engine is judged by: the figures of TFLite-Micro, the goals, and whether they are met.

The figures are those of `data/engine_baseline.csv` beside the repository: TFLite-Micro with its
reference and with CMSIS-NN kernels, counted on the same emulated cores.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import geometric_mean
from typing import Any

BASELINES = {
    "m4": ("tflm-cmsis", "m4"),
    "m3": ("tflm-cmsis", "m3"),
    "m55": ("tflm-cmsis", "m55"),
    "m7": ("tflm-cmsis", "m4"),
    "m33": ("tflm-cmsis", "m4"),
    "rv32": ("tflm-ref", "m3"),
}
"""Core -> engine and core of the baseline file that it is compared with."""

FIGURES = {
    "instructions": "instructions",
    "cycles_model": "cycles_model",
    "engine_ram_bytes": "ram_bytes",
    "engine_flash_bytes": "flash_bytes",
    "code_bytes": "code_bytes",
}
"""Our figure -> its column of the baseline file."""

CYCLES_MARGIN = 0.10
"""An instruction ratio counts only if that of the modelled cycles is no further above it."""


@dataclass(frozen=True)
class Goal:
    """A limit on a figure of the four models: `aim` is wanted, `least` counts as done.

    `by` is "ratio" (geometric mean of the ratios to the baseline) or "most" (of any model);
    `worst` limits every single model's ratio.
    """

    figure: str
    cores: tuple[str, ...]
    optimize: str
    aim: float
    least: float
    by: str = "ratio"
    worst: float | None = None


_DSP = ("m4", "m7", "m33")
_COMPARED = ("m4", "m7", "m33", "m55", "m3")
GOALS = (
    Goal("instructions", _DSP, "balanced", 0.35, 0.45, worst=0.60),
    Goal("instructions", _DSP, "speed", 0.28, 0.40),
    Goal("instructions", ("m55",), "balanced", 0.60, 0.85),
    Goal("instructions", ("m3",), "balanced", 0.45, 0.60),
    Goal("instructions", ("rv32",), "balanced", 0.25, 0.35),
    Goal("engine_ram_bytes", _COMPARED, "balanced", 0.45, 0.60),
    Goal("arena_over_bound", _COMPARED, "balanced", 1.05, 1.05, by="most"),
    Goal("code_bytes", (*_COMPARED, "rv32", "m0"), "balanced", 8192, 14336, by="most"),
    Goal("engine_flash_bytes", _COMPARED, "balanced", 0.55, 0.70),
)


def read_baseline(path: Path) -> dict[tuple[str, str, str], dict[str, int]]:
    """(model, engine, core) -> figures; a figure that is not in the file is left out."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {
            (row["model"], row["engine"], row["core"]): {
                ours: int(row[theirs]) for ours, theirs in FIGURES.items() if row[theirs]
            }
            for row in csv.DictReader(file)
        }


def ratios(row: dict[str, Any], figures: dict[str, int]) -> dict[str, float]:
    """Our figures over the baseline's, where both are known."""
    return {name: round(row[name] / value, 4) for name, value in figures.items() if row.get(name)}


def counts(found: dict[str, Any]) -> bool | None:
    """Whether a ratio of instructions counts: that of the modelled cycles is at most
    CYCLES_MARGIN above it. None where no cycles are known for the core or in the baseline."""
    instructions, cycles = found.get("instructions"), found.get("cycles_model")
    if instructions is None or cycles is None:
        return None
    return bool(round(cycles - instructions, 4) <= CYCLES_MARGIN)


def means(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Geometric means of all ratios for each core and optimize level, over the models compared."""
    groups: dict[tuple[str, str], list[dict[str, float]]] = {}
    for row in rows:
        if row.get("ratios"):
            groups.setdefault((row["core"], row["optimize"]), []).append(row["ratios"])
    found = []
    for (core, optimize), group in groups.items():
        averages = {
            name: _mean([r[name] for r in group if name in r], len(group)) for name in FIGURES
        }
        head = {"core": core, "optimize": optimize, "models": len(group)}
        worst = max((r["instructions"] for r in group if "instructions" in r), default=None)
        found.append(head | averages | {"counts": counts(averages), "worst_instructions": worst})
    return found


def judge(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every goal on every core that was measured: the value, and "goal", "at least" or "missed"."""
    verdicts = []
    for goal in GOALS:
        for core in goal.cores:
            chosen = [
                row
                for row in rows
                if row["core"] == core and row["optimize"] == goal.optimize and row["judged"]
            ]
            if verdict := _verdict(goal, core, [row for row in chosen if not row.get("error")]):
                verdicts.append(verdict | {"models": len(chosen)})
    return verdicts


def _verdict(goal: Goal, core: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if goal.by == "most":
        values = [row[goal.figure] for row in rows if row.get(goal.figure)]
        value = max(values, default=None)
    else:
        values = [row["ratios"][goal.figure] for row in rows if goal.figure in row["ratios"]]
        value = _mean(values, len(values))
    if value is None:
        return None
    said = "goal" if value <= goal.aim else "at least" if value <= goal.least else "missed"
    if goal.worst and max(values) > goal.worst:
        said = f"missed: a model needs {max(values):.2f}, above {goal.worst:.2f}"
    if goal.figure == "instructions" and not said.startswith("missed"):
        far = [row for row in rows if counts(row["ratios"]) is False]
        if far:
            above = [row["ratios"]["cycles_model"] - row["ratios"]["instructions"] for row in far]
            names = ", ".join(row["model"] for row in far)
            said = f"does not count: cycles are {max(above):.2f} above ({names})"
    return {
        "figure": goal.figure,
        "core": core,
        "optimize": goal.optimize,
        "value": value,
        "aim": goal.aim,
        "least": goal.least,
        "verdict": said,
    }


def _mean(values: Sequence[float], wanted: int) -> float | None:
    return round(geometric_mean(values), 4) if values and len(values) == wanted else None
