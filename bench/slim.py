"""Widths found by the recipe `slim` against uniform ones, at equal multiply-accumulates.

    python bench/slim.py --json OUT [--seeds 5] [--macs 0.5] [--work DIR]

For each seed a depthwise-separable net is trained on the first 20,000 images of Fashion-MNIST; from
this source come three nets, and all are judged by the 10,000 test images:

    slim          what the recipe makes: `--epochs`, half of them slimmable
    uniform       every layer narrowed by one factor, multiply-accumulates within 2 percent of
                  slim's; as many steps of the optimizer, on the same samples
    uniform-long  the same widths; as many passes of a batch forward and back as slim computes: a
                  slimmable step has four of them

The channels that stay are chosen in the same way (`ranked`), batch normalization is recalibrated
alike, the batch, the peak of the learning rate and the cosine are the same. Printed are means over
the seeds, and the mean of the paired differences with a 95 % interval (Student's t). Figures of the
board are those of the recipe's int8 firmware on qemu-cortex-m4. About 20 minutes on one core; rows
are kept in OUT and training in --work, so that a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/fashion_mnist"))

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.data import make_dataset  # noqa: E402
from tinydeploy.pipeline.prepare import prepare  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.pipeline.train import slim  # noqa: E402
from tinydeploy.pipeline.train.cut import cut  # noqa: E402
from tinydeploy.pipeline.train.epochs import run_epochs  # noqa: E402
from tinydeploy.pipeline.train.job import Job  # noqa: E402
from tinydeploy.pipeline.train.libraries import adam, save, variables_of  # noqa: E402
from tinydeploy.pipeline.train.losses import task_loss  # noqa: E402
from tinydeploy.pipeline.train.masked import Masked, masked, ranked  # noqa: E402
from tinydeploy.pipeline.train.narrow import TRACE  # noqa: E402
from tinydeploy.pipeline.train.recalibrate import Recalibration  # noqa: E402
from tinydeploy.pipeline.train.tune import step_of, steps_of  # noqa: E402
from tinydeploy.pipeline.train.work import macs  # noqa: E402
from tinydeploy.store import write_json  # noqa: E402
from tinydeploy.tflite import read_graph  # noqa: E402
from tinydeploy.types import InputDescription, Training  # noqa: E402

BOARD = "qemu-cortex-m4"
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
STEM, BLOCKS = 24, ((40, 1), (64, 2), (80, 1), (80, 1))
SAMPLES = 20_000
SOURCE_EPOCHS = 5
PASSES = 4
"""Of a batch forward and back in a step of the slimmable net."""
ARMS = ("source", "slim", "uniform", "uniform-long")
NEAR = 0.02
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, 97.5 %, of 1 to 9 degrees of freedom."""


class Fashion:
    """The images; `x` in 0..1 as the nets take them."""

    def __init__(self) -> None:
        import data

        x, y = data.load(data.DEBIAN, "train")
        test_x, test_y = data.load(data.DEBIAN, "t10k")
        self.x, self.y = x[:SAMPLES] / np.float32(255), y[:SAMPLES].astype(np.int64)
        self.test = make_dataset(test_x, test_y, data.NAMES, data.DEBIAN)
        self.calibration = make_dataset(
            x[data.CALIBRATION], y[data.CALIBRATION], data.NAMES, data.DEBIAN
        )


def report(stage: str, done: int, total: int, found: str) -> None:
    print(f"  {stage} {done}/{total} {found}", file=sys.stderr, flush=True)


def source_of(job: Job) -> Any:
    """The net that the others are made from."""
    import keras
    import train

    keras.utils.set_random_seed(job.training.seed)
    model = train.build(train.Net(stem=STEM, blocks=BLOCKS, epochs=0, shift=0), "source")
    slim.fine_tune(job, model, "source", SOURCE_EPOCHS)
    return model


