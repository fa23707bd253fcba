"""The registry as it is read: models, versions, candidates, choices, artifacts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.registry.database import ModelRow
from tinydeploy.registry.files import EVALUATION_FILE, MODEL_FOLDER
from tinydeploy.registry.folder import MlflowFolder
from tinydeploy.registry.mlmodel import read_model_folder
from tinydeploy.registry.place import FRESH, open_place
from tinydeploy.registry.schema import KIND_BOARD, VersionRecord, read_version
from tinydeploy.registry.view import View, read_glance, read_versions, read_view, view_of
from tinydeploy.types import Artifact, Candidate, Evaluation, Selection, from_json

# As MLflow writes it: "01" would be kept in the history and in tags as a version that is not there.
_VERSION = re.compile(r"[1-9][0-9]{0,17}")


class RegistryReader:
    """Answers questions about one registry."""

    def __init__(self, where: Path | str) -> None:
        """A folder that holds `mlruns/`, made when something is registered; or a server's URL."""
        self.place = open_place(where)
        self.database = self.place.reader

    @property
    def folder(self) -> MlflowFolder:
        """The place, where it is a folder of this machine. Raises RegistryError for a server."""
        if not isinstance(self.place, MlflowFolder):
            raise RegistryError(
                f"{self.database.path} is a server, not a folder of this machine",
                hint="name a folder that holds mlruns/ with --registry",
            )
        return self.place

    def models(self) -> list[str]:
        """Names of the registered models."""
        return self.database.models()

    def view(self, name: str) -> View:
        """Versions, runs and choices of a registered model. Raises RegistryError if unknown."""
        return self._known(name, read_view(self.database, name))

    def glance(self, name: str, board: str, versions: Collection[int] = ()) -> View:
        """As `view`, with some versions: those named, and what the board points to."""
        return self._known(name, read_glance(self.database, name, board, versions))

    def only(self, name: str, version: str) -> View:
        """As `view`, with one version and its runs, without aliases. Raises as `get` does."""
        self.get(name, version)
        row = self.database.version(name, version)
        versions = (row,) if row else ()
        runs = self.database.runs_of(name, [v.run_id for v in versions], KIND_BOARD)
        return view_of(ModelRow(name, versions=versions), runs)

    def _known(self, name: str, view: View | None) -> View:
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
        row = self.database.version(name, version) if _VERSION.fullmatch(version) else None
        found = row and read_version(name, row.version, row.run_id, row.tags, (), row.description)
        if found:
            return found
        model = self.database.model(name)
        known = [v.version for v in read_versions(model)] if model else []
        shown = ", ".join(known[-10:]) or "none"
        raise RegistryError(
            f"{name} has no version {version!r}",
            hint=f"known: {shown}" if len(known) <= 10 else f"the newest: {shown}",
        )

    def candidates(
        self, name: str, board: str, engine: str | None = None, optimize: str | None = None
    ) -> Sequence[Candidate]:
        """What selection needs to choose again for a board, from what is registered."""
        digest = self.database.digest(name)
        if digest is None:
            return self.view(name).candidates(board, engine, optimize)
        from tinydeploy.registry.table import RegisteredCandidates  # with numpy

        return RegisteredCandidates(digest, board, engine, optimize)

    def selection(self, name: str, board: str) -> Selection | None:
        """The last selection for a board, or None."""
        return self.view(name).selection(board)

    def artifact(self, name: str, version: str) -> Artifact:
        """The model of a version. Raises RegistryError if its file is gone or was changed."""
        found = self.get(name, version)
        return read_model_folder(self._file(found, MODEL_FOLDER), found.model_sha256)

    def _file(self, version: VersionRecord, path: str) -> Path:
        """An artifact of a version's run, where it can be read."""
        where = f"{version.folder}/{path}" if version.folder else path
        return self.place.read(version.name, version.run_id, where, version.content)

    def run_folder(self, name: str, run_id: str) -> Path:
        """All artifacts of a run as they are now: on a server they are fetched once more."""
        return self.place.read(name, run_id, "", FRESH)

    def state_folder(self, version: VersionRecord) -> Path:
        """The folder with the evaluation and the model folder of a version, as they are now."""
        return self.run_folder(version.name, version.run_id) / version.folder

    def evaluation(self, name: str, version: str) -> Evaluation:
        """The evaluation behind a version's metric, with the result of every sample.

        Raises RegistryError if its file is gone or was changed.
        """
        found = self.get(name, version)
        path = self._file(found, EVALUATION_FILE)
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
