"""One supernet for six budgets, each of its nets against the same net trained alone.

    python bench/once_for_all.py --json OUT [--work DIR] [--samples N] [--epochs N]

A family of 24 nets is trained once on Fashion-MNIST. For each budget of multiply-accumulates and
tensor arena the net with the best validation accuracy is cut out, and tuned for --tune epochs more.
It is trained alone from scratch as well: the same samples, batches and epochs as the supernet. Test
accuracy is that of the float nets and of their int8 variants on all 10,000 test images; flash, RAM
and instructions are those of firmware on qemu-cortex-m4. About 20 minutes on a core; what a killed
run had done is kept, and an interrupted training goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from compression import BOARD, PIXELS, ROOT, fashion, measure

from tinydeploy.cli import wiring
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.supernet import Net, nets_of, train_supernet
from tinydeploy.pipeline.supernet.space import Space, alone
from tinydeploy.pipeline.train import trained
from tinydeploy.store import write_json
from tinydeploy.types import ModelSource, Recipe, Training

TUNING_RATE = 5e-3

# Most multiply-accumulates, and most bytes of tensor arena as int8.
BUDGETS = (
    (50_000, 2_500),
    (120_000, 5_000),
    (300_000, 7_500),
    (500_000, 10_000),
    (900_000, 13_000),
    (2_000_000, 20_000),
)


def splits(samples: int) -> tuple[Dataset, Dataset]:
    """Training and validation set."""
    import data

    x, y = data.load(data.DEBIAN, "train")
    return (
        make_dataset(x[:samples], y[:samples], data.NAMES, data.DEBIAN),
        make_dataset(x[data.VALIDATION], y[data.VALIDATION], data.NAMES, data.DEBIAN),
    )


def accuracy(net: Path, data: Dataset) -> float:
    """Share of images whose most probable class is the label, of the float net in Keras."""
    import keras
    import numpy as np

    x = data.x / np.float32(255)
    found = keras.models.load_model(net).predict(x, batch_size=500, verbose=0)
    return float((found.argmax(axis=1) == data.y).mean())


def tuned(net: ModelSource, data: Dataset, epochs: int) -> ModelSource:
    """The net after some epochs on its own."""
    training = Training("tune", epochs=epochs, learning_rate=TUNING_RATE)
    recipe = Recipe("tuned", "Trained further alone.", "float32", "float32", training=training)
    return trained(net, recipe, data, PIXELS, "classify", say)


def arena(net: Path, calibration: Dataset) -> int:
    """Bytes of tensor arena as int8, from the compiler's plan."""
    device = wiring.devices([BOARD])[BOARD]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        from tinydeploy.pipeline.source import load_source

        artifact = convert(
            load_source(net), load_recipe("int8"), Path(scratch),
            calibration=calibration, description=PIXELS,
        )  # fmt: skip
        compiled = wiring.compiler().compile(artifact.path, Path(scratch) / "c", device=device)
    return int(compiled.arena_bytes)


def chosen(nets: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The best net by validation accuracy for each budget; of equals the one that computes less."""
    found = []
    for most_macs, most_arena in BUDGETS:
        fitting = [
            n for n in nets.values() if n["macs"] <= most_macs and n["arena_bytes"] <= most_arena
        ]
        best = max(fitting, key=lambda n: (n["validation"], -n["macs"]))
        found.append({"max_macs": most_macs, "max_arena_bytes": most_arena, **best})
    return found


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--work", type=Path, default=ROOT / "build/once_for_all")
    parser.add_argument("--samples", type=int, default=30_000, help="training images")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--tune", type=int, default=10, help="epochs of each chosen net alone")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    space = Space()
    training = Training("supernet", epochs=args.epochs, learning_rate=5e-3)
    train, validation = splits(args.samples)
    task = fashion(10_000, 1)
    calibration, test = task.calibration, task.test
    start = time.monotonic()
    supernet = args.work / "fashion.supernet"
    train_supernet(train, supernet, space, training, description=PIXELS, progress=say)
    kept = args.work / "rows.json"
    members = nets_of(supernet)
    rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    made_of = [members[0].sha256, args.tune]
    if rows.get("made_of") != made_of:
        rows = {"made_of": made_of, "nets": {}, "budgets": {}}
    for net in members:
        if net.name not in rows["nets"]:
            path = net.source().path
            rows["nets"][net.name] = {
                "net": net.name,
                "macs": net.macs,
                "arena_bytes": arena(path, calibration),
                "validation": accuracy(path, validation),
            }
            write_json(kept, rows)
            say(str(rows["nets"][net.name]))
    by_name: dict[str, Net] = {n.name: n for n in members}
    print(
        f"{'MACs <=':>9} {'arena <=':>8} {'net':22} {'MACs':>9} {'as cut':>6} {'tuned':>6} "
        f"{'alone':>6} {'points':>6} {'int8':>6} {'alone':>6} "
        f"{'flash B':>8} {'RAM B':>7} {'instructions':>12}"
    )
    for budget in chosen(rows["nets"]):
        name = budget["net"]
        if name not in rows["budgets"]:
            member = by_name[name]
            single = args.work / f"alone-{member.choice.name}.supernet"
            train_supernet(
                train, single, alone(space, member.choice), training,
                description=PIXELS, progress=say,
            )  # fmt: skip
            (own,) = nets_of(single)
            result: dict[str, Any] = {"untuned": accuracy(member.source().path, test)}
            for which, path in (
                ("extracted", tuned(member.source(), train, args.tune).path),
                ("alone", own.source().path),
            ):
                figures, _ = measure(path, "int8", load_recipe("int8"), task, None)
                result[which] = {
                    "test": accuracy(path, test),
                    "int8": {**figures, **figures["levels"]["balanced"]},
                }
            rows["budgets"][name] = result
            write_json(kept, rows)
        budget |= rows["budgets"][name]
        budget["points"] = 100 * (budget["extracted"]["test"] - budget["alone"]["test"])
        int8 = budget["extracted"]["int8"]
        print(
            f"{budget['max_macs']:9,} {budget['max_arena_bytes']:8,} {name:22} "
            f"{budget['macs']:9,} {100 * budget['untuned']:6.2f} "
            f"{100 * budget['extracted']['test']:6.2f} "
            f"{100 * budget['alone']['test']:6.2f} {budget['points']:+6.2f} "
            f"{100 * int8['accuracy']:6.2f} {100 * budget['alone']['int8']['accuracy']:6.2f} "
            f"{int8['flash_bytes']:8,} {int8['ram_bytes']:7,} {int8['instructions']:12,}",
            flush=True,
        )
        rows.setdefault("table", {})[f"{budget['max_macs']}"] = budget
    worst = min(b["points"] for b in rows["table"].values())
    distinct = len({b["net"] for b in rows["table"].values()})
    print(f"{distinct} nets; worst difference from the net trained alone: {worst:+.2f} points")
    result = {
        "board": BOARD,
        "space": asdict(space),
        "training": asdict(training),
        "tuning": {"epochs": args.tune, "learning_rate": TUNING_RATE},
        "samples": args.samples,
        "seconds": time.monotonic() - start,
        "budgets": list(rows["table"].values()),
        "nets": list(rows["nets"].values()),
    }
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
