"""Writes runs so that each is there whole or is given up: see `Writer.run`."""

from __future__ import annotations

import contextlib
import getpass
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinydeploy.errors import RegistryError
from tinydeploy.registry import process
from tinydeploy.registry.database import RunRow
from tinydeploy.registry.failures import is_unreachable
from tinydeploy.registry.place import Place
from tinydeploy.registry.schema import EXPERIMENT_MARK, TAG_MANIFEST, TAG_WRITER, Input, Row

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput
    from mlflow.tracking._model_registry.client import ModelRegistryClient

Fill = Callable[[Path, str], Mapping[str, str]]
"""Writes a run's artifacts into a folder, given its id; returns tags, with `manifest_sha256`."""

_DIGEST_LENGTH = 12  # MLflow's own digests are as short; the profile holds the whole hash

_EXPERIMENT_TAGS = {
    **EXPERIMENT_MARK,
    # Opens the MLflow UI on runs and metrics instead of on language models.
    "mlflow.experimentKind": "custom_model_development",
    "mlflow.note.content": "Variants below a deployment, boards below variants. "
    "`tinydeploy ui` prints links to the columns and charts that matter.",
}


class Writer:
    """Writes to one experiment. Only within `place.locked()`."""

    def __init__(self, client: MlflowClient, place: Place, experiment: str) -> None:
        self.client, self.place, self.experiment = client, place, experiment
        self.models = models_of(client)
        self.experiment_id = self._experiment_id()
        self._give_up_unfinished()

    def run(
        self,
        name: str,
        row: Row,
        fill: Fill,
        inputs: Sequence[Input] = (),
    ) -> tuple[str, str]:
        """A finished run with the artifacts of `fill`; its id and the sha256 of its manifest.

        A run that fails on the way is deleted with its artifacts. One that is killed on the way
        stays RUNNING, and whoever writes next deletes it: while the lock is held nobody else
        can be at work on it. On a server it does so if the writer was a process of the same
        machine that has ended; `gc` finds the others.
        """
        tags = {**row.tags, **_provenance(), TAG_WRITER: process.identity()}
        run_id: str = self.client.create_run(
            self.experiment_id, run_name=name, tags=tags
        ).info.run_id
        try:
            self.log(run_id, Row(params=row.params, metrics=row.metrics))
            self.log_inputs(run_id, inputs)
            with self.place.filling(self.experiment, run_id) as artifacts:
                made = fill(artifacts, run_id)
            self.log(run_id, Row(tags=made))
            self.client.set_terminated(run_id)
        except BaseException as e:
            # If even this fails (a full disk), the next writer finds the run unfinished; so it does
            # where a server is gone, which is not asked and waited for once more.
            if not is_unreachable(e):
                with contextlib.suppress(Exception):
                    self.give_up(run_id)
            raise
        return run_id, made.get(TAG_MANIFEST, "")

    def log(self, run_id: str, row: Row) -> None:
        """Everything in one call and one transaction."""
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in row.metrics.items()],
            params=[Param(key, value) for key, value in row.params.items()],
            tags=[RunTag(key, value) for key, value in row.tags.items()],
        )

    def log_inputs(self, run_id: str, inputs: Sequence[Input]) -> None:
        """The source model and the data sets that a run used, with their contexts."""
        if inputs:
            self.client.log_inputs(run_id, _dataset_inputs(inputs))

    def give_up(self, run_id: str) -> None:
        """Delete a run that was not finished, and its artifacts."""
        self.place.discard_artifacts(self.experiment, run_id)
        self.client.delete_run(run_id)

    def _experiment_id(self) -> str:
        location = self.place.location(self.experiment)
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            return self._create_experiment(location)
        if location and found.artifact_location != location:
            raise RegistryError(
                f"the artifacts of {self.experiment} belong to {found.artifact_location}",
                hint="MLflow keeps absolute paths: move mlruns/ back, or start a new registry",
            )
        if found.lifecycle_stage != "active":
            self.client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _create_experiment(self, location: str | None) -> str:
        from mlflow.exceptions import MlflowException

        try:
            return str(
                self.client.create_experiment(
                    self.experiment, artifact_location=location, tags=_EXPERIMENT_TAGS
                )
            )
        except MlflowException as e:
            found = self.client.get_experiment_by_name(self.experiment)
            if e.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
            return str(found.experiment_id)

    def _give_up_unfinished(self) -> None:
        for run in self.place.reader.unfinished(self.experiment):
            if self.place.exclusive or self.has_ended(run):
                self.give_up(run.run_id)

    def has_ended(self, run: RunRow) -> bool:
        """True if a run was written by a process of this machine that is no more."""
        return process.has_ended(run.row.tags.get(TAG_WRITER, ""))


def models_of(client: MlflowClient) -> ModelRegistryClient:
    """The part of MLflow's client that writes models and versions.

    `MlflowClient` itself first asks, before each tag, alias or description, whether the model is
    a prompt, and reads all versions for that: with 10,000 versions half a second each time.
    """
    return client._get_registry_client()


def _provenance() -> dict[str, str]:
    """The tags that MLflow itself sets on runs of its fluent interface."""
    tags = {"mlflow.source.name": "tinydeploy", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(KeyError, OSError, ImportError):  # an account without a name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _dataset_inputs(inputs: Sequence[Input]) -> list[DatasetInput]:
    """MLflow's description of data sets: the digest is the beginning of our sha256."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=made.name,
                digest=made.sha256[:_DIGEST_LENGTH],
                source_type="local",
                source=json.dumps({"uri": made.uri}),
                profile=json.dumps({**made.facts, "sha256": made.sha256}),
            ),
            [InputTag("mlflow.data.context", made.context)],
        )
        for made in inputs
    ]
