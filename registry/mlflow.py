"""The registry in MLflow below `<root>/mlruns`: see `schema` for the layout.

Everything can be run again: what is there already is found (through SQLite alone, without
importing MLflow) and left as it is. A model version appears by the last call of `register`, with
all its tags, so that a killed run leaves none.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.lineage import Lineage
from tinydeploy.registry import history, overview, schema
from tinydeploy.registry.boards import board_row
from tinydeploy.registry.choice import changes
from tinydeploy.registry.database import RunRow, VersionRow
from tinydeploy.registry.descriptions import describe_model, describe_version
from tinydeploy.registry.files import (
    MODEL_FOLDER,
    copy_board,
    copy_variant,
    write_board,
    write_variant,
)
from tinydeploy.registry.folder import ENVIRONMENT, MlflowFolder
from tinydeploy.registry.history import Event
from tinydeploy.registry.manifest import SIGNATURE_FILE
from tinydeploy.registry.mlmodel import MODEL_FILE
from tinydeploy.registry.reading import RegistryReader
from tinydeploy.registry.schema import TAG_MANIFEST, Row
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


_AGREEMENTS = 5
"""How often a choice is looked at again on a server, where others may choose at the same time."""


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
        schema.require_name("registered model", name)
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

            def fill(folder: Path, run_id: str) -> Mapping[str, str]:
                if files:
                    return copy_variant(files, folder)
                made = lineage or Lineage()
                return write_variant(folder, run_id, source, artifact, evaluation, data, made)

            if found:
                self._renew(writer, found, row, tags, data, fill)
                return found.version
            return self._create_version(writer, row, tags, data, fill)

    def _is_complete(self, name: str, found: VersionRow, content: str) -> bool:
        """True if the version says the same and its model has not been deleted."""
        return found.tags.get(schema.TAG_CONTENT) == content and self.place.has(
            name, found.run_id, f"{MODEL_FOLDER}/{MODEL_FILE}"
        )

    def _variant_run(
        self, writer: Writer, row: Row, data: Mapping[str, Any], fill: Fill
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
        return writer.run(row.params["variant"], row, fill, data)

    def _create_version(
        self,
        writer: Writer,
        row: Row,
        tags: Mapping[str, str],
        data: Mapping[str, Any],
        fill: Fill,
    ) -> str:
        client, name = writer.client, writer.experiment
        run_id, manifest_sha256 = self._variant_run(writer, row, data, fill)
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

    def _renew(
        self,
        writer: Writer,
        found: VersionRow,
        row: Row,
        tags: Mapping[str, str],
        data: Mapping[str, Any],
        fill: Fill,
    ) -> None:
        """Replace files, metric and description; the content hash last, which makes good a kill."""
        name, run_id, metric = writer.experiment, found.run_id, tags["metric"]
        with self.place.filling(name, run_id) as folder:
            made = fill(folder, run_id)
        self.place.remove(name, run_id, f"{MODEL_FOLDER}/{SIGNATURE_FILE}")
        writer.log(run_id, Row(tags={**row.tags, **made}, metrics=row.metrics))
        writer.log_data(run_id, data)
        for run in self.database.runs_below(name, run_id, schema.KIND_BOARD):
            writer.log(run.run_id, Row(metrics={metric: row.metrics[metric]}))
        tags = {**tags, TAG_MANIFEST: made[TAG_MANIFEST]}
        for key in (metric, "metric", TAG_MANIFEST, schema.TAG_CONTENT):
            writer.models.set_model_version_tag(name, found.version, key, tags[key])

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
        schema.require_name("board", build.board)
        parent = self.get(name, version)
        if build.model_sha256 != parent.model_sha256:
            raise UsageError(
                f"the build is of another model than version {version} of {name}",
                hint="build the model of this version",
            )
        row = board_row(parent, build, measurement)
        runs = self._records(name, row)
        if len(runs) == 1 and _says(runs[0], row, measurement):
            return runs[0].run_id
        with self.place.locked() as client:
            writer = Writer(client, self.place, name)
            runs = self._records(name, row)  # another process may have been faster
            if runs and _says(runs[0], row, measurement):
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

    def _records(self, name: str, row: Row) -> list[RunRow]:
        """Finished runs with the key of `row`, the newest first."""
        runs = self.database.runs_with(name, row.tags[schema.TAG_KEY])
        return [run for run in runs if run.status == "FINISHED"]

    # ------------------------------------------------------------ selection
    def select(
        self, name: str, selection: Selection, constraints: Constraints | None = None
    ) -> None:
        """Point the alias `<board>` at the chosen version and tag it; remove it if none is.

        The runs of all candidates get the reason, and the descriptions in the MLflow UI are
        brought up to date. `constraints` are kept with the objective. Only what differs is
        written, the alias last. Raises RegistryError, also if the chosen one is not registered.
        """
        schema.require_name("board", selection.board)
        if self._up_to_date(name, selection, constraints):
            return
        with self.place.locked() as client:
            writer = Writer(client, self.place, name)
            for _ in range(_AGREEMENTS):
                wanted = changes(self._glance(name, selection), selection, constraints)
                if wanted.nothing:
                    break
                wanted.apply(writer)
                if self.place.exclusive:
                    break
            view = self._glance(name, selection)
            if event := _new_event(view, selection.board, self._events(view, selection.board)):
                history.append(writer, event)
            self.describe(writer, view)

    def _up_to_date(self, name: str, selection: Selection, constraints: Constraints | None) -> bool:
        if selection.chosen is None and name not in self.models():
            return True  # nothing registered, nothing chosen
        view = self._glance(name, selection) if name in self.models() else View(name)
        return (
            changes(view, selection, constraints).nothing
            and not _stale_descriptions(view)
            and not _new_event(view, selection.board, self._events(view, selection.board))
        )

    def _glance(self, name: str, selection: Selection) -> View:
        """What a selection is about."""
        versions = [c.version for c in selection.candidates if c.version]
        return self.glance(name, selection.board, versions)

    def _events(self, view: View, board: str) -> list[Event]:
        return history.events(self.database, view.name, board)

    def describe(self, writer: Writer, view: View) -> None:
        """Bring the descriptions in the MLflow UI up to date."""
        models, name = writer.models, view.name
        for version, text in _stale_descriptions(view).items():
            if version:
                models.update_model_version(name, version, text)
            else:
                self.place.describe(writer.client, name, text)

    def publish(self, name: str) -> None:
        """Bring what the MLflow UI shows of a model at a glance up to date: see `overview`."""
        overview.publish(self, name)

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


def _new_event(view: View, board: str, events: list[Event]) -> Event | None:
    """What the history does not tell yet about where the alias of a board points."""
    version = view.aliases.get(board, "")
    choices = [e for e in events if e.what in (*history.CHOICES, "none")]
    if (choices[-1].version if choices else "") == version:
        return None
    for v in view.versions:
        if v.version == version:
            run_id = v.selected.get(board, "")
            build_id = next((r.build_id for r in view.of(v, board) if r.run_id == run_id), "")
            return Event(board, "selected", version, v.variant, run_id, build_id)
    return Event(board, "none")


def _stale_descriptions(view: View) -> dict[str, str]:
    """Version (or "" for the registered model) -> the text that should be there."""
    wanted = {v.version: (v.description, describe_version(view, v)) for v in view.versions}
    wanted[""] = (view.description, describe_model(view))
    return {version: new for version, (old, new) in wanted.items() if old != new}


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
