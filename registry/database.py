"""Reads MLflow's SQLite file directly: an answer takes milliseconds, `import mlflow` seconds.

Only reads, never writes, and only these tables of MLflow 3.17: `experiments`, `runs`, `tags`,
`params`, `latest_metrics`, `registered_models`, `registered_model_tags`,
`registered_model_aliases`, `model_versions`, `model_version_tags`. A test compares the answers
with those of MLflow's own client, so that another layout cannot go unnoticed.

Every call opens a connection of its own, so calls from several threads are safe.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tinydeploy.registry.failures import translated
from tinydeploy.registry.schema import (
    PINNED,
    REJECTED,
    SELECTED,
    TAG_KEY,
    TAG_KIND,
    TAG_PARENT,
    Row,
    below,
)

if TYPE_CHECKING:
    from tinydeploy.registry.digest import Digest
    from tinydeploy.registry.digests import Digests

_BUSY_SECONDS = 30
Query = Callable[..., list[Any]]
"""(sql, *values) -> rows of one state of the database."""
DELETED_VERSION = "Deleted_Internal"
_TAGGED = "r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)"


@dataclass(frozen=True)
class RunRow:
    """One run that is not deleted. `status` is RUNNING, FINISHED, FAILED or KILLED."""

    run_id: str
    name: str
    status: str
    end_time: int
    row: Row
    start_time: int = 0


@dataclass(frozen=True)
class VersionRow:
    """One model version that is not deleted."""

    version: str
    run_id: str
    description: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class ModelRow:
    """A registered model with all its versions in ascending order."""

    name: str
    description: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[VersionRow, ...] = ()


class Database:
    """MLflow's tables of one SQLite file; a file that does not exist is an empty registry."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @functools.cached_property
    def _digests(self) -> Digests:
        from tinydeploy.registry.digests import Digests  # with numpy

        return Digests(self)

    def model(self, name: str) -> ModelRow | None:
        """A registered model, or None."""
        with self.connection() as query:
            return read_model(query, name)

    def glance(self, name: str, board: str, versions: Collection[int]) -> ModelRow | None:
        """A registered model with some versions: those named, and what the board points to.

        That is by an alias, a pin or the tag of what is selected.
        """

        def wanted(query: Query, model: ModelRow) -> set[int]:
            tagged = query(
                "SELECT version FROM model_version_tags WHERE name = ? AND key = ?",
                name,
                f"{SELECTED}.{board}",
            )
            pins = below(f"{PINNED}.", model.tags).values()
            named = [v for v in (*model.aliases.values(), *pins) if str(v).isdigit()]
            return {*versions, *(v for (v,) in tagged), *(int(v) for v in named)}

        with self.connection() as query:
            return read_model(query, name, wanted)

    def rejections(self, name: str, board: str) -> dict[int, str]:
        """Version -> why it was not built for a board, as its tag says."""
        with self.connection() as query:
            found = query(
                "SELECT version, value FROM model_version_tags WHERE name = ? AND key = ?",
                name,
                f"{REJECTED}.{board}",
            )
            return {version: value or "" for version, value in found}

    def digest(self, name: str) -> Digest | None:
        """The figures of all current variants of a registered model; None if there is none."""
        return self._digests.of(name)

    def models(self) -> list[str]:
        """Names of all registered models."""
        with self.connection() as query:
            return [name for (name,) in query("SELECT name FROM registered_models ORDER BY name")]

    def version_of(self, name: str, model_sha256: str, recipe: str) -> VersionRow | None:
        """The version of a model that is this variant: the first, should there be several."""
        found = self.versions_of(name, model_sha256, recipe)
        return found[0] if found else None

    def experiment_id(self, name: str) -> str:
        """MLflow's id of an experiment, "" if there is none."""
        with self.connection() as query:
            found = query("SELECT experiment_id FROM experiments WHERE name = ?", name)
            return str(found[0][0]) if found else ""

    def experiments(self) -> list[str]:
        """Names of the experiments that tinydeploy writes to."""
        with self.connection() as query:
            found = query(
                "SELECT DISTINCT e.name FROM experiments e JOIN runs r "
                "ON r.experiment_id = e.experiment_id JOIN tags t ON t.run_uuid = r.run_uuid "
                "WHERE t.key = ? ORDER BY e.name",
                TAG_KIND,
            )
            return [name for (name,) in found]

    def versions_of(self, name: str, model_sha256: str, recipe: str) -> list[VersionRow]:
        """All versions of a model that are this variant, the oldest first."""
        with self.connection() as query:
            found = query(
                "SELECT version FROM model_version_tags "
                "WHERE name = ? AND key = 'model_sha256' AND value = ? ORDER BY version",
                name,
                model_sha256,
            )
        versions = [self.version(name, str(v)) for (v,) in found]
        return [v for v in versions if v and v.tags.get("recipe") == recipe]

    def version(self, name: str, version: str) -> VersionRow | None:
        """One version, or None."""
        with self.connection() as query:
            found = query(
                "SELECT version, run_id, description FROM model_versions "
                "WHERE name = ? AND version = ? AND current_stage != ?",
                name,
                int(version) if version.isdecimal() else -1,
                DELETED_VERSION,
            )
            if not found:
                return None
            tags = query(
                "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
                name,
                found[0][0],
            )
            return VersionRow(version, found[0][1] or "", found[0][2] or "", _pairs(tags))

    def runs_with(self, experiment: str, key: str) -> list[RunRow]:
        """Runs that are not deleted and whose tag `tinydeploy.key` is `key`, the newest first."""
        return self._runs(_TAGGED, experiment, TAG_KEY, key)

    def runs(self, experiment: str, kind: str = "") -> list[RunRow]:
        """Runs of an experiment (of one kind) that are not deleted, the newest first."""
        if not kind:
            return self._runs("1", experiment)
        return self._runs(_TAGGED, experiment, TAG_KIND, kind)

    def runs_below(self, experiment: str, parent: str, kind: str = "") -> list[RunRow]:
        """Child runs of a run that are not deleted, the newest first."""
        found = self._runs(_TAGGED, experiment, TAG_PARENT, parent)
        return [r for r in found if kind in ("", r.row.tags.get(TAG_KIND))]

    def runs_of(self, experiment: str, parents: Sequence[str], kind: str) -> list[RunRow]:
        """Child runs of one kind of several runs, the newest first."""
        some, values = among("value", parents)
        found = self._runs(below_any(some), experiment, TAG_PARENT, *values)
        return [r for r in found if r.row.tags.get(TAG_KIND) == kind]

    def runs_selected(self, experiment: str, board: str) -> list[RunRow]:
        """Runs on a board that are tagged as what it shall run, the newest first."""
        some = "SELECT run_uuid FROM tags WHERE key = ? AND value = ?"
        found = self._runs(f"r.run_uuid IN ({some})", experiment, "selection", SELECTED)
        return [r for r in found if r.row.params.get("board") == board]

    def homeless(self, experiment: str, kind: str, parents: Sequence[str]) -> list[str]:
        """Ids of the runs of one kind that are below none of these."""
        some, values = among("p.value", parents)
        with self.connection() as query:
            found = query(
                "SELECT r.run_uuid FROM runs r JOIN experiments e "
                "ON e.experiment_id = r.experiment_id JOIN tags t ON t.run_uuid = r.run_uuid "
                "WHERE e.name = ? AND r.lifecycle_stage = 'active' AND t.key = ? AND t.value = ? "
                "AND NOT EXISTS (SELECT 1 FROM tags p WHERE p.run_uuid = r.run_uuid "
                f"AND p.key = ? AND {some})",
                experiment,
                TAG_KIND,
                kind,
                TAG_PARENT,
                *values,
            )
            return [run_id for (run_id,) in found]

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        return self._runs("r.status IN ('RUNNING', 'SCHEDULED')", experiment)

    def registered_elsewhere(self, name: str, run_ids: Collection[str]) -> set[str]:
        """Those of the runs of which another registered model has a version."""
        some, values = among("run_id", run_ids)
        with self.connection() as query:
            found = query(
                f"SELECT DISTINCT run_id FROM model_versions WHERE name != ? AND "
                f"current_stage != ? AND {some}",
                name,
                DELETED_VERSION,
                *values,
            )
            return {run_id for (run_id,) in found}

    def _runs(self, condition: str, experiment: str, *values: str) -> list[RunRow]:
        with self.connection() as query:
            return read_runs(query, condition, experiment, *values)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Callable[..., list[Any]]]:
        """A function (sql, *values) -> rows that sees one state of the database throughout.

        It is opened for writing although nothing is written: after a crash SQLite has to roll
        back the unfinished transaction before anything can be read. Where nothing can be written
        (a read-only share) it is opened as a file that does not change: SQLite could not make
        the files beside it that readers share with a writer. A writer elsewhere has made them.
        """
        if not self.path.exists():
            yield lambda sql, *values: []
            return
        path = self.path.resolve()
        beside = path.with_name(f"{path.name}-wal")
        fixed = not os.access(path.parent, os.W_OK) and not beside.exists()
        uri = f"file:{quote(str(path))}?{'mode=ro&immutable=1' if fixed else 'mode=rw'}"
        with (
            translated(self.path),
            contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection,
        ):
            connection.execute("BEGIN")
            yield lambda sql, *values: connection.execute(sql, values).fetchall()


