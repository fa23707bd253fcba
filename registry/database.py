"""Reads MLflow's SQLite file directly: an answer takes milliseconds, `import mlflow` seconds.

Only reads, never writes, and only these tables of MLflow 3.17: `experiments`, `runs`, `tags`,
`params`, `latest_metrics`, `registered_models`, `registered_model_tags`,
`registered_model_aliases`, `model_versions`, `model_version_tags`. A test compares the answers
with those of MLflow's own client, so that another layout cannot go unnoticed.

Every call opens a connection of its own, so calls from several threads are safe.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tinydeploy.registry.failures import translated
from tinydeploy.registry.schema import TAG_KEY, TAG_KIND, TAG_PARENT, Row

_BUSY_SECONDS = 30
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
        with self._connection() as query:
            found = query("SELECT description FROM registered_models WHERE name = ?", name)
            if not found:
                return None
            tags: defaultdict[int, dict[str, str]] = defaultdict(dict)
            for version, key, value in query(
                "SELECT version, key, value FROM model_version_tags WHERE name = ?", name
            ):
                tags[version][key] = value or ""
            return ModelRow(
                name=name,
                description=found[0][0] or "",
                tags=_pairs(
                    query("SELECT key, value FROM registered_model_tags WHERE name = ?", name)
                ),
                aliases=_pairs(
                    query(
                        "SELECT alias, version FROM registered_model_aliases WHERE name = ?", name
                    )
                ),
                versions=tuple(
                    VersionRow(str(version), run_id or "", description or "", tags[version])
                    for version, run_id, description in query(
                        "SELECT version, run_id, description FROM model_versions "
                        "WHERE name = ? AND current_stage != ? ORDER BY version",
                        name,
                        _DELETED_VERSION,
                    )
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
                "WHERE name = ? AND CAST(version AS TEXT) = ? AND current_stage != ?",
                name,
                version,
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

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        return self._runs("r.status NOT IN ('FINISHED', 'FAILED', 'KILLED')", experiment)

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
        selected = (
            "FROM runs r JOIN experiments e ON e.experiment_id = r.experiment_id "
            f"WHERE e.name = ? AND r.lifecycle_stage = 'active' AND {condition}"
        )
        with self._connection() as query:
            tables: dict[str, defaultdict[str, dict[str, Any]]] = {}
            for table, column in (
                ("tags", "value"),
                ("params", "value"),
                ("latest_metrics", "CASE is_nan WHEN 1 THEN NULL ELSE value END"),
            ):
                found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
                for run_id, key, value in query(
                    f"SELECT run_uuid, key, {column} FROM {table} "
                    f"WHERE run_uuid IN (SELECT r.run_uuid {selected})",
                    experiment,
                    *values,
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
                for run_id, name, status, end_time, start_time in query(
                    f"SELECT r.run_uuid, r.name, r.status, r.end_time, r.start_time {selected} "
                    "ORDER BY r.end_time DESC, r.start_time DESC",
                    experiment,
                    *values,
                )
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


def _pairs(rows: list[tuple[str, Any]]) -> dict[str, str]:
    return {key: "" if value is None else str(value) for key, value in rows}
