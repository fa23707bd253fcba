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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from tinydeploy.errors import RegistryError
from tinydeploy.registry.failures import translated
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.registry.place import FRESH
from tinydeploy.registry.remote import ServerDatabase
from tinydeploy.store import cache_dir, sha256_bytes, staged_directory

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

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
        self._client: MlflowClient | None = None

    @property
    def reader(self) -> ServerDatabase:
        """Answers questions over the network."""
        return ServerDatabase(self.shown, self.client)

    def client(self) -> MlflowClient:
        """MLflow's client of this server."""
        if self._client is None:
            import_mlflow()
            from mlflow import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            for store in (
                self._client._tracking_client.store, self._client._get_registry_client().store,
            ):  # fmt: skip
                store._call_endpoint = _repeated(store._call_endpoint)
        return self._client

    @contextlib.contextmanager
    def locked(self) -> Iterator[MlflowClient]:
        """The client, with all errors translated. Nothing is locked: others may write as well."""
        with translated(self.shown):
            yield self.client()

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
        with translated(self.shown):
            parent = os.path.dirname(path)
            return any(f.path == path for f in self._repository(run_id).list_artifacts(parent))

    def read(self, experiment: str, run_id: str, path: str, state: str = "") -> Path:
        """An artifact, fetched once into the cache for each `state` that it is in.

        Raises RegistryError if there is none.
        """
        key = sha256_bytes(f"{self.uri} {run_id} {path} {state}".encode())[:32]
        folder = cache_dir() / "registry" / key
        if state == FRESH or not folder.is_dir():
            with translated(self.shown), staged_directory(folder) as scratch:
                self._repository(run_id).download_artifacts(path, str(scratch))
        return folder / path

    @contextlib.contextmanager
    def filling(self, experiment: str, run_id: str) -> Iterator[Path]:
        """What is written into this folder becomes artifacts of the run, when the block ends."""
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            yield Path(scratch)
            self._repository(run_id).log_artifacts(scratch)

    def describe(self, client: MlflowClient, name: str, text: str) -> None:
        """The description of a registered model."""
        client.update_registered_model(name, text)

    def put(self, experiment: str, run_id: str, file: Path, path: str) -> None:
        """Make a file an artifact of a run."""
        self._repository(run_id).log_artifact(str(file), os.path.dirname(path) or None)

    def remove(self, experiment: str, run_id: str, path: str) -> None:
        """Remove a file from the artifacts of a run, if it is there."""
        if self.has(experiment, run_id, path):
            self._repository(run_id).delete_artifacts(path)

    def discard_artifacts(self, experiment: str, run_id: str) -> None:
        """Remove the artifacts of a run that is given up."""
        self._repository(run_id).delete_artifacts()

    def artifact_folders(self, experiment: str) -> list[str]:
        """Run ids for which there are artifacts, whether or not there is such a run."""
        with translated(self.shown):
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