def read_model(
    query: Query, name: str, wanted: Callable[[Query, ModelRow], set[int] | None] | None = None
) -> ModelRow | None:
    """A registered model with the versions that are wanted, or all; None if there is none."""
    found = query("SELECT description FROM registered_models WHERE name = ?", name)
    if not found:
        return None
    bare = ModelRow(
        name,
        found[0][0] or "",
        _pairs(query("SELECT key, value FROM registered_model_tags WHERE name = ?", name)),
        _pairs(query("SELECT alias, version FROM registered_model_aliases WHERE name = ?", name)),
    )
    some, values = among("version", wanted(query, bare) if wanted else None)
    tags: defaultdict[int, dict[str, str]] = defaultdict(dict)
    for version, key, value in query(
        f"SELECT version, key, value FROM model_version_tags WHERE name = ? AND {some}",
        name,
        *values,
    ):
        tags[version][key] = value or ""
    rows = query(
        "SELECT version, run_id, description FROM model_versions "
        f"WHERE name = ? AND current_stage != ? AND {some} ORDER BY version",
        name,
        DELETED_VERSION,
        *values,
    )
    return dataclasses.replace(
        bare,
        versions=tuple(
            VersionRow(str(version), run_id or "", description or "", tags[version])
            for version, run_id, description in rows
        ),
    )


