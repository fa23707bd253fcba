"""What is written to the registry, and how it is read back: pure, no I/O, no MLflow.

=====================  ===========================================================================
registered model       a family of variants: all sources and recipes of one `tinydeploy.toml`
model version          a variant: a model (sha256) made by a recipe, with its metric
run of kind `variant`  how the variant came about; its artifacts hold the model and the evaluation
run of kind `board`    its child, one a (variant, board, engine, optimize): footprint, measurement
run of kind `deployment` above all variants: plots of accuracy against what it costs
run of kind `history`  what was chosen for boards and put on them: see `history`
alias `<board>`        the version chosen for the board; `<board>-challenger`: see `lifecycle`
tag `pinned.<board>`   on the registered model: the version that selection leaves in place
tag `selected.<board>` on the chosen version: the run of kind `board` that was chosen
tag `selection.<board>` on the registered model: objective and constraints, as JSON
tag `rejected.<board>` on a version that has no run on the board: why not
tag `manifest_sha256`  on a version and on a run of kind `board`: the hash of its manifest
tag `signed_by`        on both, once signed: the id of the key
tag `profile_sha256`   on a run of kind `board`, once profiled: the hash of that manifest
tag `reason`           on every run of kind `board`: why it was chosen, or why not
=====================  ===========================================================================

Tags named `tinydeploy.*` are for programs, all others for people. `origin.<key>` says where a
number comes from: "measured", "emulated" or "estimated" (see design: every number has an origin),
"linker" for what the linker knows before anything runs, "host" for metrics.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinydeploy.errors import RegistryError
from tinydeploy.store import sha256_json
from tinydeploy.types import (
    Artifact,
    Constraints,
    Evaluation,
    ModelSource,
    from_json,
    to_json,
)

LAYOUT = "2"
"""Version of this layout, kept in every run's tag `tinydeploy.layout`."""

# Tags for programs.
TAG_LAYOUT = "tinydeploy.layout"
TAG_KIND = "tinydeploy.kind"
TAG_KEY = "tinydeploy.key"
TAG_CONTENT = "tinydeploy.content"
TAG_WRITER = "tinydeploy.writer"
TAG_PARENT = "mlflow.parentRunId"
TAG_MANIFEST = "manifest_sha256"
TAG_SIGNED_BY = "signed_by"
TAG_PROFILE = "profile_sha256"
TAG_STATE = "tinydeploy.state"
"""On a version that was evaluated anew: which folder holds, and what it says (JSON); see `renewal`.
With a dot and a key behind it, on the run: a folder that was begun."""
STATES = "states"
UNFINISHED = "unfinished"
"""Begins the tag of a profile that is being written: when that was begun and by whom follow."""

KIND_VARIANT = "variant"
KIND_BOARD = "board"
KIND_HISTORY = "history"
KIND_DEPLOYMENT = "deployment"

EXPERIMENT_MARK = {"tinydeploy.kind": "experiment"}
"""The tag of the experiments that tinydeploy writes to."""

SOURCE = "source"
"""The context of the model that a variant was made from."""
SELECTED = "selected"
REJECTED = "rejected"
PINNED = "pinned"
DEPLOYED = "deployment"
"""`deployment.<name>` on a version: a deployment by that name runs it."""


@dataclass(frozen=True)
class Row:
    """The tags, parameters and metrics of one run, as MLflow holds them."""

    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Input:
    """What a variant was made from or judged by, as MLflow logs data sets.

    `uri` is where it lay when it was used, "" if that is not known; `context` is "source", or what
    the data was used for; `facts` are MLflow's profile of it.
    """

    name: str
    sha256: str
    uri: str
    context: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class VersionRecord:
    """A model version, read back. `selected` maps boards to the chosen run, `rejected` to why.

    `content` is the hash of all that can change about it; `folder` is where its files lie among
    the artifacts of its run, "" for where they were registered first.
    """

    name: str
    version: str
    run_id: str
    variant: str
    recipe: str
    source: str
    model_sha256: str
    size_bytes: int
    metric: str
    value: float
    aliases: tuple[str, ...] = ()
    selected: Mapping[str, str] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    manifest_sha256: str = ""
    signed_by: str = ""
    deployments: tuple[str, ...] = ()
    content: str = ""
    folder: str = ""


