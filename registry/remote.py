"""Reads the registry of an MLflow server: the same answers as `database`, over its REST API."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tinydeploy.errors import UsageError
from tinydeploy.registry.database import ModelRow, RunRow, VersionRow
from tinydeploy.registry.failures import translated
from tinydeploy.registry.schema import EXPERIMENT_MARK, TAG_KEY, TAG_KIND, TAG_PARENT, Row

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PAGE = 1000
_ENDED = ("FINISHED", "FAILED", "KILLED")


class ServerDatabase:
    """What an MLflow server answers. Raises UnreachableError if it does not."""

    def __init__(self, url: str, client: Callable[[], MlflowClient]) -> None:
        """`client` opens MLflow's client, which takes seconds: only when something is asked."""
        self.path = url
        self._client = client

    def model(self, name: str) -> ModelRow | None:
        """A registered model, or None."""
        with translated(self.path):
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

    def glance(self, name: str, board: str, versions: Sequence[str]) -> ModelRow | None:
        """A registered model; a server has no cheaper answer than all versions."""
        return self.model(name)

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
        with translated(self.path):
            return sorted(m.name for m in _pages(self._client().search_registered_models))

    def experiments(self) -> list[str]:
        """Names of the experiments that tinydeploy writes to."""
        with translated(self.path):
            found = list(_pages(self._client().search_experiments))
            return sorted(e.name for e in found if EXPERIMENT_MARK.items() <= e.tags.items())

    def version_of(self, name: str, model_sha256: str, recipe: str) -> VersionRow | None:
        """The version of a model that is this variant: the first, should there be several."""
        found = self.versions_of(name, model_sha256, recipe)
        return found[0] if found else None

    def versions_of(self, name: str, model_sha256: str, recipe: str) -> list[VersionRow]:
        """All versions of a model that are this variant, the oldest first."""
        with translated(self.path):
            return self._versions(
                f"name = {_quoted(name)} AND tags.model_sha256 = {_quoted(model_sha256)} "
                f"AND tags.recipe = {_quoted(recipe)}"
            )

    def version(self, name: str, version: str) -> VersionRow | None:
        """One version, or None."""
        if not re.fullmatch(r"\d+", version, flags=re.ASCII):
            return None
        with translated(self.path):
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

    def unfinished(self, experiment: str) -> list[RunRow]:
        """Runs that were begun and not ended."""
        open_states = " AND ".join(f"attributes.status != '{s}'" for s in _ENDED)
        return self._runs(experiment, open_states)

    def deleted(self, experiment: str) -> list[str]:
        """Ids of the deleted runs."""
        return [r.run_id for r in self._runs(experiment, "", "DELETED_ONLY")]

    def _runs(self, experiment: str, condition: str, view: str = "ACTIVE_ONLY") -> list[RunRow]:
        from mlflow.entities import ViewType

        with translated(self.path):
            client = self._client()
            found = client.get_experiment_by_name(experiment)
            if found is None:
                return []
            runs = _pages(
                client.search_runs,
                experiment_ids=[found.experiment_id],
                filter_string=condition,
                run_view_type=getattr(ViewType, view),
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
