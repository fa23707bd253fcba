"""Half of the work in four ways: the recipes pruned-channels and distill against plain training.

    python bench/narrower.py --json OUT [--source NET] [--epochs N] [--work DIR]

A net of examples/fashion_mnist is made narrower until half of its multiply-accumulates are left;
all are trained for as many epochs on the same images, with Adam and the same cosine:

    source           int8, as it is
    pruned-channels  the recipe: channels of least Taylor importance removed in rounds
    distill          the recipe: every layer narrowed by one factor, taught by the source
    uniform          narrowed in the same way with the source's weights, trained on the labels
    alone            the same widths with fresh weights, trained on the labels

Accuracy is that of the int8 firmware's native build on the 10,000 test images, with a 95 % interval
(Wilson) and the paired loss against the source with its 95 % interval (Tango). Flash, RAM and
instructions are those of one inference on qemu-cortex-m4. One seed: figures that differ by less
than half a point may be chance. Rows are kept in OUT and training in --work, so that a run that was
stopped goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/fashion_mnist"))

import data as fashion  # noqa: E402
from compression import wilson  # noqa: E402

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.graph_stats import total_macs  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.convert.keras_load import load_model  # noqa: E402
from tinydeploy.pipeline.data import Dataset, make_dataset  # noqa: E402
from tinydeploy.pipeline.evidence import compare  # noqa: E402
from tinydeploy.pipeline.prepare import prepare  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.pipeline.train.cut import cut  # noqa: E402
from tinydeploy.pipeline.train.distill import fresh  # noqa: E402
from tinydeploy.pipeline.train.importance import importance  # noqa: E402
from tinydeploy.pipeline.train.job import Job  # noqa: E402
from tinydeploy.pipeline.train.layout import layout  # noqa: E402
from tinydeploy.pipeline.train.libraries import save  # noqa: E402
from tinydeploy.pipeline.train.removal import narrowed  # noqa: E402
from tinydeploy.pipeline.train.tune import cosine, fit  # noqa: E402
from tinydeploy.pipeline.train.work import macs  # noqa: E402
from tinydeploy.store import write_json  # noqa: E402
from tinydeploy.tflite import read_graph  # noqa: E402
from tinydeploy.types import Artifact, Evaluation, InputDescription, Training  # noqa: E402

BOARD = "qemu-cortex-m4"
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
ARMS = ("source", "pruned-channels", "distill", "uniform", "alone")
MARGIN = 0.01


def sets(samples: int) -> dict[str, Dataset]:
    x, y = fashion.load(fashion.DEBIAN, "train")
    test = fashion.load(fashion.DEBIAN, "t10k")
    parts = {
        "training": (x[:samples], y[:samples]),
        "calibration": (x[fashion.CALIBRATION], y[fashion.CALIBRATION]),
        "test": test,
    }
    return {k: make_dataset(*v, fashion.NAMES, fashion.DEBIAN) for k, v in parts.items()}


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def made(
    arm: str, source: Path, epochs: int, rate: float, data: dict[str, Dataset], work: Path
) -> Artifact:
    """The int8 model of an arm; training goes on where it was stopped."""
    recipe = load_recipe(arm if arm in ("pruned-channels", "distill") else "int8")
    if recipe.training is not None:
        recipe = dataclasses.replace(
            recipe,
            training=dataclasses.replace(recipe.training, epochs=epochs, learning_rate=rate),
        )
    elif arm != "source":
        source = narrower(arm, source, epochs, rate, data["training"], work)
    return convert(
        load_source(source), recipe, work, calibration=data["calibration"],
        training=data["training"], description=PIXELS, progress=say,
    )  # fmt: skip


def narrower(
    arm: str, source: Path, epochs: int, rate: float, training: Dataset, work: Path
) -> Path:
    """The source narrowed uniformly to half, trained on the labels alone."""
    import keras

    settings = Training("distill", epochs=epochs, learning_rate=rate, macs=0.5)
    keras.utils.set_random_seed(settings.seed)
    folder = work / arm
    folder.mkdir(exist_ok=True)
    model = load_model(source)

    def report(stage: str, done: int, total: int, found: str) -> None:
        say(f"{stage} {done}/{total} {found}")

    x, y = training.x / np.float32(255), np.asarray(training.y, np.int64)
    job = Job(arm, model, settings, "classify", x, y, folder, report)
    found = layout(model)
    half = narrowed(found, importance(job, model, found), 0.5 * macs(model))
    student = cut(model, half)
    if arm == "alone":
        student = fresh(student)
    fit(job, student, arm, epochs, learning_rate=cosine(job, student, epochs))
    path: Path = save(student, folder / f"{arm}.keras")
    return path


def measure(artifact: Artifact, test: Dataset, work: Path) -> tuple[dict[str, Any], Evaluation]:
    """Accuracy of the native build, and what the firmware takes on the board."""
    device = wiring.devices([BOARD])[BOARD]
    build = wiring.build_firmware(
        artifact.path, device, work / "build", engine="aot", optimize="balanced"
    )
    graph = read_graph(artifact.path)
    inputs = [prepare(test.x[:1], graph.tensors[graph.inputs[0]], PIXELS)]
    _, measured = wiring.run_compared(build, device, inputs)
    figures = wiring.figures(build, measured)
    evaluation = wiring.evaluate(artifact, test, "aot")
    return {
        "accuracy": evaluation.value,
        "interval": wilson(evaluation.value, evaluation.samples),
        "macs": total_macs(graph),
        "tflite_bytes": artifact.size_bytes,
        "flash_bytes": figures["flash_bytes"],
        "ram_bytes": figures["ram_bytes"],
        "arena_bytes": figures["arena_bytes"],
        "instructions": figures["instructions"][0],
        "outputs_equal": measured.outputs_equal == measured.outputs_compared > 0,
    }, evaluation


def show(row: dict[str, Any]) -> None:
    low, high = (100 * v for v in row["interval"])
    loss = ""
    if paired := row.get("paired"):
        loss = f"{100 * paired['loss']:+.2f} [{100 * paired['lower']:+.2f}, "
        loss += f"{100 * paired['upper']:+.2f}]"
    print(
        f"{row['arm']:16} {row['macs']:10,} {100 * row['accuracy']:6.2f} [{low:.2f}, {high:.2f}] "
        f"{loss:22} {row['flash_bytes']:8,} {row['ram_bytes']:7,} {row['arena_bytes']:7,} "
        f"{row['instructions']:11,}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--source", default="medium", choices=("small", "medium", "large"))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--samples", type=int, default=54_000)
    parser.add_argument("--work", type=Path, default=ROOT / "build/narrower", metavar="DIR")
    args = parser.parse_args()
    work = args.work / args.source
    work.mkdir(parents=True, exist_ok=True)
    os.environ["TINYDEPLOY_CACHE"] = str((args.work / "cache").resolve())
    settings = {
        "source": args.source,
        "epochs": args.epochs,
        "learning_rate": args.learning_rate,
        "samples": args.samples,
    }
    done: dict[str, Any] = {"settings": settings, "board": BOARD, "rows": []}
    if args.json.exists():
        done = json.loads(args.json.read_text(encoding="utf-8"))
        if done["settings"] != settings:
            parser.error(f"{args.json} is of other settings: {done['settings']}")
    print(
        f"{'net':16} {'MACs':>10} {'int8 %':>6} {'95 %':14} {'loss, points':22} {'flash B':>8} "
        f"{'RAM B':>7} {'arena B':>7} {'instructions':>11}"
    )
    data = sets(args.samples)
    source = ROOT / "examples/fashion_mnist" / f"{args.source}.keras"
    rows = {row["arm"]: row for row in done["rows"]}
    reference = None
    for arm in ARMS:
        if arm in rows and arm != "source":
            show(rows[arm])
            continue
        row, evaluation = measure(
            made(arm, source, args.epochs, args.learning_rate, data, work), data["test"], work
        )
        if arm == "source":
            reference = evaluation
        elif reference is not None:
            evidence = compare(reference, evaluation, MARGIN, 0.975, "source")
            if not isinstance(evidence, str):
                row["paired"] = dataclasses.asdict(evidence)
        rows[arm] = {"arm": arm, **row}
        done["rows"] = list(rows.values())
        write_json(args.json, done)
        show(rows[arm])


if __name__ == "__main__":
    main()
