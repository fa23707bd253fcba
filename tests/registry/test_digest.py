"""The digest of a registered model says what MLflow's tables say, whoever changed them."""

from __future__ import annotations

import dataclasses
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from family import BOARD, build, choose, measurement, registered, variant

from tinydeploy.objective import parse_objective
from tinydeploy.pipeline import select as selecting
from tinydeploy.pipeline.select import Pool
from tinydeploy.registry import digests, journal, scope
from tinydeploy.registry.choice import changes
from tinydeploy.registry.database import Database
from tinydeploy.registry.descriptions import describe_model
from tinydeploy.registry.digest import Digest
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.selecting import stale_descriptions
from tinydeploy.types import Constraints

BOARDS = (BOARD, "qemu-rv32")


def columns(digest: Digest) -> Any:
    """All that a digest holds, without where the journal was and how words are numbered."""
    words = digest.words

    def rows(table: np.ndarray, named: tuple[str, ...]) -> list[Any]:
        return [
            {
                k: words[v] if k in named else repr(v)
                for k, v in zip(table.dtype.names or (), row.tolist(), strict=True)
                if k != "seq"
            }
            for row in table
        ]

    runs = rows(digest.runs, ("board", "engine", "optimize", "origin", "state"))
    return digest.variants, rows(digest.versions, ("metric",)), runs


def anew(registry: MlflowRegistry) -> Digest:
    with registry.folder.reader.connection() as query:
        return digests._made(query, "family", 0)


def require_equal(registry: MlflowRegistry) -> None:
    """Brought up to date, kept and loaded, made anew, and read run by run: all the same."""
    now = registry.database.digest("family")
    assert now is not None
    assert columns(now) == columns(anew(registry))
    decoded = Digest.decoded("family", now.encoded(), now.seq, now.token)
    assert decoded is not None and columns(decoded) == columns(now)
    loaded = Database(registry.folder.database).digest("family")
    assert loaded is not None and columns(loaded) == columns(now)
    view = registry.view("family")
    for board in BOARDS:
        for optimize in (None, "speed"):
            expected = view.candidates(board, optimize=optimize)
            assert list(registry.candidates("family", board, optimize=optimize)) == expected
    assert describe_model(now.first(60), now.boards, len(now.variants)) == describe_model(view)
    stale = set(stale_descriptions(view, view.description))
    current = {v.version for v in view.current}
    marked = now.versions["version"][now.versions["stale"]]
    assert {str(v) for v in marked} == stale & current


def test_whoever_changes_what(registry: MlflowRegistry, tmp_path: Path) -> None:
    """Many random changes, through tinydeploy and through MLflow's client."""
    rng = random.Random(2026)
    registered(registry, tmp_path / "first", "float32", "int8")
    client: Any
    with registry.place.locked() as client:
        pass
    deleted: list[str] = []

    def some_run() -> str:
        return rng.choice(registry.database.runs("family", "board")).run_id

    def some_version() -> str:
        model = registry.database.model("family")
        assert model is not None
        return rng.choice(model.versions).version

    def register() -> None:
        seed = rng.randrange(200)
        recipe = rng.choice(("float32", "int8", "int16x8"))
        model = variant(tmp_path / "work", recipe=recipe, seed=seed, value=rng.random())
        version = registry.register("family", *model)
        for board in rng.sample(BOARDS, rng.randrange(3)):
            optimize = rng.choice(("size", "speed"))
            made = build(tmp_path / "build", model[1], board, optimize=optimize)
            measured = rng.choice((None, measurement(made, outputs_equal=rng.choice((2, 3)))))
            registry.record("family", version, made, measured)

    def select() -> None:
        board = rng.choice(BOARDS)
        names = [c.name for c in registry.candidates("family", board) if not c.blocked]
        registry.select("family", choose(registry, rng.choice(names) if names else None, board))

    def delete_run() -> None:
        deleted.append(some_run())
        client.delete_run(deleted[-1])

    def restore_run() -> None:
        if deleted:
            client.restore_run(deleted.pop())

    def delete_version() -> None:
        if len(registry.view("family").versions) > 2:
            client.delete_model_version("family", some_version())

    work = (
        register, register, register, select, select, delete_run, restore_run, delete_version,
        lambda: client.set_tag(some_run(), "reason", str(rng.random())),
        lambda: client.set_tag(some_run(), "origin.instructions", rng.choice(("measured", "x"))),
        lambda: client.log_metric(some_run(), "flash_bytes", rng.randrange(90_000)),
        lambda: client.log_metric(some_run(), "latency_us", rng.random()),
        lambda: client.set_model_version_tag("family", some_version(), "accuracy", "0.25"),
        lambda: client.update_model_version("family", some_version(), "by hand"),
        lambda: client.set_terminated(some_run(), rng.choice(("FINISHED", "FAILED"))),
    )  # fmt: skip
    for number in range(120):
        if not registry.database.runs("family", "board"):
            registered(registry, tmp_path / str(number), "float32")
        rng.choice(work)()
        if number % 4 == 0:
            require_equal(registry)
    require_equal(registry)


