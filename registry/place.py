"""Where a registry is: a folder of this machine (`folder`), or an MLflow server (`server`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tinydeploy.registry.database import ModelRow, RunRow, VersionRow

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tinydeploy.registry.digest import Digest

FRESH = "as it is now"
"""A state that is never taken from a copy."""


class Reader(Protocol):
    """Answers questions about models, versions and runs; see `database.Database`."""

    @property
    def path(self) -> Path | str:
        """What is asked, as messages name it: a file or a URL."""

    def model(self, name: str) -> ModelRow | None:
        """A registered model with all its versions, or None."""

    def glance(self, name: str, board: str, versions: Collection[int]) -> ModelRow | None:
        """A registered model with some versions: those named, and what the board points to."""

    def rejections(self, name: str, board: str) -> dict[int, str]:
        """Version -> why it was not built for a board, as its tag says."""

    def digest(self, name: str) -> Digest | None:
        """The figures of all current variants; None if there is no such model, or no digest."""

    def models(self) -> list[str]:
        """Names of all registered models."""

    def experiments(self) -> list[str]:
        """Names of the experiments that tinydeploy writes to."""

    def version(self, name: str, version: str) -> VersionRow | None:
        """One version, or None."""

    def version_of(self, name: str, model_sha256: str, recipe: str) -> VersionRow | None:
        """The version that is a variant: the first, should there be several."""

    def versions_of(self, name: str, model_sha256: str, recipe: str) -> list[VersionRow]:
        """All versions that are a variant, the oldest first."""

    def runs(self, experiment: str, kind: str = "") -> list[RunRow]:
        """Runs of an experiment (of one kind) that are not deleted, the newest first."""

    def runs_with(self, experiment: str, key: str) -> list[RunRow]:
        """Runs that are not deleted and whose tag `tinydeploy.key` is `key`, the newest first."""

    def runs_below(self, experiment: str, parent: str, kind: str = "") -> list[RunRow]:
        """Child runs of a run that are not deleted, the newest first."""

    def runs_of(self, experiment: str, parents: Sequence[str], kind: str) -> list[RunRow]:
        """Child runs of one kind of several runs, the newest first."""

    def runs_selected(self, experiment: str, board: str) -> list[RunRow]:
        """Runs on a board that are tagged as what it shall run, the newest first."""

    def homeless(self, experiment: str, kind: str, parents: Sequence[str]) -> list[str]:
        """Ids of the runs of one kind that are below none of these."""

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""

    def registered_elsewhere(self, name: str, run_ids: Collection[str]) -> set[str]:
        """Those of the runs of which another registered model has a version."""


class Place(Protocol):
    """Where rows and artifacts are written; see `folder.MlflowFolder`."""

    exclusive: bool

    @property
    def uri(self) -> str:
        """MLflow's tracking and registry URI."""

    @property
    def reader(self) -> Reader:
        """What is registered there."""

    def locked(self) -> AbstractContextManager[MlflowClient]:
        """MLflow's client for writing, all errors translated."""

    def changing(self) -> AbstractContextManager[None]:
        """One command: should a server go, the message says what it has changed until then."""

    def local_folders(self) -> list[Path]:
        """Folders of this machine in which files are staged."""

    def location(self, experiment: str) -> str | None:
        """Where a new experiment keeps its artifacts; None leaves it to the server."""

    def artifact_uri(self, experiment: str, run_id: str) -> str:
        """The artifacts of a run as MLflow names them."""

    def has(self, experiment: str, run_id: str, path: str) -> bool:
        """True if the artifacts of a run hold a file."""

    def read(self, experiment: str, run_id: str, path: str, state: str = "") -> Path:
        """An artifact, a file or a folder, where it can be read.

        `state` names what it holds, so that a copy of what it held before is not taken for it.
        """

    def filling(self, experiment: str, run_id: str) -> AbstractContextManager[Path]:
        """What is written into this folder becomes artifacts of the run."""

    def describe(self, client: MlflowClient, name: str, texts: Mapping[str, str]) -> None:
        """Descriptions: version -> text, "" for the registered model itself."""

    def tag_runs(self, client: MlflowClient, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Tags of runs: run id -> key -> value."""

    def put(self, experiment: str, run_id: str, file: Path, path: str) -> None:
        """Make a file, which may be the artifact itself, an artifact of a run."""

    def remove(self, experiment: str, run_id: str, path: str) -> None:
        """Remove a file or a folder from the artifacts of a run, if it is there."""

    def discard_artifacts(self, experiment: str, run_id: str) -> None:
        """Remove the artifacts of a run."""

    def artifact_folders(self, experiment: str) -> list[str]:
        """Run ids for which there are artifacts, whether or not there is such a run."""


def open_place(where: Path | str) -> Place:
    """A folder that holds `mlruns/`, or the URL of an MLflow server."""
    from tinydeploy.registry.folder import MlflowFolder
    from tinydeploy.registry.server import MlflowServer

    return MlflowServer(where) if isinstance(where, str) else MlflowFolder(where)
