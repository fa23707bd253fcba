"""Run by test_faults in a process of its own: imports MLflow once, then forks what may die.

    faults_worker.py kills ROOT WORK SEEDS   register, record and select, killed on the way
    faults_worker.py first ROOT WORK         the same, killed while the database is made
    faults_worker.py race ROOT WORK N        N processes do the same at the same time
    faults_worker.py crowd ROOT WORK N       N processes, each with a variant of its own
    faults_worker.py renew ROOT WORK N       N processes evaluate one variant anew, at the same time
    faults_worker.py deploys ROOT WORK SEEDS a whole deployment, killed on the way
    faults_worker.py full ROOT WORK          on a file system of a few MB, filled up more and more

ROOT is a folder, or for race, crowd and renew the URL of a server. Prints one JSON value.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

sys.path += [str(Path(__file__).parents[1] / folder) for folder in ("faults", "helpers")]
import family
from deployments import make_project

from tinydeploy.cli.main import run
from tinydeploy.config import is_url
from tinydeploy.errors import RegistryError
from tinydeploy.registry import garbage, integrity
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.schema import (
    KIND_BOARD,
    KIND_HISTORY,
    KIND_VARIANT,
    TAG_KIND,
    TAG_PARENT,
)
from tinydeploy.store import remove_staged, staged_left


def everything(root: Path | str, work: Path, seed: int = 0) -> None:
    """One variant on one board, chosen."""
    registry = MlflowRegistry(root)
    model = family.variant(work, recipe=f"int8-{seed}" if seed else "int8", seed=seed)
    version = registry.register("family", *model)
    made = family.build(work / "board", model[1])
    registry.record("family", version, made, family.measurement(made))
    if not seed:
        registry.select("family", family.choose(registry, "net-int8"))


def forked(action: Callable[[], object]) -> int:
    """Start `action` in a child that ends with it; the child's process id."""
    if pid := os.fork():
        return pid
    try:
        action()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def died(pid: int) -> int:
    """Wait; 0, or the negative signal or the positive exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def counted(root: Path, work: Path, kill_at: int | None = None) -> int:
    """Do everything, count the function calls, and be killed at one of them; the count."""
    calls = 0

    def count(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        everything(root, work)
    finally:
        sys.setprofile(None)
    return calls


def left_behind(registry: MlflowRegistry, name: str) -> set[str]:
    """Ids of runs and artifacts that belong to nothing, found another way than `gc` does."""
    runs = registry.database.runs(name)
    model = registry.database.model(name)
    owners = {v.run_id for v in model.versions} if model else set()
    left = {r.run_id for r in runs if r.status != "FINISHED"}
    for r in runs:
        tags = r.row.tags
        if tags[TAG_KIND] == KIND_VARIANT and r.run_id not in owners:
            left.add(r.run_id)
        if tags[TAG_KIND] == KIND_BOARD and tags[TAG_PARENT] not in owners:
            left.add(r.run_id)
    return left | (set(registry.place.artifact_folders(name)) - {r.run_id for r in runs})


def unfound(root: Path | str, name: str, work: Path) -> list[str]:
    """What is left behind and `gc` does not list; then everything that it lists is removed."""
    registry = MlflowRegistry(root)
    found = garbage.find(registry, name, garbage.Policy())
    missed = left_behind(registry, name) - {g.id for g in found}
    hidden = {p for p in work.rglob(".*.*") if p.name != ".lock"}
    staged = staged_left([work], 24)
    missed |= {str(p) for p in hidden - set(staged)}
    garbage.remove(registry, found, garbage.Policy(), lambda _: None)
    remove_staged(staged)
    return sorted(missed) + [
        f"still {g.id}" for g in garbage.find(registry, name, garbage.Policy())
    ]


def look(root: Path | str, name: str = "family") -> dict[str, Any]:
    """What someone sees who comes along: versions whose model is whole, runs, choices."""
    registry = MlflowRegistry(root)
    if name not in registry.models():
        return {"versions": [], "runs": [], "aliases": {}, "records": 0, "broken": []}
    view = registry.view(name)
    runs = registry.database.runs(name)
    checked = [c for v in view.versions for c in integrity.verify(registry, name, v.version)]
    numbers = {v.version for v in view.versions}
    return {
        "broken": [f"{c.version} {p.file} {p.reason}" for c in checked for p in c.problems]
        + [f"alias {a}" for a, version in view.aliases.items() if version not in numbers],
        "versions": [registry.artifact(name, v.version).recipe for v in view.versions],
        "runs": sorted(
            f"{r.name} {r.status}" for r in runs if r.row.tags[TAG_KIND] != KIND_HISTORY
        ),
        "aliases": dict(view.aliases),
        "records": len(view.records),
        "orphans": sorted(set(registry.place.artifact_folders(name)) - {r.run_id for r in runs}),
    }


def kills(root: Path, work: Path, seeds: int) -> Any:
    """For each seed a registry of its own: killed three times, looked at, then left to finish."""
    template = MlflowRegistry(root / "empty").folder
    with template.locked():
        pass

    def prepared(name: str) -> Path:
        (root / name / "mlruns").mkdir(parents=True)
        shutil.copy(template.database, root / name / "mlruns")
        return root / name

    whole = prepared("whole")
    report = root / "calls"
    if died(forked(lambda: report.write_text(str(counted(whole, work))))):
        raise RuntimeError("the undisturbed registration failed")
    total = int(report.read_text())
    results = []
    for seed in range(seeds):
        chance = random.Random(seed)
        place = prepared(f"killed{seed}")
        ends, between = [], []
        for _ in range(3):
            point = chance.randrange(1, total)
            ends.append(died(forked(partial(counted, place, work, point))))
            between.append(look(place))
            between[-1]["unfound"] = unfound(place, "family", place)
        ends.append(died(forked(partial(everything, place, work))))
        results.append({"seed": seed, "ends": ends, "between": between, "after": look(place)})
    return {"total": total, "expected": look(whole), "results": results}


def deploys(root: Path, work: Path, seeds: int) -> Any:
    """For each seed a project of its own: its deployment is killed, looked at, then finished."""
    template = MlflowRegistry(root / "empty").folder
    with template.locked():
        pass
    os.environ["TINYDEPLOY_CACHE"] = str(work / "cache")

    def prepared(name: str) -> Path:
        place = root / name
        (place / "mlruns").mkdir(parents=True)
        shutil.copy(template.database, place / "mlruns")
        make_project(place, "loopback")
        return place

    def deploy(place: Path) -> None:
        with open(place / "log", "a") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        if code := run(["deploy", "--config", str(place / "tinydeploy.toml")]):
            raise RuntimeError(f"exit code {code}: {(place / 'log').read_text()}")

    whole = prepared("whole")
    if died(forked(partial(deploy, whole))):
        raise RuntimeError((whole / "log").read_text())
    again = prepared("again")
    start = time.monotonic()
    died(forked(partial(deploy, again)))
    seconds = time.monotonic() - start
    results = []
    for seed in range(seeds):
        place = prepared(f"killed{seed}")
        pid = forked(partial(deploy, place))
        # One in each part of the time that it takes; most of it is spent with the registry.
        time.sleep(seconds * (seed + random.Random(seed).random()) / seeds)
        os.kill(pid, signal.SIGKILL)
        ends = [died(pid)]
        between = look(place, "net")
        between["unfound"] = unfound(place, "net", place / ".tinydeploy")
        ends.append(died(forked(partial(deploy, place))))
        results.append({"ends": ends, "between": [between], "after": look(place, "net")})
    return {"seconds": seconds, "expected": look(whole, "net"), "results": results}


def killed_at_first(root: Path, work: Path) -> Any:
    """Killed while MLflow makes its tables: when the file appears, and when much is there."""
    folder = root / "mlruns"
    scratch = folder / ".mlflow.db.scratch"
    results = []
    for size in (0, 300_000):
        pid = forked(partial(everything, root, work))
        while not (scratch.exists() and scratch.stat().st_size >= size):
            time.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        results.append([died(pid), (folder / "mlflow.db").exists()])
    last = died(forked(partial(everything, root, work)))
    return {"results": results, "last": last, "left": os.listdir(folder), "after": look(root)}


def race(root: Path | str, work: Path, n: int) -> Any:
    """Several processes at once."""
    pids = [forked(partial(everything, root, work / str(i))) for i in range(n)]
    return {"ends": [died(pid) for pid in pids], "after": look(root)}


def crowd(root: Path | str, work: Path, n: int) -> Any:
    """Several processes at once, each with a variant of its own."""
    pids = [forked(partial(everything, root, work / str(i), i + 1)) for i in range(n)]
    return {"ends": [died(pid) for pid in pids], "after": look(root)}


def renew(root: Path | str, work: Path, n: int) -> Any:
    """Several processes, each of which evaluates the same variant anew, four times."""
    everything(root, work)

    def evaluate(i: int) -> None:
        registry = MlflowRegistry(root)
        source, artifact, evaluation, data = family.variant(work / str(i))
        for turn in range(4):
            value = (1 + i + n * turn) / 100
            new = dataclasses.replace(evaluation, value=value, metrics={"accuracy": value, "f1": i})
            registry.register("family", source, artifact, new, data)

    ends = [died(pid) for pid in [forked(partial(evaluate, i)) for i in range(n)]]
    registry = MlflowRegistry(root)
    (version,) = registry.view("family").versions
    (row,) = registry.database.versions_of("family", version.model_sha256, version.recipe)
    found = registry.evaluation("family", version.version)
    runs = registry.database.runs("family")
    oldest = garbage.Policy(hours=0)
    left = garbage.find(registry, "family", oldest)
    garbage.remove(registry, left, oldest, lambda _: None)
    return {
        "ends": ends,
        "value": version.value,
        "evaluation": [found.value, found.metrics["accuracy"]],
        "tags": [row.tags[k] for k in ("accuracy", "manifest_sha256", "tinydeploy.content")],
        "holds": [repr(version.value), version.manifest_sha256, version.content],
        "metrics": sorted(
            (r.row.tags[TAG_KIND], r.row.metrics["accuracy"])
            for r in runs
            if "accuracy" in r.row.metrics
        ),
        "f1": [r.row.metrics["f1"] for r in runs if "f1" in r.row.metrics],
        "expected_f1": found.metrics["f1"],
        "left": [g.kind for g in left],
        "still_left": [g.kind for g in garbage.find(registry, "family", oldest)],
        "after": look(root),
    }


def full(root: Path, work: Path) -> Any:
    """Fill the file system up to some room that is left, register, free it, register."""
    with MlflowRegistry(root).folder.locked():
        pass
    messages = []
    filler = root / "filler"
    for room in (0, 30_000, 100_000):
        filler.write_bytes(b"")
        with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
            while f.write(bytes(4096)):
                pass
        os.truncate(filler, max(0, filler.stat().st_size - room))
        try:
            everything(root, work)
            messages.append("")
        except RegistryError as e:
            messages.append(e.message)
        filler.unlink()
    everything(root, work)
    return {"messages": messages, "after": look(root)}


def main() -> None:
    import_mlflow()
    task, where, work = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    more = [int(a) for a in sys.argv[4:]]
    tasks: dict[str, Callable[..., Any]] = {
        "kills": kills, "deploys": deploys, "first": killed_at_first,
        "race": race, "crowd": crowd, "renew": renew, "full": full,
    }  # fmt: skip
    if is_url(where):
        print(json.dumps(tasks[task](where, work, *more)))
        return
    Path(where).mkdir(parents=True, exist_ok=True)
    print(json.dumps(tasks[task](Path(where), work, *more)))


if __name__ == "__main__":
    main()
