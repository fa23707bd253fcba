"""What a deployment found out: the values that `run.deploy` returns and the CLI prints."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from tinydeploy.types import (
    HIGHER_IS_BETTER,
    Artifact,
    Build,
    Candidate,
    Evaluation,
    Measurement,
    Selection,
)


@dataclass(frozen=True)
class BoardResult:
    """One variant on one board. `blocked` says in plain words why there is no measurement.

    `failed` is True when the board or its toolchain failed, rather than the variant being too
    large or unsupported.
    """

    board: str
    build: Build | None = None
    measurement: Measurement | None = None
    blocked: str = ""
    failed: bool = False


@dataclass(frozen=True)
class Variant:
    """One (source, recipe). Without an artifact, `blocked` says why it could not be converted."""

    name: str
    artifact: Artifact | None
    evaluation: Evaluation | None
    boards: tuple[BoardResult, ...]
    blocked: str = ""
    version: str = ""
    run_ids: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Deployment:
    """All variants, a selection a board, and the chosen variants' metric on the test set."""

    name: str
    variants: tuple[Variant, ...]
    selections: tuple[Selection, ...]
    test: Mapping[str, Evaluation]
    seconds: Mapping[str, Mapping[str, float]]

    @property
    def failures(self) -> list[str]:
        """What failed on a board or in its toolchain."""
        return [
            f"{v.name} on {b.board}: {b.blocked}"
            for v in self.variants
            for b in v.boards
            if b.failed
        ]


def candidate(variant: Variant, result: BoardResult, metric: str) -> Candidate:
    """What selection sees of a variant on a board. Instructions: mean; latency, energy: median."""
    build, measured, evaluation = result.build, result.measurement, variant.evaluation
    footprint = build.footprint if build else None
    return Candidate(
        name=variant.name,
        model_sha256=variant.artifact.sha256 if variant.artifact else "",
        metric=metric,
        value=evaluation.value if evaluation else None,
        higher_is_better=HIGHER_IS_BETTER[metric],
        flash_bytes=footprint.flash_bytes if footprint else None,
        ram_bytes=footprint.ram_bytes if footprint else None,
        instructions=_mean(measured.instructions) if measured else None,
        latency_us=_median(measured.latency_us) if measured else None,
        energy_uj=_median(measured.energy_uj) if measured else None,
        outputs_verified=(
            measured.outputs_equal == measured.outputs_compared > 0 if measured else None
        ),
        origin=measured.origin if measured else {},
        blocked=variant.blocked or result.blocked,
        version=variant.version,
        run_id=(variant.run_ids or {}).get(result.board, ""),
    )


def _mean(values: tuple[int, ...] | None) -> int | None:
    return round(statistics.fmean(values)) if values else None


def _median(values: tuple[float, ...] | None) -> float | None:
    return statistics.median(values) if values else None
