"""Collects what `tinydeploy report` shows, from the registry, the models and, if asked, boards."""

from __future__ import annotations

import dataclasses
import platform
import tempfile
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy import __version__
from tinydeploy.cli import options, wiring
from tinydeploy.cli.selecting import results_of
from tinydeploy.errors import RegistryError, TinydeployError, UsageError
from tinydeploy.objective import parse_objective
from tinydeploy.pipeline import evidence
from tinydeploy.pipeline.select import Pool
from tinydeploy.report.values import Anatomy, Board, LayerRow, Lineage, Report
from tinydeploy.types import Candidate, Constraints, DeviceProfile, Evidence

if TYPE_CHECKING:
    from tinydeploy.registry.boards import BoardRecord
    from tinydeploy.registry.mlflow import MlflowRegistry
    from tinydeploy.registry.view import View

ORIGINS = {
    "flash, RAM": "the linker; for the stack, the high-water mark that the firmware reported",
    "measured": "a real board, over its serial line",
    "emulated": "counted exactly by an emulator, or a script's (loopback); not a real board's",
    "estimated": "a model's prediction; never chosen by unless asked for",
    "metric": "the host, with the same C code as the board: equal byte for byte where compared",
}


def collect(
    store: MlflowRegistry, name: str, profiles: Iterable[Path], *, profile: bool = False
) -> Report:
    """Everything about a registered model. With `profile` the chosen run once more, by layer.

    Raises RegistryError if there is no such model, or nothing was ever selected.
    """
    view = store.view(name)
    devices = {b: _device(b, profiles) for b in view.boards}
    boards = [_board(store, view, b, devices[b]) for b in view.boards]
    shown = [b for b in boards if b]
    if not shown:
        raise RegistryError(
            f"nothing of {name} was built for a board", hint="deploy first, or register --build"
        )
    chosen = [(b, b.selection.chosen) for b in shown if b.selection.chosen]
    return Report(
        name=name,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        tool=f"tinydeploy {__version__} (Python {platform.python_version()})",
        boards=tuple(shown),
        anatomies=tuple(
            _anatomy(store, view, b.name, c, devices[b.name], profile) for b, c in chosen
        ),
        lineage=tuple(_lineage(store, view, c) for c in {c.name: c for _, c in chosen}.values()),
        origins=ORIGINS,
    )


def _device(board: str, profiles: Iterable[Path]) -> DeviceProfile | None:
    """None for a board whose file is not here any more."""
    try:
        return wiring.devices([board], profiles)[board]
    except UsageError:
        return None


def _board(
    store: MlflowRegistry, view: View, board: str, device: DeviceProfile | None
) -> Board | None:
    """What was selected, with the figures of today; chosen by flash alone if nothing was yet."""
    candidates = view.candidates(board)
    if not candidates:
        return None
    last = view.selection(board)
    constraints = view.constraints(board) or Constraints(
        board_flash_bytes=device.flash_bytes if device else None,
        board_ram_bytes=device.ram_bytes if device else None,
    )
    pool = Pool(board, candidates, results=results_of(store, view.name, strict=False))
    fresh = pool.selection(constraints, parse_objective(last.objective if last else "flash"))
    selection = dataclasses.replace(last, sufficient=fresh.sufficient) if last else fresh
    told = ""
    if selection.chosen and constraints.max_loss is not None:
        index = next(i for i, c in enumerate(candidates) if c.name == selection.chosen.name)
        found = pool.evidence(index, constraints)
        told = evidence.words(found, selection.chosen.metric) if isinstance(found, Evidence) else ""
    return Board(
        board,
        device.description if device else "no file of this board is here any more",
        device.core if device else "-",
        selection,
        constraints,
        constraints.board_flash_bytes,
        constraints.board_ram_bytes,
        told,
    )


def _record(view: View, run_id: str) -> BoardRecord | None:
    return next((r for r in view.records if r.run_id == run_id), None)


