"""Run by test_faults in a process of its own: imports MLflow once, then forks what may die.

    faults_worker.py kills ROOT WORK SEEDS   register, record and select, killed on the way
    faults_worker.py first ROOT WORK         the same, killed while the database is made
    faults_worker.py race ROOT WORK N        N processes do the same at the same time
    faults_worker.py crowd ROOT WORK N       N processes, each with a variant of its own
    faults_worker.py full ROOT WORK          on a file system of a few MB, filled up more and more

ROOT is a folder, or for race and crowd the URL of a server. Prints one JSON value.
"""

from __future__ import annotations

import contextlib
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

import family

from tinydeploy.config import is_url
from tinydeploy.errors import RegistryError
from tinydeploy.registry.folder import import_mlflow
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.schema import KIND_HISTORY, TAG_KIND


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


def look(root: Path | str) -> dict[str, Any]:
    """What someone sees who comes along: versions whose model is whole, runs, choices."""
    registry = MlflowRegistry(root)
    if "family" not in registry.models():
        return {"versions": [], "runs": [], "aliases": {}, "records": 0}
    view = registry.view("family")
    runs = registry.database.runs("family")
    return {
        "versions": [registry.artifact("family", v.version).recipe for v in view.versions],
        "runs": sorted(
            f"{r.name} {r.status}" for r in runs if r.row.tags[TAG_KIND] != KIND_HISTORY
        ),
        "aliases": dict(view.aliases),
        "records": len(view.records),
        "orphans": sorted(
            set(registry.place.artifact_folders("family")) - {r.run_id for r in runs}
        ),
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
        ends.append(died(forked(partial(everything, place, work))))
        results.append({"seed": seed, "ends": ends, "between": between, "after": look(place)})
    return {"total": total, "expected": look(whole), "results": results}


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
        "kills": kills, "first": killed_at_first, "race": race, "crowd": crowd, "full": full,
    }  # fmt: skip
    if is_url(where):
        print(json.dumps(tasks[task](where, work, *more)))
        return
    Path(where).mkdir(parents=True, exist_ok=True)
    print(json.dumps(tasks[task](Path(where), work, *more)))


if __name__ == "__main__":
    main()