def uniform_widths(net: Masked, target: int) -> dict[str, int]:
    """One factor for all groups, so that the multiply-accumulates are nearest to `target`."""
    sizes = net.sizes()
    factors = sorted({(k + 0.5) / size for size in sizes.values() for k in range(size)})
    tried = [{n: max(1, math.floor(f * s + 0.5)) for n, s in sizes.items()} for f in factors]
    found = min(tried, key=lambda widths: abs(net.macs(widths) - target))
    if abs(net.macs(found) - target) > NEAR * target:
        raise SystemExit(f"no uniform widths have {target} multiply-accumulates within 2 %")
    return found


def uniform(job: Job, stage: str, target: int, passes: int) -> tuple[Any, dict[str, int]]:
    """Cut the source uniformly and train it; `passes` for each step of slim's first stage."""
    from keras.optimizers.schedules import CosineDecay

    learned, _ = job.held_out()
    net = ranked(masked(job.model), task_loss(job.model, job.task), learned.x, learned.y)
    widths = uniform_widths(net, target)
    model = cut(job.model, net.keep(widths))
    Recalibration(model, learned.x[:1024])()
    first, last = slim.stages(job.training.epochs)
    steps = steps_of(learned, passes * first) + steps_of(job, last)
    optimizer = adam(model, CosineDecay(job.training.learning_rate, steps))
    variables = variables_of(model, optimizer)
    step = step_of(model, optimizer, task_loss(model, job.task))
    run_epochs(learned, f"{stage}-1", variables, step, passes * first)
    run_epochs(job, f"{stage}-2", variables, step, last)
    return model, widths


def measure(model: Any, name: str, data: Fashion, folder: Path) -> dict[str, Any]:
    """Accuracy of the float net and of its int8 firmware, and what that takes on the board."""
    outputs = model.predict(data.test.x / np.float32(255), batch_size=500, verbose=0)
    path = save(model, folder / f"{name}.keras")
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        artifact = convert(
            load_source(path), load_recipe("int8"), Path(scratch),
            calibration=data.calibration, description=PIXELS,
        )  # fmt: skip
        device = wiring.devices([BOARD])[BOARD]
        build = wiring.build_firmware(
            artifact.path, device, Path(scratch) / "build", engine="aot", optimize="balanced"
        )
        graph = read_graph(artifact.path)
        inputs = [prepare(data.test.x[:1], graph.tensors[graph.inputs[0]], PIXELS)]
        _, measured = wiring.run_compared(build, device, inputs)
        figures = wiring.figures(build, measured)
        int8 = wiring.evaluate(artifact, data.test, "aot")
    return {
        "accuracy": float((outputs.argmax(1) == data.test.y).mean()),
        "int8_accuracy": int8.value,
        "macs": macs(model),
        "flash_bytes": figures["flash_bytes"],
        "engine_flash_bytes": sum(
            figures["flash"][k] for k in ("weights", "tables", "engine_code")
        ),
        "arena_bytes": figures["arena_bytes"],
        "instructions": figures["instructions"][0],
        "outputs_equal": measured.outputs_equal == measured.outputs_compared > 0,
    }


def row(arm: str, job: Job, source: Any, target: int, data: Fashion) -> dict[str, Any]:
    """One net of one seed, in figures."""
    from tinydeploy.pipeline.convert.keras_load import load_model

    if arm == "source":
        return measure(source, arm, data, job.folder)
    if arm == "slim":
        model = load_model(slim.run(job), trusted=False)
        trace = json.loads((job.folder / TRACE).read_text(encoding="utf-8"))
        widths = trace[-1]["widths"]
        return {**measure(model, arm, data, job.folder), "widths": widths, "trace": trace}
    model, widths = uniform(job, arm, target, PASSES if arm == "uniform-long" else 1)
    return {**measure(model, arm, data, job.folder), "widths": widths}