def _anatomy(
    store: MlflowRegistry,
    view: View,
    board: str,
    chosen: Candidate,
    device: DeviceProfile | None,
    profile: bool,
) -> Anatomy:
    """Layers and memory plan of the chosen variant, compiled anew for its board."""
    from tinydeploy.pipeline.inspect import layers
    from tinydeploy.tflite import read_graph

    record = _record(view, chosen.run_id)
    try:
        artifact = store.artifact(view.name, chosen.version)
        graph = read_graph(artifact.path)
    except TinydeployError as e:
        return Anatomy(chosen.name, board, note=f"The model cannot be read: {e.message}")
    rows = tuple(
        LayerRow(
            layer.index,
            layer.op,
            "×".join(map(str, layer.output_shapes[0])) if layer.output_shapes else "",
            layer.macs,
            layer.weight_bytes,
            layer.activation_bytes,
        )
        for layer in layers(graph)
    )
    found = Anatomy(chosen.name, board, rows)
    if not profile:
        try:
            found = _kept(store, view.name, record, found)
        except TinydeployError as e:
            return dataclasses.replace(found, note=e.message)
    if device is None or record is None or record.engine != "aot":
        return dataclasses.replace(
            found, note="Only the aot engine plans the arena in advance, for boards that are known."
        )
    try:
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            wiring.compiler().compile(
                artifact.path,
                Path(scratch) / "c",
                device=device,
                optimize=record.optimize,
                standalone=True,
            )
            plan = (Path(scratch) / "c" / "plan.svg").read_text(encoding="utf-8")
        found = dataclasses.replace(found, plan=plan)
        return _profiled(found, artifact.path, device, record) if profile else found
    except TinydeployError as e:
        return dataclasses.replace(found, note=e.message)


def _kept(store: MlflowRegistry, name: str, record: BoardRecord | None, found: Anatomy) -> Anatomy:
    """With what each layer takes, as far as the registry knows."""
    from tinydeploy.registry import layers

    made = layers.read(store, name, record) if record else None
    return _costing(found, made) if made else found


def _profiled(found: Anatomy, model: Path, device: DeviceProfile, record: BoardRecord) -> Anatomy:
    """With what each layer takes on the board: one inference with a random input."""
    from tinydeploy.cli.profiling import profile

    options.progress(f"profile {found.variant} on {device.name}")
    made = profile(model, device, engine=record.engine, optimize=record.optimize)
    return _costing(found, made)


def _costing(found: Anatomy, made: Mapping[str, Any]) -> Anatomy:
    """With the costs of a profile, as `profile --json` prints it."""
    unit = made["unit"]
    costs = {row["layer"]: row[unit] for row in made["layers"]}
    rows = tuple(dataclasses.replace(r, cost=costs.get(r.index)) for r in found.layers)
    return dataclasses.replace(found, layers=rows, unit=unit, origin=made["origin"].get(unit, ""))


def _lineage(store: MlflowRegistry, view: View, chosen: Candidate) -> Lineage:
    """Hashes, data and tools of a chosen variant."""
    facts = {"model sha256": chosen.model_sha256}
    try:
        artifact = store.artifact(view.name, chosen.version)
        facts |= {
            "source": artifact.source_name,
            "source sha256": artifact.source_sha256,
            "recipe": artifact.recipe,
            "calibration sha256": artifact.data_sha256 or "no calibration",
        }
        judged = store.evaluation(view.name, chosen.version)
        facts |= {
            "judged on": f"{judged.samples:,} samples ({judged.split}), {judged.metric} "
            f"{judged.value:.4f} by {judged.engine}",
            "their sha256": judged.data_sha256,
        }
    except TinydeployError as e:
        facts["missing"] = e.message
    for record in view.records:
        if record.run_id == chosen.run_id or (
            chosen.version and view.aliases.get(record.board) == chosen.version
        ):
            if record.parent_run_id != _parent(view, chosen):
                continue
            facts |= {
                f"{record.board}: build": record.build_id,
                f"{record.board}: firmware sha256": record.firmware_sha256,
                f"{record.board}: engine": f"{record.engine}, {record.optimize}; {record.compiler}",
            }
    return Lineage(chosen.name, chosen.version, facts)


def _parent(view: View, chosen: Candidate) -> str:
    return next((v.run_id for v in view.versions if v.version == chosen.version), "")
