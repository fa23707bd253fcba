"""How fast the registry is when it is large: the 1st, the 1,000th and the 10,000th version.

    python bench/registry.py --json OUT [--rounds 20] [--variants 100] [--sizes 1 1000 10000]
    python bench/registry.py --json OUT --server --sizes 1 100 1000

For each size a registry of its own is made. The versions below it are seeded in bulk: copies of
the rows of one version that was registered through the API, with hashes, names, figures, reasons
and descriptions of their own (no artifact files). One selection follows that is timed apart: it
reads all that was seeded. Then all registries take turns, so that a busy machine slows all of
them alike: in each round each registers one more variant, records it on a board, selects for the
board, and verifies the version that was made (as `tinydeploy verify` does). These timed calls all
go through the API, in one process, with MLflow imported before. Seconds are medians of the rounds.
`--variants` says how many variants the versions are of; the newest of each is a candidate. Two
tables: nine variants that were trained again and again, and every version a variant of its own.
Last, `tinydeploy select` as a command, a process each, after one more version was registered and
recorded: the choice is written, and the plots are drawn anew. With `--server` each registry is an
MLflow server on SQLite on this machine, one after the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests" / "helpers"))

from family import BOARD, build, measurement, variant  # noqa: E402
from servers import server  # noqa: E402

from tinydeploy.pipeline.select import select  # noqa: E402
from tinydeploy.registry import integrity  # noqa: E402
from tinydeploy.registry.descriptions import describe_version  # noqa: E402
from tinydeploy.registry.folder import import_mlflow  # noqa: E402
from tinydeploy.registry.mlflow import MlflowRegistry  # noqa: E402
from tinydeploy.registry.scope import FAR  # noqa: E402
from tinydeploy.store import write_json  # noqa: E402
from tinydeploy.types import Constraints  # noqa: E402

COMMANDS = 5
STEPS = ("register", "record", "select", "verify")
LIMITS = Constraints(board_flash_bytes=1 << 20, board_ram_bytes=1 << 18)


class Sized:
    """A registry with a number of versions."""

    def __init__(self, root: Path, size: int, variants: int, url: str = "") -> None:
        """In a folder; or on the server at `url`, whose database is `root`/mlflow.db."""
        self.where = url or root
        self.registry, self.work, self.next, self.variants = (
            MlflowRegistry(self.where), root / "work", 1, variants,
        )  # fmt: skip
        if size > 1:
            self.step(dict.fromkeys(STEPS, 0.0))
            database = root / "mlflow.db" if url else self.registry.folder.database
            seed(database, size - 2, variants)
            describe(self.registry, database)
            self.next = size
        start = time.perf_counter()
        if size > 1:
            self.select()
        self.first_select_s = time.perf_counter() - start

    def step(self, times: dict[str, float]) -> None:
        """Register, record, select and verify one more version."""
        n, registry = self.next, self.registry
        self.next += 1
        model = new_variant(self.work, n, self.variants)
        made = build(self.work / "build", model[1])

        def timed(name: str, call: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            result = call()
            times[name] = time.perf_counter() - start
            return result

        version = timed("register", lambda: registry.register("family", *model))
        timed("record", lambda: registry.record("family", version, made, measurement(made)))
        timed("select", self.select)
        timed("verify", lambda: verify(registry, version))
        if version != str(n):
            raise RuntimeError(f"expected version {n}, got {version}")

    def command(self) -> float:
        """Seconds that `tinydeploy select` takes after one more version was recorded."""
        model = new_variant(self.work, self.next, self.variants)
        made = build(self.work / "build", model[1])
        version = self.registry.register("family", *model)
        self.registry.record("family", version, made, measurement(made))
        self.next += 1
        program = "import sys; from tinydeploy.cli.main import run; sys.exit(run(sys.argv[1:]))"
        arguments = ["select", "family", "--device", BOARD, "--registry", str(self.where)]
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", program, *arguments], check=True, stdout=subprocess.DEVNULL
        )
        return time.perf_counter() - start

    def select(self) -> None:
        candidates = self.registry.candidates("family", BOARD)
        selection = select(BOARD, candidates, LIMITS, "flash")
        self.registry.select("family", selection, LIMITS)


def verify(registry: MlflowRegistry, version: str) -> None:
    """All that lies behind a version and its runs on boards is hashed again."""
    for checked in integrity.verify(registry, "family", version):
        integrity.require_intact(checked)


def new_variant(folder: Path, n: int, variants: int) -> Any:
    """Version n: weights of its own, by one of so many recipes."""
    source, artifact, evaluation, data = variant(folder, recipe=f"r{n % variants}", seed=0)
    artifact.path.write_bytes(artifact.path.read_bytes() + n.to_bytes(4, "little"))
    sha256 = hashlib.sha256(artifact.path.read_bytes()).hexdigest()
    artifact = dataclasses.replace(artifact, sha256=sha256, size_bytes=artifact.path.stat().st_size)
    evaluation = dataclasses.replace(evaluation, model_sha256=sha256)
    return source, artifact, evaluation, data


# ---------------------------------------------------------------- seeding
def seed(database: Path, count: int, variants: int) -> None:
    """Versions 2 to `count` + 1, as copies of version 1 and its two runs."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.row_factory = sqlite3.Row
        parent = connection.execute("SELECT run_id FROM model_versions").fetchone()[0]
        child = connection.execute(
            "SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId' AND value = ?", (parent,)
        ).fetchone()[0]
        tables = {
            table: connection.execute(
                f"SELECT * FROM {table} WHERE run_uuid IN (?, ?)", (parent, child)
            ).fetchall()
            for table in ("runs", "tags", "params", "metrics", "latest_metrics")
        }
        tables["model_versions"] = connection.execute("SELECT * FROM model_versions").fetchall()
        tables["model_version_tags"] = connection.execute(
            "SELECT * FROM model_version_tags"
        ).fetchall()
        tables["inputs"] = connection.execute(
            "SELECT * FROM inputs WHERE destination_id = ?", (parent,)
        ).fetchall()
        old_sha256 = next(
            r["value"] for r in tables["model_version_tags"] if r["key"] == "model_sha256"
        )
        copies: dict[str, list[tuple[Any, ...]]] = {table: [] for table in tables}
        for version in range(2, count + 2):
            sha256 = hashlib.sha256(version.to_bytes(4, "big")).hexdigest()
            recipe = f"r{version % variants}"
            new = {parent: uuid.uuid4().hex, child: uuid.uuid4().hex, old_sha256: sha256}
            for table, rows in tables.items():
                copies[table] += list(_copied(rows, version, recipe, new))
        for table, rows in copies.items():
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


