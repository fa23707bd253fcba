"""Digests of one SQLite file: kept in it, and brought up to date by its journal.

Of what changed since a digest was made only the variants concerned are read anew. The digest that
is kept is replaced now and then, by whoever has read many changes; if it cannot be (a file that
may only be read, another writer), nothing is lost but time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from tinydeploy.registry import journal
from tinydeploy.registry.database import (
    DELETED_VERSION,
    ModelRow,
    Query,
    among,
    below_any,
    read_model,
    read_runs,
)
from tinydeploy.registry.descriptions import describe_version
from tinydeploy.registry.digest import Digest
from tinydeploy.registry.schema import KIND_BOARD, TAG_KIND, TAG_PARENT
from tinydeploy.registry.view import View, view_of

if TYPE_CHECKING:
    from tinydeploy.registry.database import Database

_OFTEN = 50
"""After so many changes, and one for a hundred variants, the digest that is kept is replaced."""
_PATIENCE_SECONDS = 0.2
"""Nobody waits longer for the right to keep what can be made anew."""


class Digests:
    """The digests of the models in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest: dict[str, Digest] = {}
        self._schema = -1

    def of(self, name: str) -> Digest | None:
        """The digest of a model as it is now; None if there is no such model."""
        if not self._database.path.exists():
            return None
        for attempt in range(2):
            with self._database.connection() as query:
                if not query("SELECT 1 FROM registered_models WHERE name = ?", name):
                    return None
                if self._has_journal(query):
                    digest, keep = self._current(query, name)
                    break
                if attempt:  # it cannot be added
                    return _made(query, name, 0)
            self._write(journal.prepare)
        self._latest[name] = digest
        if keep:
            self._write(lambda connection: _keep(connection, digest))
        return digest

    def _has_journal(self, query: Query) -> bool:
        schema = query("PRAGMA schema_version")[0][0]
        if schema != self._schema and journal.is_complete(query):
            self._schema = schema
        return bool(schema == self._schema)

    def _current(self, query: Query, name: str) -> tuple[Digest, bool]:
        """The digest as it is now, and whether it should be kept."""
        token = query("SELECT token FROM tinydeploy_token")[0][0]
        seq = query("SELECT MAX(seq) FROM tinydeploy_journal")[0][0] or 0
        kept = query(
            "SELECT d.seq, (SELECT COUNT(*) FROM tinydeploy_journal j WHERE j.seq > d.seq) "
            "FROM tinydeploy_digests d WHERE name = ? AND token = ? AND seq <= ?",
            name,
            token,
            seq,
        )
        digest = self._latest.get(name)
        if digest is None or digest.token != token or digest.seq > seq:
            digest = _loaded(query, name, token) if kept else None
        if digest is None:
            return dataclasses.replace(_made(query, name, seq), token=token), True
        if digest.seq < seq:
            digest = dataclasses.replace(_refreshed(query, digest, seq), seq=seq)
        return digest, not kept or kept[0][1] > _OFTEN + len(digest.variants) // 100

    def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """Do what saves time later, if it can be done now."""
        with (
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(
                sqlite3.connect(
                    self._database.path, timeout=_PATIENCE_SECONDS, isolation_level=None
                )
            ) as connection,
        ):
            work(connection)


def _keep(connection: sqlite3.Connection, digest: Digest) -> None:
    """Unless a newer one is there, or the journal began anew."""
    connection.execute(
        "INSERT INTO tinydeploy_digests (name, token, seq, body) "
        "SELECT ?, token, ?, ? FROM tinydeploy_token WHERE token = ? "
        "ON CONFLICT (name) DO UPDATE SET token = excluded.token, seq = excluded.seq, "
        "body = excluded.body WHERE token != excluded.token OR seq < excluded.seq",
        (digest.name, digest.seq, digest.encoded(), digest.token),
    )


def _loaded(query: Query, name: str, token: str) -> Digest | None:
    found = query("SELECT body, seq FROM tinydeploy_digests WHERE name = ?", name)
    return Digest.decoded(name, found[0][0], found[0][1], token)


def _made(query: Query, name: str, seq: int) -> Digest:
    """From the newest version of every variant."""
    newest = query(
        "SELECT MAX(t.version) FROM model_version_tags t JOIN model_versions v "
        "ON v.name = t.name AND v.version = t.version "
        "WHERE t.name = ? AND t.key = 'variant' AND v.current_stage != ? GROUP BY t.value",
        name,
        DELETED_VERSION,
    )
    return _with(query, Digest.empty(name), (), {v for (v,) in newest}, seq)


def _refreshed(query: Query, digest: Digest, seq: int) -> Digest:
    """With the variants read anew of which something was changed."""
    name = digest.name
    changed = query("SELECT entity, version FROM tinydeploy_journal WHERE seq > ?", digest.seq)
    runs = {entity for entity, version in changed if version < 0}
    some, values = among("run_uuid", runs)
    parents = query(f"SELECT value FROM tags WHERE key = ? AND {some}", TAG_PARENT, *values)
    runs |= {value for (value,) in parents}
    some, values = among("run_id", runs)
    behind = query(f"SELECT version FROM model_versions WHERE {some} AND name = ?", *values, name)
    versions = {version for entity, version in changed if version >= 0 and entity == name}
    versions |= {v for (v,) in behind} | digest.versions_behind(runs)
    if not versions:
        return digest
    some, values = among("version", versions)
    tagged = query(
        f"SELECT DISTINCT value FROM model_version_tags WHERE name = ? AND key = 'variant' "
        f"AND {some}",
        name,
        *values,
    )
    variants = digest.variants_of(versions) | {value for (value,) in tagged}
    newest = {v for variant in variants for v in _newest(query, name, variant)}
    return _with(query, digest, variants, newest, seq)


def _newest(query: Query, name: str, variant: str) -> set[int]:
    """The newest version of a variant, if it has one."""
    found = query(
        "SELECT t.version FROM model_version_tags t JOIN model_versions v "
        "ON v.name = t.name AND v.version = t.version "
        "WHERE t.name = ? AND t.key = 'variant' AND t.value = ? AND v.current_stage != ? "
        "ORDER BY t.version DESC LIMIT 1",
        name,
        variant,
        DELETED_VERSION,
    )
    return {version for (version,) in found}


def _with(
    query: Query, digest: Digest, gone: Iterable[str], versions: set[int], seq: int
) -> Digest:
    """Instead of the variants `gone`, these versions with their runs."""
    model = read_model(query, digest.name, lambda *_: versions) or ModelRow(digest.name)
    some, values = among("value", [v.run_id for v in model.versions])
    runs = read_runs(query, below_any(some), digest.name, TAG_PARENT, *values)
    view: View = view_of(model, [r for r in runs if r.row.tags.get(TAG_KIND) == KIND_BOARD])
    return digest.replaced(
        set(gone), view, seq, lambda v: describe_version(view, v) != v.description
    )