def read_runs(query: Query, condition: str, experiment: str, *values: str) -> list[RunRow]:
    """Runs of an experiment that satisfy an SQL condition on `runs r`, the newest first."""
    runs = query(
        "SELECT r.run_uuid, r.name, r.status, r.end_time, r.start_time "
        "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
        f"WHERE e.name = ? AND r.lifecycle_stage = 'active' AND {condition} "
        "ORDER BY r.end_time DESC, r.start_time DESC",
        experiment,
        *values,
    )
    some, ids = among("run_uuid", [row[0] for row in runs])
    tables: dict[str, defaultdict[str, dict[str, Any]]] = {}
    for table, column in (
        ("tags", "value"),
        ("params", "value"),
        ("latest_metrics", "CASE is_nan WHEN 1 THEN NULL ELSE value END"),
    ):
        found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for run_id, key, value in query(
            f"SELECT run_uuid, key, {column} FROM {table} WHERE {some}", *ids
        ):
            found[run_id][key] = value
        tables[table] = found
    return [
        RunRow(
            run_id,
            name or "",
            status,
            end_time or 0,
            Row(
                tables["tags"][run_id],
                tables["params"][run_id],
                {
                    k: float("nan") if v is None else v
                    for k, v in tables["latest_metrics"][run_id].items()
                },
            ),
            start_time or 0,
        )
        for run_id, name, status, end_time, start_time in runs
    ]


def below_any(some: str) -> str:
    """The condition of `read_runs` for child runs; its values are TAG_PARENT and those of `some`.

    `some` is what `among` says about the column "value".
    """
    return f"r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND {some})"


def among(column: str, values: Collection[Any] | None) -> tuple[str, tuple[Any, ...]]:
    """An SQL condition and its values: the column is one of `values`, or anything for None.

    As JSON, because SQLite takes a limited number of values.
    """
    if values is None:
        return "1", ()
    return f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(list(values)),)


def _pairs(rows: list[tuple[str, Any]]) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in rows}
