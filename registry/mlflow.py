"""The registry in MLflow below `<root>/mlruns`: see `schema` for the layout.

Everything can be run again: what is there already is found (through SQLite alone, without
importing MLflow) and left as it is. A model version appears by the last call of `register`, with
all its tags, so that a killed run leaves none.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.lineage import Lineage
from tinydeploy.registry import schema
from tinydeploy.registry.boards import board_row
from tinydeploy.registry.choice import changes
from tinydeploy.registry.database import Database, RunRow, VersionRow
from tinydeploy.registry.descriptions import describe_model, describe_version
from tinydeploy.registry.files import (
    EVALUATION_FILE,
    MODEL_FOLDER,
    copy_board,
    copy_variant,
    write_board,
    write_variant,
)
from tinydeploy.registry.folder import ENVIRONMENT, MlflowFolder
from tinydeploy.registry.mlmodel import MODEL_FILE, read_model_folder
from tinydeploy.registry.schema import TAG_MANIFEST, Row, VersionRecord
from tinydeploy.registry.view import View, read_versions, read_view
from tinydeploy.registry.writer import Fill, Writer
from tinydeploy.types import (
    Artifact,
    Build,
    Candidate,
    Constraints,
    Evaluation,
    Measurement,
    ModelSource,
    Selection,
    from_json,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient


class MlflowRegistry:
    """Implements `tinydeploy.ports.Registry`; the other methods read."""

    def __init__(self, root: Path) -> None:
        """`root` holds `mlruns/`, which is made when something is registered."""
        self.folder = MlflowFolder(root)
        self.database = Database(self.folder.database)

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
        with self.folder.locked() as client:
            # Once more: another process may have been faster.
            found = self.database.version_of(name, artifact.sha256, artifact.recipe)
            if found and self._is_complete(name, found, content):
                return found.version
            writer = Writer(client, self.folder, name)
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
        return (
            found.tags.get(schema.TAG_CONTENT) == content
            and (self.model_folder(name, found.run_id) / MODEL_FILE).is_file()
        )

    def model_folder(self, name: str, run_id: str) -> Path:
        """The MLmodel folder of the variant that a run produced."""
        return self.folder.run_artifacts(name, run_id) / MODEL_FOLDER

    def _variant_run(
        self, writer: Writer, row: Row, data: Mapping[str, Any], fill: Fill
    ) -> tuple[str, str]:
        """The finished run behind a version, made now or left by a process killed after it.

        Returns its id and the sha256 of its manifest.
        """
        for run in self.database.runs_with(writer.experiment, row.tags[schema.TAG_KEY]):
            same = run.row.tags.get(schema.TAG_CONTENT) == row.tags[schema.TAG_CONTENT]
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
        if self.database.model(name) is None:
            client.create_registered_model(name)
        source = self.model_folder(name, run_id).as_uri()
        wanted = {**tags, TAG_MANIFEST: manifest_sha256}
        version = client.create_model_version(name, source, run_id=run_id, tags=wanted)
        return str(version.version)

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
        made = fill(self.folder.run_artifacts(name, run_id), run_id)
        writer.log(run_id, Row(tags={**row.tags, **made}, metrics=row.metrics))
        writer.log_data(run_id, data)
        for run in self.database.runs(name):
            if run.row.tags.get(schema.TAG_PARENT) == run_id:
                writer.log(run.run_id, Row(metrics={metric: row.metrics[metric]}))
        tags = {**tags, TAG_MANIFEST: made[TAG_MANIFEST]}
        for key in (metric, "metric", TAG_MANIFEST, schema.TAG_CONTENT):
            writer.client.set_model_version_tag(name, found.version, key, tags[key])

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
        with self.folder.locked() as client:
            writer = Writer(client, self.folder, name)
            runs = self._records(name, row)  # another process may have been faster
            if runs and _says(runs[0], row, measurement):
                run_id = runs.pop(0).run_id
            else:
                run_id, _ = writer.run(
                    f"{build.board} ({build.engine}, {build.optimize})",
                    row,
                    lambda folder, _: (
                        copy_board(files, folder)
                        if files
                        else write_board(folder, build, measurement, lineage or Lineage())
                    ),
                )
            for replaced in runs:
                client.delete_run(replaced.run_id)
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
        with self.folder.locked() as client:
            view = self.view(name)
            wanted = changes(view, selection, constraints)
            if not wanted.nothing:
                wanted.apply(Writer(client, self.folder, name))
            self._describe(client, self.view(name))

    def _up_to_date(self, name: str, selection: Selection, constraints: Constraints | None) -> bool:
        view = read_view(self.database, name)
        if view is None and selection.chosen is None:
            return True  # nothing registered, nothing chosen
        view = view or View(name)
        return changes(view, selection, constraints).nothing and not _stale_descriptions(view)

    def _describe(self, client: MlflowClient, view: View) -> None:
        """Bring the descriptions in the MLflow UI up to date."""
        for version, text in _stale_descriptions(view).items():
            if version:
                client.update_model_version(view.name, version, text)
            else:
                client.update_registered_model(view.name, text)

    # ------------------------------------------------------------ reading
    def models(self) -> list[str]:
        """Names of the registered models."""
        return self.database.models()

    def view(self, name: str) -> View:
        """Versions, runs and choices of a registered model. Raises RegistryError if unknown."""
        view = read_view(self.database, name)
        if view is None:
            known = ", ".join(self.models()) or "none yet"
            raise RegistryError(
                f"{self.database.path} has no model called {name!r}",
                hint=f"registered: {known}; `tinydeploy deploy` registers",
            )
        return view

    def variants(self, name: str) -> list[VersionRecord]:
        """The newest version of each variant."""
        return self.view(name).current

    def get(self, name: str, version: str) -> VersionRecord:
        """One version. Raises RegistryError if unknown."""
        model = self.database.model(name)
        versions = read_versions(model) if model else ()
        for found in versions:
            if found.version == version:
                return found
        known = ", ".join(v.version for v in versions) or "none"
        raise RegistryError(f"{name} has no version {version!r}", hint=f"known: {known}")

    def candidates(
        self, name: str, board: str, engine: str | None = None, optimize: str | None = None
    ) -> list[Candidate]:
        """What selection needs to choose again for a board, from what is registered."""
        return self.view(name).candidates(board, engine, optimize)

    def selection(self, name: str, board: str) -> Selection | None:
        """The last selection for a board, or None."""
        return self.view(name).selection(board)

    def artifact(self, name: str, version: str) -> Artifact:
        """The model of a version. Raises RegistryError if its file is gone or was changed."""
        found = self.get(name, version)
        return read_model_folder(self.model_folder(name, found.run_id), found.model_sha256)

    def evaluation(self, name: str, version: str) -> Evaluation:
        """The evaluation behind a version's metric, with the result of every sample.

        Raises RegistryError if its file is gone or was changed.
        """
        found = self.get(name, version)
        path = self.folder.run_artifacts(name, found.run_id) / EVALUATION_FILE
        try:
            evaluation = from_json(Evaluation, json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as e:
            raise RegistryError(
                f"{path} cannot be read: {e}", hint="deploy or register the model again"
            ) from e
        if (evaluation.model_sha256, evaluation.value) != (found.model_sha256, found.value):
            raise RegistryError(
                f"{path} is not the evaluation of version {version} of {name}",
                hint="the file was changed: deploy or register the model again",
            )
        return evaluation

    def resolve(self, uri: str) -> Artifact:
        """The model behind `models:/NAME@BOARD` or `models:/NAME/VERSION`.

        Raises UsageError for another form, RegistryError if there is no such version.
        """
        name, version, _ = self.locate(uri)
        if not version:
            raise UsageError(
                f"{uri!r} names no model version",
                hint="write models:/NAME@BOARD or models:/NAME/VERSION",
            )
        return self.artifact(name, version)

    def locate(self, uri: str) -> tuple[str, str, str]:
        """Name, version and alias of `[models:/]NAME[@ALIAS|/VERSION]`.

        Without a version there is "" for it, and for the alias. Raises as `resolve` does.
        """
        match = re.fullmatch(r"(?:models:/)?([\w-]+)(?:@([\w-]+)|/(\d+))?", uri, flags=re.ASCII)
        if not match:
            raise UsageError(
                f"{uri!r} names no model", hint="write models:/NAME@BOARD or models:/NAME/VERSION"
            )
        name, alias, version = (part or "" for part in match.groups())
        if alias:
            aliases = self.view(name).aliases
            if alias not in aliases:
                known = ", ".join(sorted(aliases)) or "none"
                raise RegistryError(
                    f"no version of {name} is selected for {alias}",
                    hint=f"boards with a selection: {known}",
                )
            version = aliases[alias]
        return name, version, alias


def _says(run: RunRow, row: Row, measurement: Measurement | None) -> bool:
    """True if the run holds these figures already, or the same build's with a measurement."""
    same = (schema.TAG_CONTENT,) if measurement else ("build_id", "firmware_sha256")
    return all(run.row.tags.get(key) == row.tags[key] for key in same)


def _stale_descriptions(view: View) -> dict[str, str]:
    """Version (or "" for the registered model) -> the text that should be there."""
    wanted = {v.version: (v.description, describe_version(view, v)) for v in view.versions}
    wanted[""] = (view.description, describe_model(view))
    return {version: new for version, (old, new) in wanted.items() if old != new}


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