def seed_rows(seed: int, args: argparse.Namespace, data: Fashion, done: dict[str, Any]) -> None:
    """All arms of a seed that are not done yet; kept in the JSON file one by one."""
    missing = [a for a in ARMS if not any((r["seed"], r["arm"]) == (seed, a) for r in done["rows"])]
    if not missing:
        return
    training = Training(
        method="slim", epochs=args.epochs, learning_rate=3e-3, macs=args.macs, seed=seed
    )
    folder = args.work / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    first = Job("source", None, training, "classify", data.x, data.y, folder, report)
    source = source_of(first)
    job = replace(first, model=source, folder=folder / f"macs-{args.macs:g}")
    job.folder.mkdir(exist_ok=True)
    weights = source.get_weights()
    for arm in missing:
        source.set_weights(weights)  # slim leaves its own in it
        found = [r for r in done["rows"] if (r["seed"], r["arm"]) == (seed, "slim")]
        target = found[0]["macs"] if found else 0
        done["rows"].append({"seed": seed, "arm": arm, **row(arm, job, source, target, data)})
        write_json(args.json, done)
        show(done["rows"][-1])


def show(figures: dict[str, Any]) -> None:
    print(
        f"{figures['seed']:4} {figures['arm']:13} {figures['macs']:9,} "
        f"{100 * figures['accuracy']:7.2f} {100 * figures['int8_accuracy']:7.2f} "
        f"{figures['flash_bytes']:8,} {figures['engine_flash_bytes']:8,} "
        f"{figures['arena_bytes']:7,} {figures['instructions']:12,}  "
        + " ".join(str(v) for v in figures.get("widths", {}).values()),
        flush=True,
    )


def difference(rows: list[dict[str, Any]], arm: str, key: str) -> dict[str, float]:
    """Slim less `arm`, paired by seed: the mean and its 95 % interval (Student's t)."""
    of = {(r["seed"], r["arm"]): r[key] for r in rows}
    pairs = [of[s, "slim"] - of[s, arm] for s, a in of if a == arm]
    mean = statistics.mean(pairs)
    half = T_975[len(pairs) - 2] * statistics.stdev(pairs) / math.sqrt(len(pairs))
    return {"mean": mean, "low": mean - half, "high": mean + half, "pairs": len(pairs)}


def main() -> None:
    import tensorflow as tf

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 11), metavar="2..10")
    parser.add_argument("--macs", type=float, default=0.5, help="share that is left (0.5)")
    parser.add_argument("--epochs", type=int, default=10, help="of slim (10)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/slim", metavar="DIR")
    args = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    settings = {
        "board": BOARD, "stem": STEM, "blocks": [list(b) for b in BLOCKS], "samples": SAMPLES,
        "macs": args.macs, "epochs": args.epochs,
    }  # fmt: skip
    done: dict[str, Any] = {"settings": settings, "rows": []}
    if args.json.exists():
        done = json.loads(args.json.read_text(encoding="utf-8"))
        if done["settings"] != settings:
            parser.error(f"{args.json} is of other settings: {done['settings']}")
    print(
        f"{'seed':4} {'net':13} {'MACs':>9} {'float %':>7} {'int8 %':>7} {'flash B':>8} "
        f"{'engine B':>8} {'arena B':>7} {'instructions':>12}  widths"
    )
    for figures in done["rows"]:
        show(figures)
    data = Fashion()
    for seed in range(1, args.seeds + 1):
        seed_rows(seed, args, data, done)
    rows = [r for r in done["rows"] if r["seed"] <= args.seeds]
    keys = [k for k, v in rows[0].items() if isinstance(v, int | float) and k != "outputs_equal"]
    done["means"] = {
        arm: {k: statistics.mean(r[k] for r in rows if r["arm"] == arm) for k in keys[1:]}
        for arm in ARMS
    }
    done["slim_less"] = {
        arm: {key: difference(rows, arm, key) for key in ("accuracy", "int8_accuracy")}
        for arm in ARMS[2:]
    }
    write_json(args.json, done)
    for arm, means in done["means"].items():
        print(f"mean {arm:13} " + ", ".join(f"{k} {v:,.4f}" for k, v in means.items()))
    for arm, found in done["slim_less"].items():
        for key, d in found.items():
            print(
                f"slim less {arm}, {key}: {100 * d['mean']:+.2f} points "
                f"[{100 * d['low']:+.2f}, {100 * d['high']:+.2f}], {d['pairs']} seeds"
            )


if __name__ == "__main__":
    main()
