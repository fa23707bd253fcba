"""What nobody needs any more, and what killed processes left: found first, then removed.

Kept are all versions that something needs: an alias (champion, challenger), a pin, a board that it
was flashed on last, a rollback, a deployment; and the newest version of each variant, which the
next selection looks at. What is left of a version goes in an order in which a kill at any moment
leaves only what is found again: the version, its runs, their artifacts.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tinydeploy.registry import history, layers, process, renewal
from tinydeploy.registry.choice import CHALLENGER
from tinydeploy.registry.database import ModelRow, RunRow
from tinydeploy.registry.manifest import PROFILE_FOLDER
from tinydeploy.registry.schema import (
    DEPLOYED,
    KIND_BOARD,
    KIND_VARIANT,
    STATES,
    TAG_KEY,
    TAG_KIND,
    TAG_PARENT,
    TAG_PROFILE,
    TAG_STATE,
    TAG_WRITER,
    below,
    variant_key,
)
from tinydeploy.registry.view import View, read_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tinydeploy.registry.mlflow import MlflowRegistry

Kind = Literal["version", "alias", "run", "profile", "evaluation", "artifacts"]
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Garbage:
    """One thing to be removed from a registered model, and why."""

    model: str
    kind: Kind
    id: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """What is kept beyond what is needed.

    `keep` newest versions of each variant; `rollbacks` former champions of each board. On a
    server what is unfinished may be somebody's work until it is `hours` old.
    """

    keep: int = 1
    rollbacks: int = 1
    hours: float = 24.0


def find(registry: MlflowRegistry, name: str, policy: Policy) -> list[Garbage]:
    """What could be removed from a registered model, in the order in which it has to go.

    What is made first is read last (a run before its artifacts, its version after it), so that
    what another process makes meanwhile is not taken for something that is left.
    """
    reader = registry.database
    folders = {f for f in registry.place.artifact_folders(name) if _RUN_ID.fullmatch(f)}
    runs = reader.runs(name)
    model = reader.model(name) or ModelRow(name)
    versions = read_versions(model)
    view = View(name, versions, (), model.aliases, model.tags)
    finder = _Finder(registry, name, policy)
    needed = needs(view, history.events(reader, name), policy)
    needed |= {v.version: "deployed" for v in model.versions if below(f"{DEPLOYED}.", v.tags)}
    doomed = {v.version for v in versions if v.version not in needed}
    repeated = _repeated(model, needed)
    found = [
        finder.of("alias", alias, f"points to version {version}, which is gone")
        for alias, version in model.aliases.items()
        if version not in {v.version for v in model.versions}
    ]
    found += [
        finder.of("version", v, repeated.get(v, "replaced by a newer one of its variant"))
        for v in sorted(doomed | set(repeated), key=int)
    ]
    alive = {v.run_id for v in model.versions} - {
        v.run_id for v in versions if v.version in doomed or v.version in repeated
    }
    left = finder.runs(runs, alive)
    suspects = {g.id for g in left} | (folders - {r.run_id for r in runs})
    used = alive | reader.registered_elsewhere(name, suspects)
    gone = {g.id for g in left} - used
    remaining = [r for r in runs if r.run_id not in gone]
    found += [g for g in left if g.id in gone]
    found += finder.profiles(remaining)
    found += finder.evaluations(remaining, {v.run_id: v.folder for v in versions})
    found += [
        finder.of("artifacts", run_id, "of no run, or of a deleted one")
        for run_id in sorted(folders - {r.run_id for r in remaining} - used)
    ]
    return found


def needs(view: View, events: Iterable[history.Event], policy: Policy) -> dict[str, str]:
    """Version -> why it is needed."""
    events = list(events)
    found: dict[str, str] = {}
    newest: dict[str, list[str]] = {}
    for v in view.versions:
        newest.setdefault(v.variant, []).append(v.version)
    for variant, numbers in newest.items():
        found |= dict.fromkeys(numbers[-policy.keep :], f"the newest of {variant}")
    for board, event in history.running(events).items():
        found[event.version] = f"flashed on {board}"
    for board in {e.board for e in events}:
        own = [e for e in events if e.board == board]
        before = history.previous(own, view.aliases.get(board, ""))
        there = [e for e in before if e.version in {v.version for v in view.versions}]
        for event in there[: policy.rollbacks]:
            found[event.version] = f"{board} could be rolled back to it"
    for board, version in view.pins.items():
        found[version] = f"pinned for {board}"
    for alias, version in view.aliases.items():
        board = alias.removesuffix(CHALLENGER)
        found[version] = f"the {'champion' if alias == board else 'challenger'} of {board}"
    return found


def remove(
    registry: MlflowRegistry,
    found: Iterable[Garbage],
    policy: Policy,
    progress: Callable[[str], None],
) -> None:
    """Remove what was found and is garbage still, now that nobody else writes to the folder.

    A server has no lock: there it is asked again just before. Runs are deleted as MLflow does:
    `mlflow gc` takes their rows away.
    """
    found = list(found)
    with registry.place.locked() as client:
        still = {g for name in {g.model for g in found} for g in find(registry, name, policy)}
        for garbage in found:
            if garbage in still:
                progress(f"{garbage.kind} {garbage.id}")
                _REMOVERS[garbage.kind](registry, client, garbage)


_REMOVERS: Mapping[Kind, Callable[[MlflowRegistry, MlflowClient, Garbage], object]] = {
    "version": lambda registry, client, g: client.delete_model_version(g.model, g.id),
    "alias": lambda registry, client, g: client.delete_registered_model_alias(g.model, g.id),
    "run": lambda registry, client, g: client.delete_run(g.id),
    "profile": lambda registry, client, g: _remove_profile(registry, client, g),
    "evaluation": lambda registry, client, g: _remove_evaluation(registry, client, g),
    "artifacts": lambda registry, client, g: registry.place.discard_artifacts(g.model, g.id),
}


def _remove_profile(registry: MlflowRegistry, client: MlflowClient, garbage: Garbage) -> None:
    """The tag last: a kill in between leaves what is found again."""
    registry.place.remove(garbage.model, garbage.id, PROFILE_FOLDER)
    client.delete_tag(garbage.id, TAG_PROFILE)


def _remove_evaluation(registry: MlflowRegistry, client: MlflowClient, garbage: Garbage) -> None:
    """The tag last: a kill in between leaves what is found again."""
    run_id, key = garbage.id.split("/")
    registry.place.remove(garbage.model, run_id, f"{STATES}/{key}")
    client.delete_tag(run_id, f"{TAG_STATE}.{key}")


class _Finder:
    def __init__(self, registry: MlflowRegistry, name: str, policy: Policy) -> None:
        self.name, self.exclusive = name, registry.place.exclusive
        self.oldest = time.time() * 1000 - policy.hours * _HOUR_MS

    def of(self, kind: Kind, id: str, reason: str) -> Garbage:
        return Garbage(self.name, kind, id, reason)

    def runs(self, runs: list[RunRow], alive: set[str]) -> list[Garbage]:
        """Runs without an end, without a version, or replaced. `alive` are the runs of versions."""
        found, seen = [], set()
        for run in runs:  # the newest first
            tags = run.row.tags
            kind, parent = tags.get(TAG_KIND), tags.get(TAG_PARENT)
            reason = ""
            if kind not in (KIND_VARIANT, KIND_BOARD):
                reason = "" if kind is None or run.status != "RUNNING" else "was never finished"
            elif run.status != "FINISHED":
                reason = "was never finished"
            elif kind == KIND_VARIANT and run.run_id not in alive:
                reason = "has no version"
            elif kind == KIND_BOARD and parent not in alive:
                reason = "belongs to no version"
            elif kind == KIND_BOARD and tags[TAG_KEY] in seen:
                reason = "replaced by a newer one"
            if kind == KIND_BOARD and run.status == "FINISHED":
                seen.add(tags.get(TAG_KEY, ""))
            if reason and self._is_left(run):
                found.append(self.of("run", run.run_id, f"{run.name} {reason}"))
        return found

    def profiles(self, runs: list[RunRow]) -> list[Garbage]:
        """Profiles that were begun and never finished; `id` is that of their run."""
        found = []
        for run in runs:
            tag = run.row.tags.get(TAG_PROFILE, "")
            if layers.unfinished(tag) and (self.exclusive or layers.is_left(tag, self.oldest)):
                found.append(self.of("profile", run.run_id, f"of {run.name} was never finished"))
        return found

    def evaluations(self, runs: list[RunRow], folders: Mapping[str, str]) -> list[Garbage]:
        """Evaluations that were replaced, or never finished; `id` is that of the run and a key."""
        return [
            self.of("evaluation", f"{run.run_id}/{key}", f"of {run.name} is not the one that holds")
            for run in runs
            for key, begun in renewal.unused(run, folders.get(run.run_id, "")).items()
            if self.exclusive or renewal.is_left(begun, self.oldest)
        ]

    def _is_left(self, run: RunRow) -> bool:
        """False for what another process may be at work on."""
        return (
            self.exclusive
            or run.start_time < self.oldest
            or process.has_ended(run.row.tags.get(TAG_WRITER, ""))
        )


def _repeated(model: ModelRow, needed: Mapping[str, str]) -> dict[str, str]:
    """Versions of a variant that has one already, left by a process that was killed; and why."""
    first: dict[str, str] = {}
    found = {}
    for v in model.versions:
        if "model_sha256" not in v.tags:
            continue
        key = variant_key(v.tags["model_sha256"], v.tags.get("recipe", ""))
        if key in first and not needed.get(v.version, "").startswith(("the champion", "pinned")):
            found[v.version] = f"the same as version {first[key]}"
        first.setdefault(key, v.version)
    return found
