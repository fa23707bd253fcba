"""A registered model as a whole, read back: versions, their runs on boards, candidates, choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from tinydeploy.registry.boards import BoardRecord, read_board
from tinydeploy.registry.database import ModelRow, RunRow
from tinydeploy.registry.place import Reader
from tinydeploy.registry.schema import (
    KIND_BOARD,
    PINNED,
    VersionRecord,
    below,
    read_selection_tag,
    read_version,
)
from tinydeploy.types import HIGHER_IS_BETTER, Candidate, Constraints, Selection

_NO_REASON = "registered after the last selection"


@dataclass(frozen=True)
class View:
    """One registered model at one moment.

    `versions` are all that tinydeploy wrote, oldest first; `records` hold one run a (version,
    board, engine, optimize); `aliases` map boards to version numbers.
    """

    name: str
    versions: tuple[VersionRecord, ...] = ()
    records: tuple[BoardRecord, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""

    @cached_property
    def current(self) -> list[VersionRecord]:
        """The newest version of each variant: an older one was made from another source."""
        newest = {v.variant: v for v in self.versions}
        return sorted(newest.values(), key=lambda v: int(v.version))

    @cached_property
    def pins(self) -> dict[str, str]:
        """Board -> the version that selection leaves in place."""
        return below(f"{PINNED}.", self.tags)

    @property
    def boards(self) -> list[str]:
        """Boards with a run, by name."""
        return sorted({r.board for r in self.records})

    def of(self, version: VersionRecord, board: str | None = None) -> list[BoardRecord]:
        """The runs of a version, on one board or on all."""
        found = self._below.get(version.run_id, [])
        return [r for r in found if board in (None, r.board)]

    @cached_property
    def _below(self) -> dict[str, list[BoardRecord]]:
        """The runs by the run of their version."""
        found: dict[str, list[BoardRecord]] = {}
        for record in self.records:
            found.setdefault(record.parent_run_id, []).append(record)
        return found

    def candidates(
        self, board: str, engine: str | None = None, optimize: str | None = None
    ) -> list[Candidate]:
        """What selection sees on a board: a candidate a run, or a blocked one without a run.

        Named like its variant; if it ran with several engines or levels, with these behind.
        """
        found = []
        for version in self.current:
            records = [
                r
                for r in self.of(version, board)
                if engine in (None, r.engine) and optimize in (None, r.optimize)
            ]
            for record in records:
                suffix = f" ({record.engine}, {record.optimize})" if len(records) > 1 else ""
                found.append(_candidate(version, record, suffix))
            if not records:
                found.append(_candidate(version, None))
        return found

    def champion(self, board: str) -> Candidate | None:
        """The variant that the alias `<board>` points to, with its figures there; None without.

        Of several runs on the board the selected one, or else the newest.
        """
        number = self.aliases.get(board)
        for version in self.versions:
            if version.version == number:
                records = self.of(version, board)
                chosen = version.selected.get(board)
                records.sort(key=lambda r: r.run_id != chosen)
                return _candidate(version, records[0] if records else None)
        return None

    def made(self, board: str) -> tuple[str, Constraints] | None:
        """Objective and constraints of the last selection for a board; None before the first."""
        return read_selection_tag(board, self.tags)

    def constraints(self, board: str) -> Constraints | None:
        """What the last selection for a board was made under; None before the first."""
        made = self.made(board)
        return made[1] if made else None

    def selection(self, board: str) -> Selection | None:
        """The last selection for a board, with the figures of today; None before the first."""
        made = read_selection_tag(board, self.tags)
        if made is None:
            return None
        candidates = self.candidates(board)
        versions = {v.version: v for v in self.versions}
        records = {r.run_id: r for r in self.records}
        chosen, pareto, reasons = None, [], {}
        for c in candidates:
            version, record = versions[c.version], records.get(c.run_id)
            if self.aliases.get(board) == c.version and (
                version.selected.get(board) == c.run_id or chosen is None
            ):
                chosen = c
            if record and record.pareto:
                pareto.append(c.name)
            reason = record.reason if record else version.rejected.get(board, "")
            reasons[c.name] = reason or _NO_REASON
        if chosen:
            del reasons[chosen.name]
        return Selection(board, made[0], chosen, tuple(candidates), tuple(pareto), reasons)


def read_view(database: Reader, name: str) -> View | None:
    """The registered model, or None. Raises RegistryError if it cannot be read."""
    model = database.model(name)
    return view_of(model, database.runs(name, KIND_BOARD)) if model else None


def read_glance(database: Reader, name: str, board: str, versions: Collection[int]) -> View | None:
    """As `read_view`, with some versions: those named, and what the board points to."""
    model = database.glance(name, board, versions)
    if model is None:
        return None
    parents = [v.run_id for v in model.versions]
    runs = database.runs_of(name, parents, KIND_BOARD)
    known = {r.run_id for r in runs}
    # A run whose version has gone may still be tagged as what the board runs.
    runs += [r for r in database.runs_selected(name, board) if r.run_id not in known]
    return view_of(model, runs)


def view_of(model: ModelRow, runs: Iterable[RunRow]) -> View:
    """The view of a model with its runs of kind `board`."""
    newest: dict[tuple[str, ...], BoardRecord] = {}
    for run in runs:
        if run.status == "FINISHED":
            record = read_board(run.run_id, run.row)
            key = (record.parent_run_id, record.board, record.engine, record.optimize)
            newest.setdefault(key, record)
    return View(
        model.name,
        read_versions(model),
        tuple(newest.values()),
        model.aliases,
        model.tags,
        model.description,
    )


def read_versions(model: ModelRow) -> tuple[VersionRecord, ...]:
    """The versions that tinydeploy wrote, oldest first, without repetitions.

    Of several versions of one variant, as there may be for a moment on a server, the first counts:
    whoever made another removes it.
    """
    aliases: dict[str, list[str]] = {}
    for alias, version in model.aliases.items():
        aliases.setdefault(version, []).append(alias)
    found = (
        read_version(
            model.name, v.version, v.run_id, v.tags, aliases.get(v.version, ()), v.description
        )
        for v in model.versions
    )
    first: dict[tuple[str, str], VersionRecord] = {}
    for v in found:
        if v:
            first.setdefault((v.model_sha256, v.recipe), v)
    return tuple(first.values())


def _candidate(version: VersionRecord, record: BoardRecord | None, suffix: str = "") -> Candidate:
    """A version on a board as selection sees it; without a record it is blocked."""
    bare = Candidate(
        name=version.variant + suffix,
        model_sha256=version.model_sha256,
        metric=version.metric,
        value=version.value,
        higher_is_better=HIGHER_IS_BETTER.get(version.metric, True),
        version=version.version,
        blocked="" if record else "not built for this board",
    )
    if record is None:
        return bare
    return dataclasses.replace(
        bare,
        flash_bytes=record.footprint.flash_bytes,
        ram_bytes=record.footprint.ram_bytes,
        instructions=record.instructions,
        latency_us=record.latency_us,
        energy_uj=record.energy_uj,
        outputs_verified=record.outputs_verified,
        origin=record.origin,
        run_id=record.run_id,
    )
