"""Kills at random points of `register` and of `deploy`: what is left, and whether `gc` finds it.

    python bench/kills.py --json OUT [--points 81]

Each point is a process of its own that is killed with SIGKILL: for `register` (with `record` and
`select`) at a random function call, for `deploy` at a random moment, one in each part of the time
that it takes. After each kill: every version that can be seen is re-hashed, every alias has to
point to a version, and what belongs to nothing (found another way) has to be listed by `gc`; then
`gc` removes it, and the command is run again to its end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tinydeploy.store import write_json

WORKER = Path(__file__).resolve().parents[1] / "tests" / "registry" / "faults_worker.py"


def worker(task: str, folder: Path, seeds: int) -> Any:
    command = [sys.executable, str(WORKER), task, str(folder / "root"), str(folder / "work")]
    done = subprocess.run([*command, str(seeds)], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def count(report: Any) -> dict[str, int]:
    """What must be zero, and at how many points it was looked at."""
    found = dict.fromkeys(
        (
            "points",
            "killed",
            "half_versions",
            "aliases_to_nothing",
            "not_found_by_gc",
            "unfinished",
        ),
        0,
    )
    for result in report["results"]:
        for end, seen in zip(result["ends"], result["between"], strict=False):
            found["points"] += 1
            found["killed"] += end == -9
            aliases = [b for b in seen["broken"] if b.startswith("alias ")]
            found["aliases_to_nothing"] += len(aliases)
            found["half_versions"] += len(seen["broken"]) - len(aliases)
            found["not_found_by_gc"] += len(seen["unfound"])
        after, expected = result["after"], report["expected"]
        same = all(len(after[k]) == len(expected[k]) for k in ("versions", "runs", "aliases"))
        found["unfinished"] += not same or result["ends"][-1] != 0 or bool(after["broken"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--points", type=int, default=81)
    options = parser.parse_args()
    found = {}
    for task, seeds in (("kills", -(-options.points // 3)), ("deploys", options.points)):
        with tempfile.TemporaryDirectory(prefix="tinydeploy-bench-") as folder:
            found["register" if task == "kills" else "deploy"] = count(
                worker(task, Path(folder), seeds)
            )
        write_json(options.json, found)
    heads = list(next(iter(found.values())))
    print("| command | " + " | ".join(h.replace("_", " ") for h in heads) + " |")
    print("|---|" + "---|" * len(heads))
    for command, row in found.items():
        print(f"| {command} | " + " | ".join(str(row[h]) for h in heads) + " |")


if __name__ == "__main__":
    main()
