"""The search against the exhaustive grid, for four memory limits, with a quarter of its trials.

    python bench/search.py --json OUT --supernet FILE [--work DIR] [--seeds N] [--share 0.25]

The grid: every net of a supernet trained on Fashion-MNIST (bench/once_for_all.py makes one) with
each of four recipes; every point is converted, evaluated on the 5,000 validation images by the
native build, and built for and measured on qemu-cortex-m4, whatever its size. Then, for each RAM
limit, a search that starts from nothing may try a quarter as many variants as there are points of
the grid within that limit. Its best is compared with the grid's best, by validation accuracy and by
accuracy on the 10,000 test images, over several seeds of the sampler. Grid and search share cached
work, so that the searches take little time; their trials are counted all the same. Every variant
that a search returns was run on its board, and its outputs compared byte for byte with the host's.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from compression import BOARD, PIXELS, ROOT

from tinydeploy import tflite
from tinydeploy.cli import wiring
from tinydeploy.config import Config, DataConfig, LimitsConfig
from tinydeploy.errors import UnsupportedModelError
from tinydeploy.pipeline.run import Flow
from tinydeploy.pipeline.search import Budget, search
from tinydeploy.pipeline.search_sources import origins_of
from tinydeploy.pipeline.search_space import recipe_of, usual

LIMITS = (6_500, 9_500, 13_000, 16_000)
"""Bytes of RAM; the least is one that 20 points fit, so that a quarter of them is a search."""
SETTINGS = {
    "activations": ("int8", "int16"),
    "granularity": ("channel",),
    "ranges": ("min-max", "mse"),
    "weights": ("as they are",),
}


def write_data(folder: Path) -> None:
    """The example's splits as `.npz` files."""
    import data

    if not (folder / "test.npz").exists():
        data.write_splits(data.DEBIAN, folder)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def grid(config: Config) -> list[dict[str, Any]]:
    """Every point of the grid with its figures; what was done before is in the work folder."""
    devices = wiring.devices(config.devices)
    device = devices[BOARD]
    flow = Flow(config, devices, wiring.tools(config, wiring.registry(config.registry)), say)
    rows = []
    origins = origins_of(config.sources, trusted=False)
    choices = [dict(zip(SETTINGS, v, strict=True)) for v in itertools.product(*SETTINGS.values())]
    test = flow.load(config.data.validation.with_name("test.npz"))
    for origin, settings in itertools.product(origins, choices):
        recipe = recipe_of({**usual(), **settings})
        name = f"{origin.name}-{recipe.name}"
        try:
            artifact = flow.convert(origin.source, recipe)
        except UnsupportedModelError as error:
            rows.append({"variant": name, "ended": error.message})
            continue
        host = flow.host_build(artifact)
        try:
            value = flow.evaluate(artifact, flow.validation, "validation", host).value
            on_test = flow.evaluate(artifact, test, "test", host).value
            graph = tflite.read_graph(artifact.path)
            board = flow.on_board(artifact, graph, device, host)
        finally:
            host.close()
        build, measured = board.build, board.measurement
        rows.append(
            {
                "variant": name,
                "ended": board.blocked,
                "validation": value,
                "test": on_test,
                "flash_bytes": build.footprint.flash_bytes if build else None,
                "ram_bytes": build.footprint.ram_bytes if build and measured else None,
                "instructions": float(np.mean(measured.instructions))
                if measured and measured.instructions
                else None,
                "outputs_equal": bool(
                    measured and measured.outputs_equal == measured.outputs_compared > 0
                ),
            }
        )
        say(f"grid {len(rows)} of {len(origins) * len(choices)}: {rows[-1]}")
    return rows


def searched(
    config: Config, limit: int, trials: int, seed: int, points: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """One search from nothing: its best variant within the limit."""
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        config = dataclasses.replace(
            config, limits=LimitsConfig(max_ram_bytes=limit), registry=Path(scratch)
        )
        devices = wiring.devices(config.devices)
        start = time.monotonic()
        result = search(
            config, devices, wiring.tools(config, wiring.registry(config.registry)),
            Path(scratch) / "search.db", Budget(600, trials), settings=SETTINGS, seed=seed,
        )  # fmt: skip
    built = [t for t in result.trials if not t.too_large]
    returned = [t for t in result.trials if not t.ended and (t.ram_bytes or limit + 1) <= limit]
    if not returned:
        raise SystemExit(f"the search for {limit} bytes of RAM found nothing in {trials} trials")
    best = max(returned, key=lambda t: (t.metric or 0, -(t.flash_bytes or 0)))
    return {
        "seed": seed,
        "trials": len(built),
        "refused_by_plan": len(result.trials) - len(built),
        "space": [cost.name for cost in result.spaces[BOARD]],
        "best": best.variant,
        "validation": best.metric,
        "test": points[best.variant]["test"],
        "ram_bytes": best.ram_bytes,
        "returned": len(returned),
        "all_run": all(points[t.variant]["outputs_equal"] for t in returned),
        "seconds": time.monotonic() - start,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--supernet", type=Path, required=True, metavar="FILE")
    parser.add_argument("--work", type=Path, default=ROOT / "build/search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.25, help="of the grid's points")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    write_data(args.work)
    config = Config(
        name="fashion",
        sources=(args.supernet,),
        devices=(BOARD,),
        data=DataConfig(args.work / "validation.npz", args.work / "calibration.npz"),
        input=PIXELS,
        registry=args.work,
        work=args.work / "stages",
    )
    start = time.monotonic()
    rows = grid(config)
    points = {r["variant"]: r for r in rows}
    grid_seconds = time.monotonic() - start
    print(f"grid: {len(rows)} points, {grid_seconds:.0f} s")
    print(
        f"{'RAM <=':>7} {'points':>6} {'grid best':34} {'valid.':>6} {'test':>6} | {'trials':>6} "
        f"{'seeds':>5} {'worst found':34} {'valid.':>6} {'test':>6} {'behind':>6} "
        f"{'on test':>7} run"
    )
    table = []
    for limit in LIMITS:
        fitting = [r for r in rows if not r["ended"] and (r["ram_bytes"] or limit + 1) <= limit]
        best = max(fitting, key=lambda r: (r["validation"], -r["flash_bytes"]))
        trials = int(args.share * len(fitting))
        runs = [searched(config, limit, trials, seed, points) for seed in range(args.seeds)]
        worst = min(runs, key=lambda r: r["validation"])
        entry = {
            "max_ram_bytes": limit,
            "points": len(fitting),
            "best": best,
            "trials": trials,
            "runs": runs,
            "behind_points": 100 * (best["validation"] - worst["validation"]),
            "behind_on_test_points": 100 * max(best["test"] - r["test"] for r in runs),
            "all_run": all(r["all_run"] for r in runs),
        }
        table.append(entry)
        print(
            f"{limit:7,} {len(fitting):6} {best['variant']:34} {100 * best['validation']:6.2f} "
            f"{100 * best['test']:6.2f} | {trials:6} {len(runs):5} {worst['best']:34} "
            f"{100 * worst['validation']:6.2f} {100 * worst['test']:6.2f} "
            f"{entry['behind_points']:6.2f} {entry['behind_on_test_points']:7.2f} "
            f"{'yes' if entry['all_run'] else 'NO'}",
            flush=True,
        )
    result = {"board": BOARD, "grid_seconds": grid_seconds, "grid": rows, "limits": table}
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
