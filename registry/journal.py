"""What tinydeploy adds to MLflow's SQLite file: indexes, and a journal of what was changed.

MLflow has no index on values, and without one every answer takes longer with each version. The
journal is a table that triggers write, so that a change is in it whoever makes it: tinydeploy,
MLflow's client, its UI, or a statement by hand. A `digest` reads from it what it has to read anew.

Nothing here disturbs MLflow: its migrations make a new table, drop the old one and rename, which
takes the triggers and indexes of that table along; no trigger names another table of MLflow's, so
that the renaming finds nothing amiss. `prepare` puts back what is missing, and then declares void
whatever was concluded from the journal before, by a new `token`.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any

_INDEXES = (
    "tinydeploy_tags ON tags (key, value, run_uuid)",
    "tinydeploy_version_tags ON model_version_tags (name, key, value, version)",
    "tinydeploy_version_rows ON model_version_tags (name, version, key, value)",
    "tinydeploy_versions ON model_versions (name, version)",
    "tinydeploy_version_runs ON model_versions (run_id, name, version)",
    "tinydeploy_runs ON runs (status, experiment_id)",
)

_TABLES = {
    # One row a run (version -1), a model (0) or a model version; a change gives it a new `seq`.
    "tinydeploy_journal": "CREATE TABLE tinydeploy_journal (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
    "entity TEXT NOT NULL, version INTEGER NOT NULL, UNIQUE (entity, version))",
    "tinydeploy_token": "CREATE TABLE tinydeploy_token (token TEXT NOT NULL)",
    "tinydeploy_digests": "CREATE TABLE tinydeploy_digests (name TEXT PRIMARY KEY, "
    "token TEXT NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL)",
}

_WATCHED = {
    "runs": ("run_uuid", "-1"),
    "tags": ("run_uuid", "-1"),
    "params": ("run_uuid", "-1"),
    "latest_metrics": ("run_uuid", "-1"),
    "model_versions": ("name", "version"),
    "model_version_tags": ("name", "version"),
    "registered_models": ("name", "0"),
    "registered_model_tags": ("name", "0"),
    "registered_model_aliases": ("name", "0"),
}
"""Table of MLflow's -> what its rows belong to."""


def _triggers() -> dict[str, str]:
    found = {}
    for table, (entity, version) in _WATCHED.items():
        for event, rows in (
            ("insert", ("NEW",)),
            ("update", ("OLD", "NEW")),
            ("delete", ("OLD",)),
        ):
            name = f"tinydeploy_{table}_{event}"
            body = ""
            for row in rows:
                which = f"{row}.{entity}", f"{row}.{version}" if version.isalpha() else version
                # Not REPLACE: a trigger's way with conflicts is that of the statement it is for.
                body += (
                    f"DELETE FROM tinydeploy_journal WHERE entity = {which[0]} "
                    f"AND version = {which[1]}; INSERT INTO tinydeploy_journal (entity, version) "
                    f"VALUES ({which[0]}, {which[1]}); "
                )
            found[name] = f"CREATE TRIGGER {name} AFTER {event.upper()} ON {table} BEGIN {body}END"
    return found


_TRIGGERS = _triggers()


def is_complete(query: Callable[..., list[Any]]) -> bool:
    """True if the journal can be relied on: its tables and all triggers are there as they are here.

    Missing indexes only cost time.
    """
    there = _objects(query)
    return all(there.get(name) == sql for name, sql in (_TABLES | _TRIGGERS).items())


def prepare(connection: sqlite3.Connection) -> None:
    """Add what is missing, in one transaction; two processes may do so at once.

    The connection must be in autocommit mode. Raises sqlite3.OperationalError for a file that
    cannot be written, and one without MLflow's tables; nothing was changed then.
    """

    def query(sql: str) -> list[Any]:
        return connection.execute(sql).fetchall()

    wanted = _TABLES | _TRIGGERS
    there = _objects(query)
    indexes = {text.split()[0]: f"CREATE INDEX {text}" for text in _INDEXES}
    if is_complete(query) and there.keys() >= indexes.keys():
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        there = _objects(query)  # another process may have been faster
        stale = [n for n, sql in wanted.items() if there.get(n) != sql]
        for name in stale:
            kind = "TABLE" if name in _TABLES else "TRIGGER"
            connection.execute(f"DROP {kind} IF EXISTS {name}")
        for name in stale:
            connection.execute(wanted[name])
        for name, sql in indexes.items():
            if name not in there:
                connection.execute(sql)
        if stale:
            connection.execute("DELETE FROM tinydeploy_digests")
            connection.execute("DELETE FROM tinydeploy_token")
            token = secrets.token_hex(8)
            connection.execute("INSERT INTO tinydeploy_token (token) VALUES (?)", (token,))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _objects(query: Callable[..., list[Any]]) -> Mapping[str, str]:
    """What is there: name -> the statement that made it."""
    return dict(query("SELECT name, sql FROM sqlite_master WHERE name GLOB 'tinydeploy_*'"))