# ---------------------------------------------------------------- names and keys
def variant_name(artifact: Artifact) -> str:
    """What people call the variant: "fashion-small-int8"."""
    return f"{artifact.source_name}-{artifact.recipe}"


def variant_key(model_sha256: str, recipe: str) -> str:
    """The identity of a variant."""
    return f"{recipe}:{model_sha256}"


# ---------------------------------------------------------------- variants
def variant_content(
    artifact: Artifact, evaluation: Evaluation, data: Mapping[str, Mapping[str, Any]]
) -> str:
    """Hash of all that can change about a variant, without the places where files lie."""
    described = [artifact.task, artifact.metric, artifact.labels, artifact.input]
    sets = {name: {k: v for k, v in d.items() if k != "path"} for name, d in data.items()}
    return sha256_json(to_json([LAYOUT, *described, artifact.threshold, evaluation, sets]))


def variant_row(
    source: ModelSource,
    artifact: Artifact,
    evaluation: Evaluation,
    data: Mapping[str, Mapping[str, Any]],
) -> Row:
    """Everything about a variant that does not depend on a board."""
    tags = {
        TAG_LAYOUT: LAYOUT,
        TAG_KIND: KIND_VARIANT,
        TAG_KEY: variant_key(artifact.sha256, artifact.recipe),
        "model_sha256": artifact.sha256,
        "source_sha256": source.sha256,
        "calibration_sha256": artifact.data_sha256,
        **{f"data.{name}_sha256": str(d["sha256"]) for name, d in data.items()},
        TAG_CONTENT: variant_content(artifact, evaluation, data),
        **evaluation_tags(evaluation),
    }
    params = {
        "variant": variant_name(artifact),
        "recipe": artifact.recipe,
        "source": source.name,
        "source_format": source.format,
        "task": artifact.task,
    }
    metrics = {**evaluation_metrics(evaluation), "model_bytes": float(artifact.size_bytes)}
    return Row(tags, params, metrics)


def variant_inputs(source: ModelSource, data: Mapping[str, Mapping[str, Any]]) -> tuple[Input, ...]:
    """The source model and the data sets of a variant."""
    uri = "" if source.path == Path() else str(source.path)
    made = Input(source.name, source.sha256, uri, SOURCE, {"format": source.format})
    sets = (
        Input(
            name, str(d["sha256"]), str(d["path"]), str(d["context"]),
            {"num_rows": int(d["samples"])},
        )
        for name, d in data.items()
    )  # fmt: skip
    return (made, *sets)


def evaluation_tags(evaluation: Evaluation) -> dict[str, str]:
    """The tags that change when a variant is evaluated anew."""
    return {
        "metric": evaluation.metric,
        "split": evaluation.split,
        "split_sha256": evaluation.data_sha256,
        "samples": str(evaluation.samples),
        f"origin.{evaluation.metric}": f"host ({evaluation.engine})",
    }


def evaluation_metrics(evaluation: Evaluation) -> dict[str, float]:
    """The metric that decides under its own name, and the task's other metrics."""
    return {**evaluation.metrics, evaluation.metric: evaluation.value}


