"""A version that is evaluated or described anew: written aside as a whole, then switched to.

::

    RUN/artifacts/states/KEY/evaluation.json, model/   of the run behind the version
    tag `tinydeploy.state` on the version              which KEY holds, with metric and hashes
    tag `tinydeploy.state.KEY` on the run              when the folder was begun and by whom

KEY begins the sha256 of the folder's manifest, so that two processes that evaluate one version at
the same moment, as they can on a server, write two folders. The version's tag is set by one call:
whose call comes last wins as a whole. What people read (metric, split, card) follows from the
folder that won, and is written until it does. `gc` finds the folders that no version names.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinydeploy.registry import process, schema
from tinydeploy.registry.database import RunRow, VersionRow
from tinydeploy.registry.files import MODEL_FOLDER, note_of
from tinydeploy.registry.manifest import read_manifest
from tinydeploy.registry.mlmodel import MODEL_FILE
from tinydeploy.registry.schema import (
    KIND_BOARD,
    STATES,
    TAG_CONTENT,
    TAG_MANIFEST,
    TAG_STATE,
    Input,
    Row,
)

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry
    from tinydeploy.registry.writer import Fill, Writer

_AGREEMENTS = 5
_KEY_LENGTH = 16


def renew(
    registry: MlflowRegistry,
    writer: Writer,
    found: VersionRow,
    tags: Mapping[str, str],
    inputs: Sequence[Input],
    fill: Fill,
) -> None:
    """Replace files, metric and description of a version, whose new tags are `tags`.

    `inputs` are what it was made from.
    """
    name, run_id = writer.experiment, found.run_id
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        made = fill(Path(scratch), run_id)
        manifest_sha256 = made[TAG_MANIFEST]
        key = manifest_sha256[:_KEY_LENGTH]
        begun = f"{int(time.time())} {process.identity()}"
        writer.log(run_id, Row(tags={f"{TAG_STATE}.{key}": begun}))
        with registry.place.filling(name, run_id) as folder:
            shutil.copytree(scratch, folder / STATES / key, dirs_exist_ok=True)
            if not registry.place.has(name, run_id, f"{MODEL_FOLDER}/{MODEL_FILE}"):
                # MLflow itself loads the model from where the version was created.
                shutil.copytree(scratch, folder, dirs_exist_ok=True)
    state = {
        "folder": f"{STATES}/{key}",
        "content": tags[TAG_CONTENT],
        "manifest_sha256": manifest_sha256,
        "metric": tags["metric"],
        "value": tags[tags["metric"]],
    }
    writer.models.set_model_version_tag(
        name, found.version, TAG_STATE, json.dumps(state, sort_keys=True)
    )
    writer.log_inputs(run_id, inputs)
    for _ in range(_AGREEMENTS):
        written = _tell(registry, writer, found.version)
        now = registry.database.version(name, found.version)
        if now is None or now.tags.get(TAG_STATE) == written:
            return


def _tell(registry: MlflowRegistry, writer: Writer, number: str) -> str:
    """Write what people read, from the folder that holds now; the tag that says which it is."""
    name = writer.experiment
    row = registry.database.version(name, number)
    if row is None:
        return ""
    tags = schema.current_tags(row.tags)
    evaluation = registry.evaluation(name, number)
    model = registry.state_folder(registry.get(name, number)) / MODEL_FOLDER
    data = read_manifest(model)["lineage"].get("data", {})
    metric = tags["metric"]
    writer.log(
        row.run_id,
        Row(
            tags={
                **schema.evaluation_tags(evaluation),
                **{f"data.{key}_sha256": str(d["sha256"]) for key, d in data.items()},
                TAG_CONTENT: tags[TAG_CONTENT],
                TAG_MANIFEST: tags[TAG_MANIFEST],
                "mlflow.note.content": note_of(model),
            },
            metrics=schema.evaluation_metrics(evaluation),
        ),
    )
    for run in registry.database.runs_below(name, row.run_id, KIND_BOARD):
        writer.log(run.run_id, Row(metrics={metric: evaluation.value}))
    for key in (metric, "metric", TAG_MANIFEST, TAG_CONTENT):
        if row.tags.get(key) != tags[key]:
            writer.models.set_model_version_tag(name, number, key, tags[key])
    return row.tags.get(TAG_STATE, "")


def unused(run: RunRow, folder: str) -> dict[str, str]:
    """Key -> when it was begun and by whom, of the folders of a run but the one that holds."""
    found: dict[str, str] = schema.below(f"{TAG_STATE}.", run.row.tags)
    return {key: begun for key, begun in found.items() if f"{STATES}/{key}" != folder}


def is_left(begun: str, oldest_ms: float) -> bool:
    """Whether it was begun before `oldest_ms` (since 1970), or by a process that is no more."""
    at, _, writer = begun.partition(" ")
    return not at.isdigit() or int(at) * 1000 < oldest_ms or process.has_ended(writer)
