"""An MLflow tracking server as the registry: its client and its artifact store.

There is no lock that holds over a network, and none is needed: see `register` and `record` in
`mlflow` for how several writers agree.
"""

from __future__ import annotations

import contextlib
import functools
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from tinydeploy.errors import RegistryError
from tinydeploy.registry.failures import RunGoneError, translated
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.registry.place import FRESH
from tinydeploy.registry.remote import ServerDatabase
from tinydeploy.registry.sent import Sent
from tinydeploy.store import cache_dir, sha256_bytes, staged_directory

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_DELETED = "must be in the 'active' state"
_COLLISIONS = 7
_COLLIDED = (
    "UniqueViolation",  # PostgreSQL
    "DeadlockDetected",
    "SerializationFailure",
    "UNIQUE constraint failed",  # SQLite
    "Duplicate entry",  # MySQL
    "Deadlock found",
)
"""What databases say when two writers want the same row."""


class MlflowServer:
    """Client and artifacts of the MLflow server at a URL.

    The user name, the password or the token are MLflow's own (`MLFLOW_TRACKING_USERNAME`, ...).
    """

    exclusive = False
    """Others may write at any time: what is unfinished may be their work."""

    def __init__(self, url: str) -> None:
        self.uri = url.rstrip("/")
        self.shown = without_password(self.uri)
        self.sent = Sent()
        self._client: MlflowClient | None = None

    @property
    def reader(self) -> ServerDatabase:
        """Answers questions over the network."""
        return ServerDatabase(self.shown, self.client, self.sent.told)

    def client(self) -> MlflowClient:
        """MLflow's client of this server."""
        if self._client is None:
            import_mlflow()
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            for store in (
                self._client._tracking_client.store, self._client._get_registry_client().store,
            ):  # fmt: skip
                store._call_endpoint = self.sent.watched(_repeated(store._call_endpoint))
        return self._client

    @contextlib.contextmanager
    def locked(self) -> Iterator[MlflowClient]:
        """The client, with all errors translated. Nothing is locked: others may write as well."""
        with self.changing(), self._translated():
            yield self.client()

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """One command: should the server go, the message says what it has changed until then."""
        return self.sent.command()

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        return translated(self.shown, self.sent.told)

    def local_folders(self) -> list[Path]:
        """Folders of this machine in which files are staged: what was fetched."""
        return [cache_dir() / "registry"]

    def location(self, experiment: str) -> str | None:
        """None: the server says where artifacts are kept."""
        return None

    def artifact_uri(self, experiment: str, run_id: str) -> str:
        """The artifacts of a run as MLflow names them."""
        return str(self.client().get_run(run_id).info.artifact_uri)

    def has(self, experiment: str, run_id: str, path: str) -> bool:
        """True if the artifacts of a run hold a file."""
        with self._translated():
            parent = os.path.dirname(path)
            return any(f.path == path for f in self._repository(run_id).list_artifacts(parent))

    def read(self, experiment: str, run_id: str, path: str, state: str = "") -> Path:
        """An artifact, fetched once into the cache for each `state` that it is in.

        Raises RegistryError if there is none.
        """
        key = sha256_bytes(f"{self.uri} {run_id} {path} {state}".encode())[:32]
        folder = cache_dir() / "registry" / key
        if state == FRESH or not folder.is_dir():
            with self._translated(), staged_directory(folder) as scratch:
                self._repository(run_id).download_artifacts(path, str(scratch))
        return folder / path

    @contextlib.contextmanager
    def filling(self, experiment: str, run_id: str) -> Iterator[Path]:
        """What is written into this folder becomes artifacts of the run, when the block ends."""
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            yield Path(scratch)
            with self.sent.change(f"artifacts of run {run_id[:8]}"):
                self._repository(run_id).log_artifacts(scratch)

    def describe(self, client: MlflowClient, name: str, texts: Mapping[str, str]) -> None:
        """Descriptions: version -> text, "" for the registered model itself."""
        for version, text in texts.items():
            if version:
                client._get_registry_client().update_model_version(name, version, text)
            else:
                client.update_registered_model(name, text)

    def tag_runs(self, client: MlflowClient, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Tags of runs: run id -> key -> value. A call a run.

        Raises RunGoneError for a run that another client has deleted.
        """
        from mlflow.entities import RunTag
        from mlflow.exceptions import MlflowException

        for run_id, values in tags.items():
            try:
                client.log_batch(run_id, tags=[RunTag(k, v) for k, v in values.items()])
            except MlflowException as e:
                if _DELETED not in str(e):
                    raise
                raise RunGoneError(
                    f"{self.shown}: the run {run_id} was deleted", hint="run it again"
                ) from e

    def put(self, experiment: str, run_id: str, file: Path, path: str) -> None:
        """Make a file an artifact of a run."""
        with self.sent.change(f"{path} of run {run_id[:8]}"):
            self._repository(run_id).log_artifact(str(file), os.path.dirname(path) or None)

    def remove(self, experiment: str, run_id: str, path: str) -> None:
        """Remove a file or a folder from the artifacts of a run, if it is there."""
        files = self._repository(run_id)
        if any(f.path == path for f in files.list_artifacts(os.path.dirname(path))):
            with self.sent.change(f"{path} of run {run_id[:8]} is removed"):
                files.delete_artifacts(path)

    def discard_artifacts(self, experiment: str, run_id: str) -> None:
        """Remove the artifacts of a run that is given up, be the run deleted, or gone.

        With the run's folder, by which they would be found again.
        """
        with self._translated():
            found = self.client().get_experiment_by_name(experiment)
            if found is None:
                return
            with self.sent.change(f"artifacts of run {run_id[:8]} are removed"):
                self._at(found.artifact_location).delete_artifacts(run_id)

    def artifact_folders(self, experiment: str) -> list[str]:
        """Run ids for which there are artifacts, whether or not there is such a run."""
        with self._translated():
            found = self.client().get_experiment_by_name(experiment)
            if found is None:
                return []
            files = self._at(found.artifact_location).list_artifacts()
            return sorted(os.path.basename(f.path) for f in files if f.is_dir)

    def _repository(self, run_id: str) -> ArtifactRepository:
        return self._at(str(self.client().get_run(run_id).info.artifact_uri))

    def _at(self, uri: str) -> ArtifactRepository:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        if urlsplit(uri).scheme in ("", "file"):
            raise RegistryError(
                f"{self.shown} keeps artifacts in a folder of its own, {uri}",
                hint="start it with `mlflow server --serve-artifacts`, so that it takes and "
                "gives them, and with --default-artifact-root mlflow-artifacts:/",
            )
        return get_artifact_repository(uri, tracking_uri=self.uri)


def _repeated(call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the server's API that is made again when it collided with another's.

    MLflow looks whether a row is there and then inserts it: of two clients that do so at the same
    moment one is refused by the database. Nothing of its call was written, so it may be repeated.
    """

    @functools.wraps(call)
    def repeated(*arguments: Any, **named: Any) -> Any:
        from mlflow.exceptions import MlflowException

        for attempt in range(_COLLISIONS):
            try:
                return call(*arguments, **named)
            except MlflowException as e:
                if not any(words in str(e) for words in _COLLIDED):
                    raise
                time.sleep(random.uniform(0.02, 0.05 * 2**attempt))
        return call(*arguments, **named)

    return repeated


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
