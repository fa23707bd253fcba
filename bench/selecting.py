"""Selection on a large registry: 100,000 versions x 20 boards.

    python bench/selecting.py --json OUT

The candidates are random (seeded), as they come from a registry; loading is making columns of
them, and is timed apart. Then, for all boards: the choice; one model for the whole fleet; the
Pareto fronts; and the words for a thousand rejected on each board.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.objective import parse_objective
from tinydeploy.pipeline.fleet import choose_fleet
from tinydeploy.pipeline.select import Pool
from tinydeploy.types import Candidate, Constraints

LIMIT_S = 1.0
LIMITS = Constraints(min_metric=0.8, max_loss=0.1, max_ram_bytes=120_000, board_flash_bytes=800_000)
COST = "0.5*flash/1e5 + 0.5*ram/1e4"


def pool(board: int, versions: int) -> Pool:
    """One board's candidates: accuracy grows with size, one of fifty could not be built."""
    models = np.random.default_rng(2026)  # the same on every board
    size = models.lognormal(11, 1, versions)
    value = 1 - 0.6 / np.sqrt(np.log(size)) + models.normal(0, 0.03, versions)
    rng = np.random.default_rng(board)
    flash = (size * rng.uniform(1, 1.3, versions)).astype(int).tolist()
    ram = (size**0.8 * rng.uniform(1, 3, versions)).astype(int).tolist()
    instructions = (size * rng.uniform(10, 90, versions)).astype(int).tolist()
    blocked = (rng.random(versions) < 0.02).tolist()
    origin: Any = {"instructions": "emulated"}
    return Pool(
        f"board-{board}",
        [
            Candidate(
                f"v{i}", f"{i:064x}", "accuracy", v, True, f, r, n,
                outputs_verified=True, origin=origin, blocked="no kernel" if b else "",
            )
            for i, (v, f, r, n, b) in enumerate(
                zip(value.tolist(), flash, ram, instructions, blocked, strict=True)
            )
        ],
    )  # fmt: skip


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--versions", type=int, default=100_000)
    parser.add_argument("--boards", type=int, default=20)
    args = parser.parse_args()
    load_s, pools = timed(
        lambda: {p.board: p for p in (pool(b, args.versions) for b in range(args.boards))}
    )
    flash, cost = parse_objective("flash"), parse_objective(COST)
    limits = dict.fromkeys(pools, LIMITS)
    choose_s, chosen = timed(lambda: [p.choose(LIMITS, flash) for p in pools.values()])
    cost_s, _ = timed(lambda: [p.choose(LIMITS, cost) for p in pools.values()])
    fleet_s, fleet = timed(lambda: choose_fleet(pools, limits, flash))
    good = {b: p.sufficient(LIMITS) for b, p in pools.items()}
    front_s, fronts = timed(lambda: [p.front(good[b], flash) for b, p in pools.items()])
    words_s, _ = timed(
        lambda: [
            p.reason(i, LIMITS, flash, good[b], chosen[n])
            for n, (b, p) in enumerate(pools.items())
            for i in range(1000)
        ]
    )
    result = {
        "versions": args.versions,
        "boards": args.boards,
        "sufficient_mean": float(np.mean([g.sum() for g in good.values()])),
        "load_s": load_s,
        "choose_all_boards_s": choose_s,
        "choose_all_boards_by_cost_s": cost_s,
        "choose_fleet_s": fleet_s,
        "fleet_found": fleet is not None,
        "pareto_all_boards_s": front_s,
        "pareto_mean": float(np.mean([len(f) for f in fronts])),
        "reasons_per_1000_a_board_s": words_s,
        "limit_s": LIMIT_S,
        "ratio_to_limit": choose_s / LIMIT_S,
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")
    for name, value in result.items():
        print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}")


if __name__ == "__main__":
    main()