def version_tags(
    artifact: Artifact, evaluation: Evaluation, data: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """The tags with which a model version appears, in the order in which the UI lists them."""
    return {
        "variant": variant_name(artifact),
        **metric_tags(evaluation),
        "recipe": artifact.recipe,
        "source": artifact.source_name,
        "model_bytes": str(artifact.size_bytes),
        "model_sha256": artifact.sha256,
        TAG_CONTENT: variant_content(artifact, evaluation, data),
    }


def metric_tags(evaluation: Evaluation) -> dict[str, str]:
    """A version's metric: its name, and its value in full precision under that name."""
    return {evaluation.metric: repr(evaluation.value), "metric": evaluation.metric}


def current_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of a version with what holds since it was evaluated anew, if it was.

    That is told by one tag, `STATES` among the result being its folder. Raises as `read_version`.
    """
    if TAG_STATE not in tags:
        return dict(tags)
    state = json.loads(tags[TAG_STATE])
    metric = str(state["metric"])
    return {
        **tags,
        "metric": metric,
        metric: str(state["value"]),
        TAG_CONTENT: str(state["content"]),
        TAG_MANIFEST: str(state["manifest_sha256"]),
        STATES: str(state["folder"]),
    }


def read_version(
    name: str,
    version: str,
    run_id: str,
    tags: Mapping[str, str],
    aliases: Iterable[str] = (),
    description: str = "",
) -> VersionRecord | None:
    """The inverse of `version_tags`; None for a version that tinydeploy did not write."""
    if TAG_CONTENT not in tags:
        return None
    try:
        tags = current_tags(tags)
        return VersionRecord(
            name=name,
            version=version,
            run_id=run_id,
            variant=tags["variant"],
            recipe=tags["recipe"],
            source=tags["source"],
            model_sha256=tags["model_sha256"],
            size_bytes=int(tags["model_bytes"]),
            metric=tags["metric"],
            value=float(tags[tags["metric"]]),
            aliases=tuple(sorted(aliases)),
            selected=below("selected.", tags),
            rejected=below("rejected.", tags),
            description=description,
            manifest_sha256=tags.get(TAG_MANIFEST, ""),
            signed_by=tags.get(TAG_SIGNED_BY, ""),
            deployments=tuple(below(f"{DEPLOYED}.", tags)),
            content=tags[TAG_CONTENT],
            folder=tags.get(STATES, ""),
        )
    except (KeyError, ValueError, TypeError) as e:
        raise edited(f"version {version} of {name}", e) from e


def below(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries whose key begins with a prefix, without it, in the order of their names."""
    return {k.removeprefix(prefix): values[k] for k in sorted(values) if k.startswith(prefix)}


def edited(what: str, error: Exception) -> RegistryError:
    """For tags, parameters or metrics that are not what was written."""
    return RegistryError(
        f"{what} cannot be read: {error!r}",
        hint="it was edited, or written by another version: delete it in the MLflow UI and "
        "deploy again",
    )


# ---------------------------------------------------------------- selections
def choice_tags(selection: str, reason: str, pareto: bool) -> dict[str, str]:
    """The tags of a run on a board after a selection, which is SELECTED or REJECTED."""
    return {"selection": selection, "reason": reason, "pareto": "yes" if pareto else "no"}


def board_tags(board: str, run_id: str | None, reason: str | None) -> dict[str, str | None]:
    """The tags of a version after a selection: the chosen run, or why none; None is no tag."""
    return {f"{SELECTED}.{board}": run_id, f"{REJECTED}.{board}": reason}


def selection_tag(board: str, objective: str, constraints: Constraints | None) -> tuple[str, str]:
    """The tag of the registered model that tells how the choice for a board was made (JSON)."""
    limits = {k: v for k, v in to_json(constraints or Constraints()).items() if v is not None}
    return f"selection.{board}", json.dumps({"objective": objective, **limits})


def read_selection_tag(board: str, tags: Mapping[str, str]) -> tuple[str, Constraints] | None:
    """The inverse of `selection_tag`: the objective and the constraints, or None."""
    text = tags.get(f"selection.{board}")
    if text is None:
        return None
    try:
        limits = json.loads(text)
        objective = limits.pop("objective")
        if not isinstance(objective, str):
            raise TypeError(f"the objective is {objective!r}")
        return objective, from_json(Constraints, limits)
    except (ValueError, KeyError, AttributeError, TypeError) as e:
        raise edited(f"the tag selection.{board}", e) from e
