"""The steps of `tinydeploy select`: a question a board, answered one by one or as a fleet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinydeploy.config import LimitsConfig
from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.objective import Objective, parse_objective
from tinydeploy.pipeline.fleet import select_fleet
from tinydeploy.pipeline.select import Pool, Results
from tinydeploy.types import Candidate, Constraints, DeviceProfile, Evaluation, Selection

if TYPE_CHECKING:
    from tinydeploy.registry.mlflow import MlflowRegistry


@dataclass(frozen=True)
class Asked:
    """What the user wrote: limits, objective (None is flash), and the changes of a what-if."""

    limits: Mapping[str, Any]
    objective: str | None = None
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Question:
    """What is to be chosen on one board, and under which limits."""

    pool: Pool
    constraints: Constraints
    objective: Objective


def change(text: str) -> tuple[str, Any]:
    """KEY=VALUE of a what-if as a field of Constraints and its value; "none" lifts a limit.

    Raises UsageError.
    """
    key, _, value = text.partition("=")
    key = key.strip()
    if key not in Constraints.__dataclass_fields__:
        known = ", ".join(Constraints.__dataclass_fields__)
        raise UsageError(f"--what-if {text!r}: no limit is called {key!r}", hint=f"known: {known}")
    if value.strip() == "none":
        return key, None
    if key == "reference":
        return key, value.strip()
    try:
        number = float(value.replace("_", "").replace(",", ""))
        return key, int(number) if key.endswith("_bytes") else number
    except (ValueError, OverflowError):
        raise UsageError(
            f"--what-if {text!r}: {value!r} is no number", hint="write max_ram_bytes=16384"
        ) from None


def question(store: MlflowRegistry, name: str, device: DeviceProfile, asked: Asked) -> Question:
    """The candidates registered for a board, and the limits that hold.

    A what-if starts from those of the last selection there.
    """
    constraints = LimitsConfig(**asked.limits).constraints(device.flash_bytes, device.ram_bytes)
    objective = asked.objective
    if asked.changes and (last := store.glance(name, device.name).made(device.name)):
        given = {k: v for k, v in asked.limits.items() if v is not None}
        constraints = dataclasses.replace(last[1], **given)
        objective = objective or last[0]
    constraints = dataclasses.replace(constraints, **dict(asked.changes))
    pool = Pool(
        device.name,
        store.candidates(name, device.name),
        results=results_of(store, name, strict=constraints.confidence is not None),
    )
    return Question(pool, constraints, parse_objective(objective or "flash"))


def lifted(store: MlflowRegistry, name: str, q: Question) -> str:
    """A line that names the limits of the last selection that do not hold now; "" if all do.

    They are not kept: what is not written does not hold.
    """
    last = store.glance(name, q.pool.board).made(q.pool.board)
    gone = [
        f"{key}={getattr(last[1], key)}"
        for key in LimitsConfig.__dataclass_fields__
        if last and getattr(last[1], key) is not None and getattr(q.constraints, key) is None
    ]
    if not gone:
        return ""
    return f"note: {q.pool.board} was last selected with {', '.join(gone)}; that does not hold now"


def results_of(store: MlflowRegistry, name: str, *, strict: bool) -> Results:
    """Looks up registered evaluations; without `strict` one that is missing is no error."""

    def found(candidate: Candidate) -> Evaluation | None:
        try:
            return store.evaluation(name, candidate.version)
        except RegistryError:
            if strict:
                raise
            return None

    return found


def answer(questions: Sequence[Question], fleet: bool) -> list[Selection]:
    """A selection a board; for a fleet they all choose the same model."""
    if not fleet:
        return [q.pool.selection(q.constraints, q.objective) for q in questions]
    pools = {q.pool.board: q.pool for q in questions}
    limits = {q.pool.board: q.constraints for q in questions}
    return list(select_fleet(pools, limits, questions[0].objective).selections)


def difference(
    store: MlflowRegistry, name: str, selection: Selection, changes: Sequence[str]
) -> str:
    """One line: what a what-if would change."""
    champion = store.glance(name, selection.board).champion(selection.board)
    new = selection.chosen.name if selection.chosen else "none"
    old = champion.name if champion else "none"
    told = "as now" if new == old else f"instead of {old}"
    return f"what if {', '.join(changes)}: {new} on {selection.board}, {told}; nothing was changed"