def describe(registry: MlflowRegistry, database: Path) -> None:
    """The descriptions that selections would have written, one after the other."""
    view = registry.view("family")
    texts = [(describe_version(view, v), v.version) for v in view.versions]
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany("UPDATE model_versions SET description = ? WHERE version = ?", texts)


def _copied(
    rows: list[sqlite3.Row], version: int, recipe: str, new: dict[str, str]
) -> Iterator[tuple[Any, ...]]:
    for row in rows:
        values = dict(row)
        if str(values.get("key", "")).startswith(("selected.", "rejected.")):
            continue  # only one version is what a board runs
        said = {"selection": "rejected", "reason": FAR, "pareto": "no"}
        if "run_uuid" in values and values.get("key") in said:
            values["value"] = said[values["key"]]
        if values.get("key") in ("flash_bytes", "flash.weights") and "value" in values:
            values["value"] += 1000 + version % 50_000
        for key, value in values.items():
            if key == "version":
                values[key] = version
            elif key in ("input_uuid",):
                values[key] = uuid.uuid4().hex
            elif isinstance(value, str):
                for old, fresh in new.items():
                    value = value.replace(old, fresh)
                values[key] = value.replace("net-r1", f"net-{recipe}")
                if value == "r1":
                    values[key] = recipe
                elif value.startswith("r1:"):
                    values[key] = f"{recipe}:{value[3:]}"
        yield tuple(values.values())


# ---------------------------------------------------------------- measuring
Samples = dict[int, list[dict[str, float]]]


