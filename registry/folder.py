"""The folder below `mlruns/`: its places, its lock, and MLflow opened on it.

::

    mlruns/mlflow.db                                tracking and registry, SQLite
    mlruns/artifacts/NAME/RUN_ID/artifacts/         artifacts of a run of the experiment NAME
    mlruns/.lock                                    held while something is written
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import RegistryError
from tinydeploy.registry import journal
from tinydeploy.registry.database import Database
from tinydeploy.registry.failures import translated
from tinydeploy.store import write_atomic

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LOCK_SECONDS = 120.0
_POLL_SECONDS = 0.05

ENVIRONMENT = {
    # A server that does not answer is asked again after 1, 2, 4 and 8 seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # Standard output belongs to results.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # Saves 11 s and 1.8 GB when the server starts; jobs belong to parts of MLflow not used here.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


class MlflowFolder:
    """Places below `root`/mlruns, and the client that writes there."""

    exclusive = True
    """While it is locked nobody else writes: what is unfinished then was killed."""

    def __init__(self, root: Path) -> None:
        self.folder = root.resolve() / "mlruns"
        self.database = self.folder / "mlflow.db"
        self.artifacts = self.folder / "artifacts"
        self._client: MlflowClient | None = None

    @property
    def reader(self) -> Database:
        """Answers questions without importing MLflow."""
        return Database(self.database)

    @property
    def uri(self) -> str:
        """The database as MLflow's tracking and registry URI."""
        return f"sqlite:///{self.database}"

    def run_artifacts(self, experiment: str, run_id: str) -> Path:
        """Where the artifacts of a run lie."""
        return self.artifacts / experiment / run_id / "artifacts"

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: a folder does not go in the middle of a command."""
        return contextlib.nullcontext()

    def local_folders(self) -> list[Path]:
        """Folders of this machine in which files are staged."""
        return [self.folder]

    def location(self, experiment: str) -> str | None:
        """Where a new experiment keeps its artifacts."""
        return (self.artifacts / experiment).as_uri()

    def artifact_uri(self, experiment: str, run_id: str) -> str:
        """The artifacts of a run as MLflow names them."""
        return self.run_artifacts(experiment, run_id).as_uri()

    def has(self, experiment: str, run_id: str, path: str) -> bool:
        """True if the artifacts of a run hold a file."""
        return (self.run_artifacts(experiment, run_id) / path).is_file()

    def read(self, experiment: str, run_id: str, path: str, state: str = "") -> Path:
        """An artifact, a file or a folder, where it can be read; it may be missing."""
        return self.run_artifacts(experiment, run_id) / path

    @contextlib.contextmanager
    def filling(self, experiment: str, run_id: str) -> Iterator[Path]:
        """What is written into this folder becomes artifacts of the run."""
        folder = self.run_artifacts(experiment, run_id)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder

    def describe(self, client: MlflowClient, name: str, texts: Mapping[str, str]) -> None:
        """Descriptions: version -> text, "" for the registered model itself.

        By MLflow's own tables and in one transaction: its client reads all versions to describe a
        model, a second with 10,000 of them.
        """
        from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel

        store = client._get_registry_client().store
        now = int(time.time() * 1000)
        with store.ManagedSessionMaker(read_only=False) as session:
            for version, text in texts.items():
                if version:
                    found = session.query(SqlModelVersion).filter(
                        SqlModelVersion.name == name, SqlModelVersion.version == int(version)
                    )
                    found.update({"description": text, "last_updated_time": now})
                else:
                    model = session.query(SqlRegisteredModel)
                    model = model.filter(SqlRegisteredModel.name == name)
                    model.update({"description": text, "last_updated_time": now})

    def tag_runs(self, client: MlflowClient, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Tags of runs: run id -> key -> value. All in one transaction."""
        from mlflow.store.tracking.dbmodels.models import SqlTag

        store = client._tracking_client.store
        with store.ManagedSessionMaker(read_only=False) as session:
            for run_id, values in tags.items():
                for key, value in values.items():
                    session.merge(SqlTag(run_uuid=run_id, key=key, value=value))

    def put(self, experiment: str, run_id: str, file: Path, path: str) -> None:
        """Make a file, which may be the artifact itself, an artifact of a run."""
        target = self.run_artifacts(experiment, run_id) / path
        if target != file:
            write_atomic(target, file.read_bytes())

    def remove(self, experiment: str, run_id: str, path: str) -> None:
        """Remove a file or a folder from the artifacts of a run, if it is there."""
        found = self.run_artifacts(experiment, run_id) / path
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)

    def discard_artifacts(self, experiment: str, run_id: str) -> None:
        """Remove the artifacts of a run that is given up."""
        shutil.rmtree(self.artifacts / experiment / run_id, ignore_errors=True)

    def artifact_folders(self, experiment: str) -> list[str]:
        """Run ids for which there are artifacts, whether or not there is such a run."""
        return sorted(p.name for p in (self.artifacts / experiment).glob("*") if p.is_dir())

    @contextlib.contextmanager
    def locked(self) -> Iterator[MlflowClient]:
        """MLflow's client, with the right to write held against all processes and threads.

        The lock ends with its process, however that ends. Raises RegistryError after two minutes.
        """
        with translated(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / ".lock", "ab") as f:
                self._acquire(f.fileno())
                yield self._open()

    def _acquire(self, fd: int) -> None:
        give_up = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise RegistryError(
                        f"another process has been writing to {self.folder} for a long time",
                        hint="wait for it to end, or stop it: what it began is cleaned up",
                    ) from None
                time.sleep(_POLL_SECONDS)

    def _open(self) -> MlflowClient:
        if self._client is None or not self.database.exists():
            import_mlflow()
            from mlflow import MlflowClient

            if self.database.exists():
                self._prepare_database()
            else:
                self._create_database()
            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
        return self._client

    def _create_database(self) -> None:
        """Let MLflow make its tables in a scratch file that takes its place when it is complete.

        MLflow's migrations are many transactions: a process killed between two of them would
        leave a database that no later run can open.
        """
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        scratch = self.database.with_name(".mlflow.db.scratch")
        for left in self.folder.glob(f"{scratch.name}*"):
            left.unlink()
        try:
            store = SqlAlchemyStore(f"sqlite:///{scratch}", self.artifacts.as_uri())
            store.engine.dispose()
            # Readers (the UI) and the writer do not wait for each other, and a commit costs less.
            with contextlib.closing(sqlite3.connect(scratch)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.isolation_level = None
                journal.prepare(connection)
            os.replace(scratch, self.database)
        finally:
            scratch.unlink(missing_ok=True)

    def _prepare_database(self) -> None:
        """Add to a database made by an earlier version, or by MLflow, what makes it fast."""
        with (
            # A database that cannot be written, or has another layout, says so where it matters.
            contextlib.suppress(sqlite3.OperationalError),
            contextlib.closing(
                sqlite3.connect(self.database, timeout=_LOCK_SECONDS, isolation_level=None)
            ) as connection,
        ):
            journal.prepare(connection)


def import_mlflow() -> Any:
    """MLflow, without telemetry and without its notes on the migrations it runs."""
    os.environ.update({k: os.environ.get(k, v) for k, v in ENVIRONMENT.items()})
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # a line a retry; we say it once
    # Prints the stack of an error that it raises as well, and that `failures` translates.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return mlflow
