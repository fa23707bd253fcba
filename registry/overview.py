"""What the MLflow UI shows of a registered model at a glance.

A run of kind `deployment` above all variants, with the Pareto plots as artifacts; and two views of
the list of runs, `boards` (columns) and `charts`, which the UI opens by their links.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.registry import charts
from tinydeploy.registry.database import RunRow
from tinydeploy.registry.schema import (
    KIND_BOARD,
    KIND_DEPLOYMENT,
    KIND_VARIANT,
    LAYOUT,
    TAG_CONTENT,
    TAG_KEY,
    TAG_KIND,
    TAG_LAYOUT,
    TAG_PARENT,
    Row,
)
from tinydeploy.registry.view import View
from tinydeploy.registry.writer import Writer
from tinydeploy.store import sha256_json

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry

VIEWS = ("boards", "charts")
MOST = 300
"""Of more variants than these the plots of a board show so many: what is selected, the Pareto
front, and the smallest."""
_SHARED = "mlflow.sharedViewState."


def publish(registry: MlflowRegistry, name: str) -> None:
    """Bring plots, views and the run above all variants up to date; nothing if they are."""
    view, variants = _drawn(registry, name)
    points = charts.pareto(view)
    if not points:
        return
    content = sha256_json([LAYOUT, points])
    above = _finished(registry.database.runs(name, KIND_DEPLOYMENT))
    homeless = registry.database.homeless(name, KIND_VARIANT, [a.run_id for a in above])
    if len(above) == 1 and above[0].row.tags.get(TAG_CONTENT) == content and not homeless:
        return
    with registry.place.locked() as client:
        writer = Writer(client, registry.place, name)
        row = _row(view, variants, points, content)

        def fill(folder: Path, _: str) -> dict[str, str]:
            charts.write_pareto(folder, points)
            return {}

        if above:
            run_id = above[0].run_id
            if above[0].row.tags.get(TAG_CONTENT) != content:
                with registry.place.filling(name, run_id) as folder:
                    charts.write_pareto(folder, points)
                writer.log(run_id, row)
        else:
            writer.run(name, row, fill)
            above = _finished(registry.database.runs(name, KIND_DEPLOYMENT))
            run_id = above[0].run_id  # others may have been at it: the newest stays
        for old in above[1:]:
            client.delete_run(old.run_id)
        moved = homeless if len(above) == 1 else _all(registry, name)
        if moved:
            registry.place.tag_runs(client, {moved_id: {TAG_PARENT: run_id} for moved_id in moved})
        for key, state in views(view.current[0].metric).items():
            client.set_experiment_tag(writer.experiment_id, f"{_SHARED}{key}", json.dumps(state))


def _all(registry: MlflowRegistry, name: str) -> list[str]:
    return [r.run_id for r in registry.database.runs(name, KIND_VARIANT)]


def _finished(runs: list[RunRow]) -> list[RunRow]:
    """The finished ones, the newest first in an order on which all writers agree."""
    found = [r for r in runs if r.status == "FINISHED"]
    return sorted(found, key=lambda r: (r.start_time, r.run_id), reverse=True)


def _drawn(registry: MlflowRegistry, name: str) -> tuple[View, int]:
    """What the plots show, and how many variants there are: of many only some, see `MOST`."""
    digest = registry.database.digest(name)
    if digest is None or len(digest.variants) <= MOST:
        view = registry.view(name)
        return view, len(view.current)
    wanted = digest.telling(MOST)
    view = registry.glance(name, "", wanted)  # with what aliases point to
    versions = tuple(v for v in view.versions if int(v.version) in wanted)
    return dataclasses.replace(view, versions=versions), len(digest.variants)


def _row(view: View, variants: int, points: Mapping[str, Any], content: str) -> Row:
    tags = {
        TAG_LAYOUT: LAYOUT,
        TAG_KIND: KIND_DEPLOYMENT,
        TAG_KEY: KIND_DEPLOYMENT,
        TAG_CONTENT: content,
        "mlflow.note.content": view.description,
    }
    return Row(tags, {}, {"variants": float(variants), "boards": float(len(points))})


def views(metric: str) -> dict[str, dict[str, Any]]:
    """Name -> the state of the list of runs, as the UI of MLflow 3.17 keeps a shared view.

    `metric` is what the variants are judged by.
    """
    columns = [
        "params.`variant`",
        "params.`board`",
        f"metrics.`{metric}`",
        *(f"metrics.`{cost}`" for cost in charts.COSTS),
        "tags.`selection`",
        "tags.`reason`",
    ]
    listed = {
        "searchFilter": f"tags.\"{TAG_KIND}\" = '{KIND_BOARD}'",
        "orderByKey": "metrics.`flash_bytes`",
        "orderByAsc": True,
        "selectedColumns": columns,
    }
    section = {
        "uuid": "tinydeploy", "name": f"{metric} / cost", "display": True,
        "isReordered": False, "deleted": False, "isGenerated": False,
    }  # fmt: skip
    scatters = [
        {
            "type": "SCATTER", "uuid": f"tinydeploy-{cost}", "runsCountToCompare": 100,
            "deleted": False, "isGenerated": False, "metricSectionId": section["uuid"],
            "xaxis": {"key": cost, "type": "METRIC"},
            "yaxis": {"key": metric, "type": "METRIC"},
        }
        for cost in charts.COSTS
    ]  # fmt: skip
    drawn = {
        **listed,
        "compareRunCharts": scatters,
        "compareRunSections": [section],
        "runsHiddenMode": "SHOW_ALL",
    }
    return {"boards": listed, "charts": drawn}


def link(server: str, experiment_id: str, view: str) -> str:
    """The address of one of VIEWS."""
    mode = "&compareRunsMode=CHART" if view == "charts" else ""
    return f"{server}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}{mode}"