def measure(sizes: list[int], variants: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Medians of each step for each size; and the sizes at the end, to show what was counted."""
    variants = min(variants, max(sizes))
    made = {size: Sized(folder / str(size), size, variants) for size in sizes}
    samples, commands = take_turns(made, rounds)
    return summary(made, variants, samples, commands)


def measure_servers(sizes: list[int], variants: int, rounds: int, folder: Path) -> dict[str, Any]:
    """As `measure`, each size on a server of its own, one after the other."""
    samples: Samples = {}
    commands: dict[int, list[float]] = {}
    result: dict[str, Any] = {}
    for size in sizes:
        place = folder / str(size)
        with server(place, f"sqlite:///{place / 'mlflow.db'}") as started:
            made = {size: Sized(place, size, min(variants, max(sizes)), started.url)}
            its_samples, its_commands = take_turns(made, rounds)
            samples |= its_samples
            commands |= its_commands
            one = summary(made, variants, samples, commands)
            result = {**one, "sizes": {**result.get("sizes", {}), **one["sizes"]}}
    return {**result, "ratio": ratios(result["sizes"]), "place": "MLflow server on SQLite"}


def take_turns(made: dict[int, Sized], rounds: int) -> tuple[Samples, dict[int, list[float]]]:
    """The seconds of the steps, and of the command, for each size."""
    samples: Samples = {size: [] for size in made}
    for round_ in range(rounds):
        for size, sized in made.items():
            times: dict[str, float] = {}
            sized.step(times)
            samples[size].append(times)
        print(f"round {round_ + 1} of {rounds}", file=sys.stderr, flush=True)
    commands: dict[int, list[float]] = {size: [] for size in made}
    for round_ in range(COMMANDS + 1):
        for size, sized in made.items():
            seconds = sized.command()
            if round_:  # the first one draws the plots of all that was seeded
                commands[size].append(seconds)
    return samples, commands


def summary(
    made: dict[int, Sized], variants: int, samples: Samples, commands: dict[int, list[float]]
) -> dict[str, Any]:
    """Medians, samples, and what was counted."""
    result: dict[str, Any] = {"variants": variants, "sizes": {}}
    for size, sized in made.items():
        view = sized.registry.view("family")
        result["sizes"][size] = {
            "versions_at_the_end": len(view.versions),
            "versions_through_the_api": len(samples[size]) + COMMANDS + 1 + (size > 1),
            "versions_seeded": max(0, size - 2),
            "candidates": len(view.current),
            "command_s": statistics.median(commands[size]),
            "command_samples_s": commands[size],
            "first_select_s": sized.first_select_s,
            "seconds": {s: statistics.median(t[s] for t in samples[size]) for s in STEPS},
            "samples": samples[size],
        }
    result["ratio"] = ratios(result["sizes"])
    return result


def ratios(sizes: dict[int, Any]) -> dict[str, float]:
    """What the largest takes, over what the smallest takes."""
    first, last = sizes[min(sizes)], sizes[max(sizes)]
    found: dict[str, float] = {s: last["seconds"][s] / first["seconds"][s] for s in STEPS}
    return {**found, "command": last["command_s"] / first["command_s"]}


def table(result: dict[str, Any]) -> str:
    lines = [
        "| version | candidates | "
        + " | ".join(f"{s} ms" for s in STEPS)
        + " | command s | first select s |",
        "|---|" + "---|" * (len(STEPS) + 3),
    ]
    for size, row in result["sizes"].items():
        cells = " | ".join(f"{row['seconds'][s] * 1000:.1f}" for s in STEPS)
        lines.append(
            f"| {int(size):,} | {row['candidates']:,} | {cells} | {row['command_s']:.2f} "
            f"| {row['first_select_s']:.2f} |"
        )
    ratios = " | ".join(f"{result['ratio'][s]:.2f}" for s in STEPS)
    lines.append(f"| last / first | | {ratios} | {result['ratio']['command']:.2f} | |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--variants", type=int, nargs="*", default=[9, 1_000_000])
    parser.add_argument("--sizes", type=int, nargs="*", default=[1, 1000, 10_000])
    parser.add_argument("--server", action="store_true")
    options = parser.parse_args()
    import_mlflow()
    results = []
    for variants in options.variants:
        with tempfile.TemporaryDirectory(prefix="tinydeploy-bench-") as folder:
            measured = measure_servers if options.server else measure
            result = measured(options.sizes, variants, options.rounds, Path(folder))
        results.append(result)
        of = (
            "each a variant of its own"
            if variants >= max(options.sizes)
            else f"{variants} variants"
        )
        print(f"\nVersions of {of}; {options.rounds} rounds through the API, the versions below "
              f"seeded in bulk:\n\n{table(result)}", flush=True)  # fmt: skip
        write_json(options.json, {"machine": platform.machine(), "results": results})


if __name__ == "__main__":
    main()