def test_only_what_changed_is_read_anew(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = registered(registry, tmp_path, "float32", "int8", "int16x8")
    registry.select("family", choose(registry, "net-int8"))
    registry.candidates("family", BOARD)
    read: list[set[int]] = []
    original = digests._with

    def counted(query: Any, digest: Any, gone: Any, versions: set[int], seq: int) -> Any:
        read.append(versions)
        return original(query, digest, gone, versions, seq)

    monkeypatch.setattr(digests, "_with", counted)
    registry.candidates("family", BOARD)
    assert read == []
    with registry.place.locked() as client:
        client.set_tag(runs["int8"][1], "reason", "edited")
    registry.candidates("family", BOARD)
    assert read == [{2}]


def test_a_renamed_model_is_another(registry: MlflowRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, "int8")
    assert registry.database.digest("family") is not None
    with registry.place.locked() as client:
        client.rename_registered_model("family", "other")
        assert registry.database.digest("family") is None
        renamed = registry.database.digest("other")
        assert renamed is not None and renamed.variants == ("net-int8",)
        client.delete_registered_model("other")
        assert registry.database.digest("other") is None


# ---------------------------------------------------------------- many candidates
LIMITS = Constraints(min_metric=0.5, board_ram_bytes=16_384)


def test_many_candidates_are_told_apart_alike(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With only three told in full: after each selection nothing is left to be written."""
    monkeypatch.setattr(selecting, "NEAREST", 3)
    recipes = [f"r{i}" for i in range(7)]
    runs = registered(registry, tmp_path, *recipes)
    registry.register("family", *variant(tmp_path, recipe="unbuilt", seed=50))
    life = Lifecycle(registry)

    def select(limits: Constraints, objective: str = "flash") -> Any:
        pool = Pool(BOARD, registry.candidates("family", BOARD))
        selection = pool.selection(limits, parse_objective(objective))
        registry.select("family", selection, limits)
        view = registry.view("family")
        whole = scope.narrowed(selection, view)
        assert len(whole.candidates) == len(view.current)
        assert changes(view, whole, limits).nothing
        assert stale_descriptions(view, describe_model(view)) == {}
        return selection

    def reason(recipe: str) -> str:
        found = registry.database.runs_with("family", tag_key(registry, runs[recipe][1]))
        return found[0].row.tags["reason"]

    first = select(LIMITS)
    assert len(first.nearest) == 3 and first.nearest[0] == first.chosen.name
    far = [r for r in recipes if f"net-{r}" not in first.nearest]
    assert {reason(r) for r in far} == {scope.FAR}
    assert first.reasons[f"net-{far[-1]}"] != scope.FAR
    assert reason(first.nearest[1].removeprefix("net-")) == first.reasons[first.nearest[1]]
    # Others write in between: by hand, another metric, a pin, a version that goes.
    with registry.place.locked() as client:
        client.set_tag(runs[far[-1]][1], "reason", "by hand")
        client.set_tag(runs[far[-1]][1], "selection", "selected")
        client.set_model_version_tag("family", "8", f"rejected.{BOARD}", "by hand")
    select(LIMITS)
    with registry.place.locked() as client:
        client.log_metric(runs["r6"][1], "flash_bytes", 5.0)
    assert select(LIMITS).chosen.name == "net-r6"
    life.pin("family", BOARD, "2")
    assert select(LIMITS).chosen.name == "net-r6"
    assert registry.view("family").aliases[BOARD] == "2"
    life.unpin("family", BOARD)
    select(dataclasses.replace(LIMITS, min_metric=0.95))
    assert select(LIMITS, "instructions").chosen is not None
    with registry.place.locked() as client:
        client.delete_model_version("family", "7")
    assert select(LIMITS).chosen.name != "net-r6"
    model = variant(tmp_path, recipe="r5", seed=99, value=0.99)  # trained once more
    version = registry.register("family", *model)
    made = build(tmp_path / "again", model[1])
    registry.record("family", version, made, measurement(made))
    select(LIMITS)


def tag_key(registry: MlflowRegistry, run_id: str) -> str:
    run = next(r for r in registry.database.runs("family", "board") if r.run_id == run_id)
    return run.row.tags["tinydeploy.key"]


def test_what_was_registered_since_is_looked_at(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between loading the candidates and writing the choice another process was at work."""
    monkeypatch.setattr(selecting, "NEAREST", 2)
    runs = registered(registry, tmp_path, "a", "b", "c", "d")
    pool = Pool(BOARD, registry.candidates("family", BOARD))
    selection = pool.selection(LIMITS, parse_objective("flash"))
    other = MlflowRegistry(registry.folder.folder.parent)
    with other.place.locked() as client:
        client.set_tag(runs["d"][1], "selection", "selected")
        made = build(tmp_path / "new", variant(tmp_path, recipe="c", seed=2, value=0.7)[1])
        replaced = measurement(made, instructions=(5, 5, 5))
    other.record("family", runs["c"][0], made, replaced)
    registry.select("family", selection, LIMITS)
    view = registry.view("family")
    assert changes(view, scope.narrowed(selection, view), LIMITS).nothing
    assert {r.selection for r in view.records} == {"selected", "rejected"}
    assert sum(r.selection == "selected" for r in view.records) == 1


# ---------------------------------------------------------------- databases
def additions(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(
            connection.execute("SELECT name, sql FROM sqlite_master WHERE name GLOB 'tinydeploy_*'")
        )


def without_additions(database: Path) -> None:
    """As an earlier version of tinydeploy, or MLflow itself, made it."""
    with closing(sqlite3.connect(database)) as connection, connection:
        rows = connection.execute(
            "SELECT type, name FROM sqlite_master WHERE name GLOB 'tinydeploy_*'"
        ).fetchall()
        for kind, name in sorted(rows, key=lambda row: row[0] == "table"):
            connection.execute(f"DROP {kind} IF EXISTS {name}")


def test_an_older_database_gets_what_it_lacks(registry: MlflowRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, "float32", "int8")
    database, complete = registry.folder.database, additions(registry.folder.database)
    assert len(complete) > 20
    for first in (
        lambda r: r.candidates("family", BOARD),  # what only reads, as soon as it needs it
        lambda r: registered(r, tmp_path, "float32", "int8", "int16x8"),  # what writes
    ):
        without_additions(database)
        first(MlflowRegistry(registry.folder.folder.parent))
        assert additions(database) == complete
    require_equal(registry)


def test_what_was_changed_without_a_journal_is_not_missed(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    runs = registered(registry, tmp_path, "float32", "int8")
    assert registry.candidates("family", BOARD)[0].flash_bytes != 7
    database = registry.folder.database
    with closing(sqlite3.connect(database)) as connection, connection:
        # As a migration of MLflow's does it, with something in between.
        connection.execute("CREATE TABLE scratch AS SELECT * FROM latest_metrics")
        connection.execute("DROP TABLE latest_metrics")
        connection.execute(
            "UPDATE scratch SET value = 7 WHERE key = 'flash_bytes' AND run_uuid = ?",
            (runs["float32"][1],),
        )
        connection.execute("ALTER TABLE scratch RENAME TO latest_metrics")
    assert registry.candidates("family", BOARD)[0].flash_bytes == 7
    require_equal(registry)


def test_a_database_that_can_only_be_read(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(registry, tmp_path, "float32", "int8")
    expected = list(registry.candidates("family", BOARD))
    database = registry.folder.database
    without_additions(database)
    original = sqlite3.connect

    def read_only(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = original(*arguments, **named)
        connection.execute("PRAGMA query_only = ON")  # root may write any file
        return connection

    monkeypatch.setattr(sqlite3, "connect", read_only)
    reader = MlflowRegistry(registry.folder.folder.parent)
    assert list(reader.candidates("family", BOARD)) == expected
    monkeypatch.undo()
    assert additions(database) == {}


def test_migrations_of_mlflow_go_through(tmp_path: Path) -> None:
    """From the first layout that has all tables to the newest, with the journal in place."""
    from alembic import command
    from alembic.script import ScriptDirectory
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    database = tmp_path / "mlflow.db"
    engine = create_engine(f"sqlite:///{database}")
    Base.metadata.create_all(engine)
    engine.dispose()
    config = _get_alembic_config(f"sqlite:///{database}")
    steps = [r.revision for r in ScriptDirectory.from_config(config).walk_revisions()][::-1]
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:

        def prepared() -> bool:
            try:
                journal.prepare(connection)
            except sqlite3.OperationalError:
                return False
            return True

        first = 0
        while not prepared():
            command.upgrade(config, steps[first])
            first += 1
        assert first < len(steps) - 5
        token = connection.execute("SELECT token FROM tinydeploy_token").fetchone()
        command.upgrade(config, "head")
        assert prepared()
        complete = additions(database)
        assert len(complete) > 20
        # Tables were made anew on the way, and with them went triggers: all is void.
        assert connection.execute("SELECT token FROM tinydeploy_token").fetchone() != token
        assert prepared() and additions(database) == complete


def test_two_processes_may_prepare_at_once(registry: MlflowRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, "int8")
    database = registry.folder.database
    complete = additions(database)
    without_additions(database)
    program = (
        "import sqlite3, sys; from tinydeploy.registry import journal; "
        "c = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None); "
        "sys.stdin.read(1); journal.prepare(c); "
        "print(c.execute('SELECT token FROM tinydeploy_token').fetchall())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(database)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(4)
    ]  # fmt: skip
    said = [p.communicate("x", timeout=60)[0] for p in processes]
    assert len(set(said)) == 1 and said[0].startswith("[('")
    assert additions(database) == complete
