"""Reads the registry of an MLflow server: the same answers as `database`, over its REST API."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import UsageError
from tinydeploy.registry.database import ModelRow, RunRow, VersionRow
from tinydeploy.registry.failures import translated
from tinydeploy.registry.schema import (
    EXPERIMENT_MARK,
    KIND_BOARD,
    REJECTED,
    SELECTED,
    TAG_KEY,
    TAG_KIND,
    TAG_PARENT,
    Row,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
_IDS = 50
"""Run ids in one question, which is part of a URL."""
_ENDED = ("FINISHED", "FAILED", "KILLED")


class ServerDatabase:
    """What an MLflow server answers. Raises UnreachableError if it does not."""

    def __init__(
        self, url: str, client: Callable[[], MlflowClient], told: Callable[[], str] = str
    ) -> None:
        """`client` opens MLflow's client, which takes seconds: only when something is asked.

        `told` says what the present command has changed, if the server does not answer.
        """
        self.path = url
        self._client, self._told = client, told

    def model(self, name: str) -> ModelRow | None:
        """A registered model, or None."""
        with translated(self.path, self._told):
            model = self._registered(name)
            if model is None:
                return None
            return ModelRow(
                name=name,
                description=model.description or "",
                tags=dict(model.tags),
                aliases={alias: str(v) for alias, v in model.aliases.items()},
                versions=tuple(self._versions(f"name = {_quoted(name)}")),
            )

    def glance(self, name: str, board: str, versions: Collection[int]) -> ModelRow | None:
        """A registered model; a server has no cheaper answer than all versions."""
        return self.model(name)

    def digest(self, name: str) -> None:
        """None: a server does not tell what was changed since."""

    def rejections(self, name: str, board: str) -> dict[int, str]:
        """Version -> why it was not built for a board, as its tag says."""
        key = f"{REJECTED}.{board}"
        with translated(self.path, self._told):
            found = self._versions(f"name = {_quoted(name)} AND tags.`{key}` LIKE '%'")
            return {int(v.version): v.tags[key] for v in found}

    def _registered(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client().get_registered_model(name)
        except MlflowException as e:
            if e.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def models(self) -> list[str]:
        """Names of all registered models."""
        with translated(self.path, self._told):
            return sorted(m.name for m in _pages(self._client().search_registered_models))

    def experiments(self) -> list[str]:
        """Names of the experiments that tinydeploy writes to."""
        with translated(self.path, self._told):
            found = list(_pages(self._client().search_experiments))
            return sorted(e.name for e in found if EXPERIMENT_MARK.items() <= e.tags.items())

    def version_of(self, name: str, model_sha256: str, recipe: str) -> VersionRow | None:
        """The version of a model that is this variant: the first, should there be several."""
        found = self.versions_of(name, model_sha256, recipe)
        return found[0] if found else None

    def versions_of(self, name: str, model_sha256: str, recipe: str) -> list[VersionRow]:
        """All versions of a model that are this variant, the oldest first."""
        with translated(self.path, self._told):
            return self._versions(
                f"name = {_quoted(name)} AND tags.model_sha256 = {_quoted(model_sha256)} "
                f"AND tags.recipe = {_quoted(recipe)}"
            )

    def version(self, name: str, version: str) -> VersionRow | None:
        """One version, or None."""
        if not re.fullmatch(r"\d+", version, flags=re.ASCII):
            return None
        with translated(self.path, self._told):
            found = self._versions(f"name = {_quoted(name)} AND version_number = {version}")
            return found[0] if found else None

    def _versions(self, condition: str) -> list[VersionRow]:
        found = _pages(self._client().search_model_versions, filter_string=condition)
        rows = [
            VersionRow(str(v.version), v.run_id or "", v.description or "", dict(v.tags))
            for v in found
        ]
        return sorted(rows, key=lambda v: int(v.version))

    def runs_with(self, experiment: str, key: str) -> list[RunRow]:
        """Runs that are not deleted and whose tag `tinydeploy.key` is `key`, the newest first."""
        return self._runs(experiment, f"tags.`{TAG_KEY}` = {_quoted(key)}")

    def runs(self, experiment: str, kind: str = "") -> list[RunRow]:
        """Runs of an experiment (of one kind) that are not deleted, the newest first."""
        return self._runs(experiment, f"tags.`{TAG_KIND}` = {_quoted(kind)}" if kind else "")

    def runs_below(self, experiment: str, parent: str, kind: str = "") -> list[RunRow]:
        """Child runs of a run that are not deleted, the newest first."""
        kinds = f" AND tags.`{TAG_KIND}` = {_quoted(kind)}" if kind else ""
        return self._runs(experiment, f"tags.`mlflow.parentRunId` = {_quoted(parent)}{kinds}")

    def runs_of(self, experiment: str, parents: Sequence[str], kind: str) -> list[RunRow]:
        """Child runs of one kind of several runs, the newest first."""
        wanted = set(parents)
        return [r for r in self.runs(experiment, kind) if r.row.tags.get(TAG_PARENT) in wanted]

    def runs_selected(self, experiment: str, board: str) -> list[RunRow]:
        """Runs on a board that are tagged as what it shall run, the newest first."""
        return self._runs(
            experiment,
            f"tags.`{TAG_KIND}` = '{KIND_BOARD}' AND tags.`selection` = '{SELECTED}' "
            f"AND tags.`board` = {_quoted(board)}",
        )

    def homeless(self, experiment: str, kind: str, parents: Sequence[str]) -> list[str]:
        """Ids of the runs of one kind that are below none of these."""
        found = self.runs(experiment, kind)
        return [r.run_id for r in found if r.row.tags.get(TAG_PARENT) not in parents]

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        open_states = " AND ".join(f"attributes.status != '{s}'" for s in _ENDED)
        return self._runs(experiment, open_states)

    def registered_elsewhere(self, name: str, run_ids: Collection[str]) -> set[str]:
        """Those of the runs of which another registered model has a version."""
        wanted, found = sorted(run_ids), set()
        with translated(self.path, self._told):
            for i in range(0, len(wanted), _IDS):
                some = ", ".join(map(_quoted, wanted[i : i + _IDS]))
                condition = f"name != {_quoted(name)} AND run_id IN ({some})"
                found |= {v.run_id for v in self._versions(condition)}
        return found

    def _runs(self, experiment: str, condition: str) -> list[RunRow]:
        with translated(self.path, self._told):
            client = self._client()
            found = client.get_experiment_by_name(experiment)
            if found is None:
                return []
            runs = _pages(
                client.search_runs,
                experiment_ids=[found.experiment_id],
                filter_string=condition,
                order_by=["attributes.end_time DESC", "attributes.start_time DESC"],
                max_results=_PAGE,
            )
            return [_run(r) for r in runs]


def _pages(call: Callable[..., Any], **arguments: Any) -> Iterable[Any]:
    """Everything that a paged call of MLflow's client returns."""
    token = None
    while True:
        page = call(**arguments, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def _run(run: Any) -> RunRow:
    info, data = run.info, run.data
    return RunRow(
        info.run_id,
        info.run_name or "",
        info.status,
        info.end_time or 0,
        Row(dict(data.tags), dict(data.params), dict(data.metrics)),
        info.start_time or 0,
    )


def _quoted(value: str) -> str:
    """A value in a filter of MLflow's search, which knows no escapes."""
    if "'" in value or '"' in value:
        raise UsageError(f"{value!r} holds a quotation mark", hint="rename it")
    return f"'{value}'"
