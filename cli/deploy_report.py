"""The table at the end of a deployment: for each board the variants and the verdicts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinydeploy.cli.render import table
from tinydeploy.config import Config, LimitsConfig
from tinydeploy.errors import DeviceError, NoSufficientVariantError
from tinydeploy.pipeline import evidence
from tinydeploy.pipeline.columns import EPSILON
from tinydeploy.pipeline.deployment import Deployment
from tinydeploy.types import (
    Candidate,
    CandidateTable,
    Constraints,
    DeviceProfile,
    Selection,
    to_json,
)

if TYPE_CHECKING:
    from tinydeploy.registry.lifecycle import Moved

# Figures that are shown where at least one variant has them: (field, head).
FIGURES = (
    ("flash_bytes", "flash"),
    ("ram_bytes", "RAM"),
    ("instructions", "instructions"),
    ("latency_us", "latency us"),
    ("energy_uj", "energy uJ"),
)


def report(result: Deployment, config: Config, devices: Mapping[str, DeviceProfile]) -> str:
    """Everything a person wants to know, as text."""
    parts = [board(s, config.limits_for(s.board), devices[s.board]) for s in result.selections]
    parts.append(chosen(result))
    parts.append(next_steps(result, config))
    return "\n\n".join(p for p in parts if p)


def board(selection: Selection, limits: Constraints | LimitsConfig, device: DeviceProfile) -> str:
    """One board's table, and what the samples say about the chosen variant's loss."""
    if not selection.candidates:
        return f"{device.name}: no variant is registered"
    reference = _reference(selection, limits)
    shown = [
        (field, head)
        for field, head in FIGURES
        if any(getattr(c, field) is not None for c in selection.shown)
    ]
    metric = selection.candidates[0].metric
    head = ["variant", metric, *(h for _, h in shown), "fits", "good", "verdict"]
    rows = [
        (
            c.name,
            c.value,
            *(getattr(c, field) for field, _ in shown),
            _fits(c, device),
            _good(c, selection, limits, reference),
            "SELECTED" if c == selection.chosen else selection.reasons[c.name],
        )
        for c in selection.shown
    ]
    title = (
        f"{device.name}: {device.core}, {device.flash_bytes:,} B flash, "
        f"{device.ram_bytes:,} B RAM; smallest by {selection.objective}"
    )
    told = selection.evidence.get(selection.chosen.name) if selection.chosen else None
    tail = f"\n  evidence: {evidence.words(told, metric)}" if told else ""
    return f"{title}\n{table(head, rows, indent='  ')}{_rest(selection)}{tail}"


def _rest(selection: Selection) -> str:
    """What a table of the nearest leaves out."""
    rest = len(selection.candidates) - len(selection.shown)
    if not rest:
        return ""
    return f"\n  and {rest:,} more: --explain tells about each, --json lists all"


def _reference(selection: Selection, limits: Constraints | LimitsConfig) -> float | None:
    """The metric that a loss is measured from."""
    table = selection.candidates
    if isinstance(table, CandidateTable):
        if limits.reference:
            return float(table.values()[table.index_of(limits.reference)])
        values, (_, higher) = table.values(), table.metrics()[0]
        return float(np.nanmax(values) if higher else np.nanmin(values))
    if limits.reference:
        return next((c.value for c in table if c.name == limits.reference), None)
    known = [c.value for c in table if c.value is not None]
    return (max if table[0].higher_is_better else min)(known, default=None)


def _fits(c: Candidate, device: DeviceProfile) -> str:
    if c.flash_bytes is None or c.ram_bytes is None:
        return "-"
    return (
        "yes" if c.flash_bytes <= device.flash_bytes and c.ram_bytes <= device.ram_bytes else "no"
    )


def _good(
    c: Candidate,
    selection: Selection,
    limits: Constraints | LimitsConfig,
    reference: float | None,
) -> str:
    """Is the metric within the limits, and shown to be where a confidence was asked for?"""
    if c.value is None:
        return "-"
    sign = 1 if c.higher_is_better else -1
    least = limits.min_metric is None or sign * (limits.min_metric - c.value) <= EPSILON
    near = limits.max_loss is None or reference is None
    near = near or sign * (reference - c.value) - limits.max_loss <= EPSILON  # type: ignore[operator]
    if limits.max_loss is not None and limits.confidence and (e := selection.evidence.get(c.name)):
        near = e.proof == "sufficient"
    return "yes" if least and near else "no"


def chosen(result: Deployment) -> str:
    """The chosen variants' metric on the test set, which played no part in choosing."""
    rows = []
    for s in result.selections:
        if s.chosen:
            test = result.test.get(s.chosen.name)
            rows.append(
                (
                    s.board,
                    s.chosen.name,
                    s.chosen.value,
                    test.value if test else None,
                    s.chosen.version,
                )
            )
    if not rows:
        return ""
    metric = result.selections[0].candidates[0].metric
    head = ("board", "selected", f"validation {metric}", f"test {metric}", "version")
    return (
        "Selected; every output a board sent back was compared with the host's, byte for byte:\n"
        + table(head, rows, indent="  ")
    )


def next_steps(result: Deployment, config: Config) -> str:
    """Commands to go on with."""
    picked = next((s for s in result.selections if s.chosen), None)
    if not picked or not picked.chosen:
        return ""
    name = picked.chosen.name
    artifact = next(v.artifact for v in result.variants if v.name == name)
    if artifact is None:
        return ""
    place = config.registry
    here = isinstance(place, Path) and place.resolve() == Path.cwd()
    registry = "" if here else f" --registry {place}"
    return "\n".join(
        [
            "Next:",
            f"  tinydeploy ui{registry}    # compare and choose in the MLflow UI",
            f"  tinydeploy build {os.path.relpath(artifact.path)} --device BOARD --out fw",
            "  tinydeploy flash fw    # put it on a BOARD of `tinydeploy devices list`",
        ]
    )


def require_success(result: Deployment) -> None:
    """Raises DeviceError if a board failed, NoSufficientVariantError if one has no variant."""
    if result.failures:
        raise DeviceError(
            f"{len(result.failures)} of the variants failed on a board: {result.failures[0]}",
            hint="the others are registered; run again to retry only what failed",
        )
    if lacking := [s.board for s in result.selections if not s.chosen]:
        raise NoSufficientVariantError(
            f"no variant is sufficient on {', '.join(lacking)}",
            hint="the table says why for each; loosen [limits], add sources or recipes",
        )


def summary(result: Deployment) -> dict[str, Any]:
    """The deployment as JSON, without the per-sample results (the registry keeps those)."""
    found: dict[str, Any] = to_json(result)
    for evaluation in (*found["test"].values(), *(v["evaluation"] for v in found["variants"])):
        if evaluation:
            del evaluation["correct"], evaluation["per_sample"]
    return {**found, "failures": result.failures}


def moved(result: Moved) -> str:
    """What promote, pin and rollback did."""
    before = f", version {result.before} before" if result.before else ""
    pinned = "; pinned" if result.pinned else ""
    return (
        f"models:/{result.name}@{result.board} is version {result.version} ({result.variant})"
        f"{before}{pinned}"
    )
