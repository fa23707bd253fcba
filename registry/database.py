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
import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
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

_BUSY_SECONDS = 30
_Query = Callable[..., list[Any]]
_DELETED_VERSION = "Deleted_Internal"
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

    def model(self, name: str) -> ModelRow | None:
        """A registered model, or None."""
        return self._model(name, lambda query, model: None)

    def glance(self, name: str, board: str, versions: Sequence[str]) -> ModelRow | None:
        """A registered model with the versions that a selection for a board is about: see `view`.

        Those named, the newest of each variant, and all that an alias, a pin or a tag of the
        board points to.
        """

        def wanted(query: _Query, model: ModelRow) -> set[int]:
            newest = query(
                "SELECT MAX(version) FROM model_version_tags WHERE name = ? AND key = 'variant' "
                "GROUP BY value",
                name,
            )
            tagged = query(
                "SELECT version FROM model_version_tags WHERE name = ? AND key IN (?, ?)",
                name,
                f"{SELECTED}.{board}",
                f"{REJECTED}.{board}",
            )
            pins = below(f"{PINNED}.", model.tags).values()
            named = [v for v in (*versions, *model.aliases.values(), *pins) if v.isdigit()]
            return {v for (v,) in (*newest, *tagged)} | {int(v) for v in named}

        return self._model(name, wanted)

    def _model(
        self, name: str, wanted: Callable[[_Query, ModelRow], set[int] | None]
    ) -> ModelRow | None:
        """A registered model with the versions that are wanted; None stands for all."""
        with self._connection() as query:
            found = query("SELECT description FROM registered_models WHERE name = ?", name)
            if not found:
                return None
            bare = ModelRow(
                name,
                found[0][0] or "",
                _pairs(query("SELECT key, value FROM registered_model_tags WHERE name = ?", name)),
                _pairs(
                    query(
                        "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name
                    )
                ),
            )
            numbers = wanted(query, bare)
            some, values = _among("version", numbers)
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
                _DELETED_VERSION,
                *values,
            )
            return dataclasses.replace(
                bare,
                versions=tuple(
                    VersionRow(str(version), run_id or "", description or "", tags[version])
                    for version, run_id, description in rows
                ),
            )

    def models(self) -> list[str]:
        """Names of all registered models."""
        with self._connection() as query:
            return [name for (name,) in query("SELECT name FROM registered_models ORDER BY name")]

    def version_of(self, name: str, model_sha256: str, recipe: str) -> VersionRow | None:
        """The version of a model that is this variant: the first, should there be several."""
        found = self.versions_of(name, model_sha256, recipe)
        return found[0] if found else None

    def experiment_id(self, name: str) -> str:
        """MLflow's id of an experiment, "" if there is none."""
        with self._connection() as query:
            found = query("SELECT experiment_id FROM experiments WHERE name = ?", name)
            return str(found[0][0]) if found else ""

    def experiments(self) -> list[str]:
        """Names of the experiments that tinydeploy writes to."""
        with self._connection() as query:
            found = query(
                "SELECT DISTINCT e.name FROM experiments e JOIN runs r "
                "ON r.experiment_id = e.experiment_id JOIN tags t ON t.run_uuid = r.run_uuid "
                "WHERE t.key = ? ORDER BY e.name",
                TAG_KIND,
            )
            return [name for (name,) in found]

    def versions_of(self, name: str, model_sha256: str, recipe: str) -> list[VersionRow]:
        """All versions of a model that are this variant, the oldest first."""
        with self._connection() as query:
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
        with self._connection() as query:
            found = query(
                "SELECT version, run_id, description FROM model_versions "
                "WHERE name = ? AND version = ? AND current_stage != ?",
                name,
                int(version) if version.isdecimal() else -1,
                _DELETED_VERSION,
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
        some, values = _among("value", parents)
        found = self._runs(
            f"r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND {some})",
            experiment,
            TAG_PARENT,
            *values,
        )
        return [r for r in found if r.row.tags.get(TAG_KIND) == kind]

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        return self._runs("r.status IN ('RUNNING', 'SCHEDULED')", experiment)

    def deleted(self, experiment: str) -> list[str]:
        """Ids of the deleted runs."""
        with self._connection() as query:
            found = query(
                "SELECT r.run_uuid FROM runs r JOIN experiments e "
                "ON e.experiment_id = r.experiment_id "
                "WHERE e.name = ? AND r.lifecycle_stage = 'deleted'",
                experiment,
            )
            return [run_id for (run_id,) in found]

    def _runs(self, condition: str, experiment: str, *values: str) -> list[RunRow]:
        """Runs of an experiment that satisfy an SQL condition on `runs r`."""
        with self._connection() as query:
            runs = query(
                "SELECT r.run_uuid, r.name, r.status, r.end_time, r.start_time "
                "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
                f"WHERE e.name = ? AND r.lifecycle_stage = 'active' AND {condition} "
                "ORDER BY r.end_time DESC, r.start_time DESC",
                experiment,
                *values,
            )
            some, ids = _among("run_uuid", [row[0] for row in runs])
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

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Callable[..., list[Any]]]:
        """A function (sql, *values) -> rows that sees one state of the database throughout.

        It is opened for writing although nothing is written: after a crash SQLite has to roll
        back the unfinished transaction before anything can be read.
        """
        if not self.path.exists():
            yield lambda sql, *values: []
            return
        uri = f"file:{quote(str(self.path.resolve()))}?mode=rw"
        with (
            translated(self.path),
            contextlib.closing(
                sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as connection,
        ):
            connection.execute("BEGIN")
            yield lambda sql, *values: connection.execute(sql, values).fetchall()


def _among(column: str, values: Collection[Any] | None) -> tuple[str, tuple[Any, ...]]:
    """An SQL condition and its values: the column is one of `values`, or anything for None.

    As JSON, because SQLite takes a limited number of values.
    """
    if values is None:
        return "1", ()
    return f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(list(values)),)


def _pairs(rows: list[tuple[str, Any]]) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in rows}
