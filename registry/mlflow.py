"""The registry in MLflow below `<root>/mlruns`: see `schema` for the layout.

Everything can be run again: what is there already is found (through SQLite alone, without
importing MLflow) and left as it is. A model version appears by the last call of `register`, with
all its tags, so that a killed run leaves none.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.lineage import Lineage
from tinydeploy.names import require_name
from tinydeploy.registry import layers, overview, renewal, schema, selecting
from tinydeploy.registry.boards import board_row
from tinydeploy.registry.database import RunRow, VersionRow
from tinydeploy.registry.descriptions import describe_model
from tinydeploy.registry.files import (
    MODEL_FOLDER,
    copy_board,
    copy_variant,
    write_board,
    write_variant,
)
from tinydeploy.registry.folder import ENVIRONMENT, MlflowFolder
from tinydeploy.registry.manifest import MANIFEST_FILE
from tinydeploy.registry.mlmodel import MODEL_FILE
from tinydeploy.registry.reading import RegistryReader
from tinydeploy.registry.schema import TAG_MANIFEST, Input, Row
from tinydeploy.registry.view import View
from tinydeploy.registry.writer import Fill, Writer
from tinydeploy.types import (
    Artifact,
    Build,
    Constraints,
    Evaluation,
    Measurement,
    ModelSource,
    Selection,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowRegistry(RegistryReader):
    """Implements `tinydeploy.ports.Registry`; what only reads is in `reading`."""

    # ------------------------------------------------------------ variants
    def register(
        self,
        name: str,
        source: ModelSource,
        artifact: Artifact,
        evaluation: Evaluation,
        data: Mapping[str, Any],
        lineage: Lineage | None = None,
        files: Path | None = None,
    ) -> str:
        """The version of this variant, created by the last call or found if it exists.

        A variant that was evaluated or described anew keeps its version. `lineage` is what made
        it; the manifest of a version that exists keeps what was said first. `files` is a folder
        with all that lies behind the version already, as another registry wrote it.
        Raises RegistryError, and UsageError if the evaluation is of another model.
        """
        require_name("registered model", name)
        if evaluation.model_sha256 != artifact.sha256:
            raise UsageError(
                "the evaluation is of another model than the artifact",
                hint="evaluate the artifact that is to be registered",
            )
        content = schema.variant_content(artifact, evaluation, data)
        found = self.database.version_of(name, artifact.sha256, artifact.recipe)
        if found and self._is_complete(name, found, content):
            return found.version
        with self.place.locked() as client:
            # Once more: another process may have been faster.
            found = self.database.version_of(name, artifact.sha256, artifact.recipe)
            if found and self._is_complete(name, found, content):
                return found.version
            writer = Writer(client, self.place, name)
            row = schema.variant_row(source, artifact, evaluation, data)
            tags = schema.version_tags(artifact, evaluation, data)
            inputs = schema.variant_inputs(source, data)

            def fill(folder: Path, run_id: str) -> Mapping[str, str]:
                if files:
                    return copy_variant(files, folder)
                made = lineage or Lineage()
                return write_variant(folder, run_id, source, artifact, evaluation, data, made)

            if found:
                renewal.renew(self, writer, found, tags, inputs, fill)
                return found.version
            return self._create_version(writer, row, tags, inputs, fill)

    def _is_complete(self, name: str, found: VersionRow, content: str) -> bool:
        """True if the version says the same and its model has not been deleted."""
        try:
            tags = schema.current_tags(found.tags)
        except (ValueError, KeyError, TypeError):  # edited by hand: it is written anew
            return False
        folders = {"", f"{tags[schema.STATES]}/" if schema.STATES in tags else ""}
        return tags.get(schema.TAG_CONTENT) == content and all(
            self.place.has(name, found.run_id, f"{folder}{MODEL_FOLDER}/{MODEL_FILE}")
            for folder in folders
        )

    def _variant_run(
        self, writer: Writer, row: Row, inputs: Sequence[Input], fill: Fill
    ) -> tuple[str, str]:
        """The finished run behind a version, made now or left by a process killed after it.

        Returns its id and the sha256 of its manifest.
        """
        for run in self.database.runs_with(writer.experiment, row.tags[schema.TAG_KEY]):
            same = run.row.tags.get(schema.TAG_CONTENT) == row.tags[schema.TAG_CONTENT]
            if not self.place.exclusive and not writer.has_ended(run):
                continue  # on a server somebody may be at work on it
            if same and run.status == "FINISHED":
                return run.run_id, run.row.tags[TAG_MANIFEST]
            writer.give_up(run.run_id)
        return writer.run(row.params["variant"], row, fill, inputs)

    def _create_version(
        self,
        writer: Writer,
        row: Row,
        tags: Mapping[str, str],
        inputs: Sequence[Input],
        fill: Fill,
    ) -> str:
        client, name = writer.client, writer.experiment
        run_id, manifest_sha256 = self._variant_run(writer, row, inputs, fill)
        if name not in self.models():
            _create_model(client, name)
        source = f"{self.place.artifact_uri(name, run_id)}/{MODEL_FOLDER}"
        wanted = {**tags, TAG_MANIFEST: manifest_sha256}
        version = writer.models.create_model_version(name, source, run_id, wanted)
        return self._settle_version(writer, str(version.version), run_id, row)

    def _settle_version(self, writer: Writer, version: str, run_id: str, row: Row) -> str:
        """Of versions that several processes made of one variant at once, keep the first.

        A server numbers versions in the order in which they appear, so whoever made a later one
        sees the first when it looks afterwards; it removes its own, and nobody else's.
        """
        if self.place.exclusive:
            return version
        name = writer.experiment
        first = self.database.version_of(name, row.tags["model_sha256"], row.params["recipe"])
        if first is None or first.version == version:
            return version
        writer.client.delete_model_version(name, version)
        writer.give_up(run_id)
        return first.version

    # ------------------------------------------------------------ boards
    def record(
        self,
        name: str,
        version: str,
        build: Build,
        measurement: Measurement | None,
        lineage: Lineage | None = None,
        files: Path | None = None,
    ) -> str:
        """Run id of the child run for (version, board, engine, optimize), created or found.

        New figures replace old ones: the old run is deleted, and can be restored in the MLflow
        UI. A build without a measurement does not replace the same build with one. `files` is a
        folder with all that lies behind the run, as another registry wrote it.
        Raises RegistryError, and UsageError if the build is of another model.
        """
        require_name("board", build.board)
        parent = self.get(name, version)
        if build.model_sha256 != parent.model_sha256:
            raise UsageError(
                f"the build is of another model than version {version} of {name}",
                hint="build the model of this version",
            )
        row = board_row(parent, build, measurement)
        runs = self._records(name, row)
        if len(runs) == 1 and self._is_whole(name, runs[0], row, measurement):
            return runs[0].run_id
        with self.place.locked() as client:
            writer = Writer(client, self.place, name)
            runs = self._records(name, row)  # another process may have been faster
            if runs and self._is_whole(name, runs[0], row, measurement):
                run_id = runs[0].run_id
            else:
                writer.run(
                    f"{parent.variant}@{build.board} ({build.engine}, {build.optimize})",
                    row,
                    lambda folder, _: (
                        copy_board(files, folder)
                        if files
                        else write_board(folder, build, measurement, lineage or Lineage())
                    ),
                )
                runs = self._records(name, row)  # others may have been at it
                # The newest stays, in an order on which all agree that look afterwards.
                run_id = max(runs, key=lambda r: (r.start_time, r.run_id)).run_id
            for run in runs:
                if run.run_id != run_id:
                    client.delete_run(run.run_id)
            return run_id

    def record_profile(
        self,
        name: str,
        version: str,
        build: Build,
        found: Mapping[str, Any],
        lineage: Lineage | None = None,
    ) -> None:
        """Keep what each layer of a registered build takes: `found` is what `profile` prints.

        A newer profile replaces an older one. Raises RegistryError if no run has that build.
        """
        owner = self.get(name, version)
        records = self.only(name, version).of(owner, build.board)
        record = next((r for r in records if r.build_id == build.build_id), None)
        if record is None:
            raise RegistryError(
                f"version {version} of {name} has no run with the build {build.build_id[:12]}...",
                hint="register the build first",
            )
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            made = Path(scratch)
            layers.write_profile(made, record, found, lineage or Lineage())
            layers.keep(self, name, record, made)

    def _is_whole(self, name: str, run: RunRow, row: Row, measurement: Measurement | None) -> bool:
        """True if the run says the same and its firmware has not been deleted."""
        return _says(run, row, measurement) and self.place.has(name, run.run_id, MANIFEST_FILE)

    def _records(self, name: str, row: Row) -> list[RunRow]:
        """Finished runs with the key of `row`, the newest first."""
        runs = self.database.runs_with(name, row.tags[schema.TAG_KEY])
        return [run for run in runs if run.status == "FINISHED"]

    # ------------------------------------------------------------ selection
    def select(
        self, name: str, selection: Selection, constraints: Constraints | None = None
    ) -> None:
        """Point the alias `<board>` at the chosen version and tag it; remove it if none is.

        The runs of all candidates get the reason (of many the nearest, see `scope.FAR`), and the
        descriptions in the MLflow UI are brought up to date. `constraints` are kept with the
        objective. Only what differs is written, the alias last. Raises RegistryError, also if the
        chosen one is not registered.
        """
        selecting.select(self, name, selection, constraints)

    def describe(self, writer: Writer, view: View) -> None:
        """Bring the descriptions in the MLflow UI up to date."""
        texts = selecting.stale_descriptions(view, describe_model(view))
        if texts:
            self.place.describe(writer.client, view.name, texts)

    def publish(self, name: str) -> None:
        """Bring what the MLflow UI shows of a model at a glance up to date: see `overview`."""
        overview.publish(self, name)

    def send_first(self) -> None:
        """Deliver what waits for a server, before something newer is written."""

    def require_delivered(self) -> None:
        """Raise UnreachableError if something still waits to be sent to a server."""


def _says(run: RunRow, row: Row, measurement: Measurement | None) -> bool:
    """True if the run holds these figures already, or the same build's with a measurement."""
    same = (schema.TAG_CONTENT,) if measurement else ("build_id", "firmware_sha256")
    return all(run.row.tags.get(key) == row.tags[key] for key in same)


def _create_model(client: MlflowClient, name: str) -> None:
    """The registered model, unless it is there or another process makes it at this moment."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as e:
        if e.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def ui_links(root: Path, server: str) -> dict[str, str]:
    """What to look at in the UI -> its address: the list of runs a model, with its charts."""
    reader = MlflowFolder(root).reader
    return {
        f"{name}: {view}": overview.link(server, reader.experiment_id(name), view)
        for name in reader.experiments()
        for view in overview.VIEWS
    }


def ui_command(root: Path, port: int) -> tuple[list[str], dict[str, str]]:
    """Command line and additional environment of the MLflow UI on `root`/mlruns.

    Raises RegistryError if nothing is registered there.
    """
    folder = MlflowFolder(root)
    if not folder.database.exists():
        raise RegistryError(
            f"nothing is registered below {folder.folder}",
            hint="run `tinydeploy deploy` first, or name the folder with --registry",
        )
    arguments = ["--backend-store-uri", folder.uri, "--default-artifact-root"]
    arguments += [folder.artifacts.as_uri(), "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", *arguments]
    return command, dict(ENVIRONMENT)
