"""A variant on a board as a run of kind `board`: footprint, measurement, origins. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from tinydeploy.registry.schema import (
    KIND_BOARD,
    LAYOUT,
    TAG_CONTENT,
    TAG_KEY,
    TAG_KIND,
    TAG_LAYOUT,
    TAG_MANIFEST,
    TAG_PARENT,
    TAG_PROFILE,
    TAG_SIGNED_BY,
    Row,
    VersionRecord,
    below,
    edited,
)
from tinydeploy.store import sha256_json
from tinydeploy.types import Build, Footprint, Measurement, Origin, to_json

_ORIGINS = frozenset(get_args(Origin))
_SUMMARISED = ("latency_us", "energy_uj")
_FOOTPRINT = ("flash_bytes", "ram_bytes", "arena_bytes", "code_bytes")


@dataclass(frozen=True)
class BoardRecord:
    """A run of kind `board`, read back. `instructions` is the mean, time and energy are medians.

    `selection` is SELECTED or REJECTED (for the `reason`), "" before the first selection.
    """

    run_id: str
    parent_run_id: str
    board: str
    engine: str
    optimize: str
    build_id: str
    compiler: str
    firmware_sha256: str
    footprint: Footprint
    instructions: int | None = None
    latency_us: float | None = None
    energy_uj: float | None = None
    cycles_model: int | None = None
    samples: int = 0
    outputs_verified: bool | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
    selection: str = ""
    reason: str = ""
    pareto: bool = False
    manifest_sha256: str = ""
    signed_by: str = ""
    profile_sha256: str = ""


def board_key(parent_run_id: str, board: str, engine: str, optimize: str) -> str:
    """The identity of a run of kind `board`: one a (variant, board, engine, optimize)."""
    return f"{parent_run_id}@{board}/{engine}/{optimize}"


def board_content(build: Build, measurement: Measurement | None) -> str:
    """Hash of a build and what was measured with it, without the places where files lie."""
    built = {
        k: v
        for k, v in to_json(build).items()
        if k not in ("directory", "elf", "model_path", "footprint")
    }
    footprint = to_json(final_footprint(build, measurement))
    return sha256_json([LAYOUT, built, footprint, to_json(measurement)])


def final_footprint(build: Build, measurement: Measurement | None) -> Footprint:
    """The footprint with the stack that the device reported, if it did."""
    if measurement is None or measurement.stack_bytes is None:
        return build.footprint
    return build.footprint.with_stack(measurement.stack_bytes)


def board_row(version: VersionRecord, build: Build, measurement: Measurement | None) -> Row:
    """Footprint, measurement and origins of a variant on a board.

    The variant's metric stands beside them, so that the MLflow UI can plot one against the other.
    """
    tags = {
        TAG_LAYOUT: LAYOUT,
        TAG_KIND: KIND_BOARD,
        TAG_KEY: board_key(version.run_id, build.board, build.engine, build.optimize),
        TAG_CONTENT: board_content(build, measurement),
        TAG_PARENT: version.run_id,
        # As parameters, too: who searches need not know which of them a name is.
        "board": build.board,
        "variant": version.variant,
        "recipe": version.recipe,
        "build_id": build.build_id,
        "compiler": build.compiler,
        "model_sha256": build.model_sha256,
        "firmware_sha256": build.firmware_sha256,
        f"origin.{version.metric}": "host",
        **{f"origin.{key}": origin for key, origin in _origins(measurement).items()},
    }
    if measurement and measurement.method:
        tags["method"] = measurement.method
    params = {
        "variant": version.variant,
        "recipe": version.recipe,
        "board": build.board,
        "engine": build.engine,
        "optimize": build.optimize,
    }
    metrics = {
        version.metric: version.value,
        **_footprint_metrics(final_footprint(build, measurement)),
        **_measured_metrics(measurement),
    }
    return Row(tags, params, metrics)


def _origins(measurement: Measurement | None) -> dict[str, str]:
    origins = dict.fromkeys(_FOOTPRINT, "linker")
    if measurement:
        if measurement.stack_bytes is not None:
            origins["ram_bytes"] = measurement.origin.get("stack_bytes", "linker")
        origins |= measurement.origin
    return origins


def _footprint_metrics(footprint: Footprint) -> dict[str, float]:
    metrics = {key: float(getattr(footprint, key)) for key in _FOOTPRINT}
    for memory, split in (("flash", footprint.flash), ("ram", footprint.ram)):
        metrics |= {f"{memory}.{part}": float(size) for part, size in split.items()}
    return metrics


def _measured_metrics(measurement: Measurement | None) -> dict[str, float]:
    if measurement is None:
        return {}
    metrics = {
        "samples": float(measurement.samples),
        "outputs_compared": float(measurement.outputs_compared),
        "outputs_equal": float(measurement.outputs_equal),
    }
    if measurement.instructions:
        counts = measurement.instructions
        metrics["instructions"] = float(round(statistics.fmean(counts)))
        metrics["instructions.min"] = float(min(counts))
        metrics["instructions.max"] = float(max(counts))
    if measurement.cycles_model is not None:
        metrics["cycles_model"] = float(measurement.cycles_model)
    for key in _SUMMARISED:
        if samples := getattr(measurement, key):
            metrics[key] = statistics.median(samples)
            metrics[f"{key}.min"] = min(samples)
            metrics[f"{key}.max"] = max(samples)
    return metrics


def read_board(run_id: str, row: Row) -> BoardRecord:
    """The inverse of `board_row`."""
    try:
        return BoardRecord(
            run_id=run_id,
            parent_run_id=row.tags[TAG_PARENT],
            board=row.params["board"],
            engine=row.params["engine"],
            optimize=row.params["optimize"],
            build_id=row.tags["build_id"],
            compiler=row.tags["compiler"],
            firmware_sha256=row.tags["firmware_sha256"],
            footprint=Footprint(
                **{key: int(row.metrics[key]) for key in _FOOTPRINT},
                flash=_split("flash.", row.metrics),
                ram=_split("ram.", row.metrics),
            ),
            instructions=_whole(row.metrics.get("instructions")),
            latency_us=row.metrics.get("latency_us"),
            energy_uj=row.metrics.get("energy_uj"),
            cycles_model=_whole(row.metrics.get("cycles_model")),
            samples=int(row.metrics.get("samples", 0)),
            outputs_verified=_verified(row.metrics),
            origin=_read_origins(row.tags),
            selection=row.tags.get("selection", ""),
            reason=row.tags.get("reason", ""),
            pareto=row.tags.get("pareto") == "yes",
            manifest_sha256=row.tags.get(TAG_MANIFEST, ""),
            signed_by=row.tags.get(TAG_SIGNED_BY, ""),
            profile_sha256=row.tags.get(TAG_PROFILE, ""),
        )
    except (KeyError, ValueError) as e:
        raise edited(f"run {run_id}", e) from e


def _split(prefix: str, metrics: Mapping[str, float]) -> dict[str, int]:
    return {k: int(v) for k, v in below(prefix, metrics).items()}


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _verified(metrics: Mapping[str, float]) -> bool | None:
    """None if nothing was compared."""
    compared = metrics.get("outputs_compared", 0)
    return metrics["outputs_equal"] == compared if compared else None


def _read_origins(tags: Mapping[str, str]) -> dict[str, Origin]:
    origins = below("origin.", tags)
    return {k: v for k, v in origins.items() if v in _ORIGINS and k not in _FOOTPRINT}
