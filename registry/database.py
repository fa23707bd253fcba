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
from tinydeploy.registry.schema import TAG_KEY, Row

_BUSY_SECONDS = 30
_DELETED_VERSION = "Deleted_Internal"


@dataclass(frozen=True)
class RunRow:
    """One run that is not deleted. `status` is RUNNING, FINISHED, FAILED or KILLED."""

    run_id: str
    name: str
    status: str
    end_time: int
    row: Row


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
        """The newest version of a model that is this variant."""
        wanted = {"model_sha256": model_sha256, "recipe": recipe}
        model = self.model(name)
        found = [v for v in model.versions if v.tags.items() >= wanted.items()] if model else []
        return found[-1] if found else None

    def runs_with(self, experiment: str, key: str) -> list[RunRow]:
        """Runs that are not deleted and whose tag `tinydeploy.key` is `key`, the newest first."""
        return self._runs(
            "r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = ? AND value = ?)",
            experiment,
            TAG_KEY,
            key,
        )

    def runs(self, experiment: str) -> list[RunRow]:
        """All runs of an experiment that are not deleted, the newest first."""
        return self._runs("1", experiment)

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        return self._runs("r.status NOT IN ('FINISHED', 'FAILED', 'KILLED')", experiment)

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
                )
                for run_id, name, status, end_time in query(
                    f"SELECT r.run_uuid, r.name, r.status, r.end_time {selected} "
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
