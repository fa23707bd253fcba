"""What each recipe saves and costs: flash, RAM, instructions and accuracy of seven nets.

    python bench/compression.py --json OUT [--net N ...] [--recipe R ...] [--nets DIR]
        [--shared DIR] [--limit N] [--epochs N] [--training N]

Three nets of 300 to 700 kB in float32, one just above 100 kB and three below 20 kB
(compression_nets.py; trained when they are not in --nets, about 10 minutes), each with every
recipe. Accuracy is of the native build on the 10,000 test images, with a 95 % interval (Wilson)
and the paired difference from float32 with its own (Tango). Flash, RAM and instructions are those
of firmware on qemu-cortex-m4, of one inference, compiled with `size` and, where that is of
interest, with `balanced`.

A row that stands in OUT and whose net, recipe, samples and code have not changed since is kept, so
that the bench can be stopped and goes on where it was. Recipes that train learn from the 54,000
images of the training split; --epochs and --training make that shorter, and the row says so. With
--shared the keyword spotters of MLPerf Tiny are compared with their sources as well.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import compression_nets as nets
import data
import numpy as np

from tinydeploy.cli import wiring
from tinydeploy.errors import TinydeployError
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, make_dataset
from tinydeploy.pipeline.evidence import compare
from tinydeploy.pipeline.prepare import prepare
from tinydeploy.pipeline.recipe import load_recipe, recipe_names
from tinydeploy.pipeline.source import load_source
from tinydeploy.store import sha256_file, sha256_json, write_atomic
from tinydeploy.tflite import read_graph
from tinydeploy.types import Artifact, Evaluation, InputDescription, Recipe, to_json

ROOT = Path(__file__).resolve().parents[1]
BOARD = "qemu-cortex-m4"
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
MARGIN = 0.01
PRUNED = (0.1, 0.2, 0.3, 0.4)
BOTH_LEVELS = ("float32", "int8")
SIZES = ("tflite_bytes", "engine_flash_bytes", "flash_bytes")


@dataclass(frozen=True)
class Task:
    """What one net is judged on: the sets, and how its inputs are described."""

    calibration: Dataset
    test: Dataset
    training: Dataset | None = None
    description: InputDescription | None = None


def wilson(value: float, samples: int) -> tuple[float, float]:
    """A 95 % interval of a share (Wilson, JASA 22, 1927, 209-212)."""
    z = NormalDist().inv_cdf(0.975)
    middle = (value + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(value * (1 - value) / samples + z * z / (4 * samples**2))
    return middle - half / (1 + z * z / samples), middle + half / (1 + z * z / samples)


def recipes(epochs: int | None) -> dict[str, Recipe]:
    """Every recipe by the name of its rows, float32 first; `pruned` at several shares."""
    found = {}
    for name in ("float32", *(n for n in recipe_names() if n not in ("float32", "as-is"))):
        recipe = load_recipe(name)
        if recipe.training and epochs:
            shorter = dataclasses.replace(recipe.training, epochs=epochs)
            recipe = dataclasses.replace(recipe, training=shorter)
        if name == "pruned":
            for share in PRUNED:
                found[f"pruned {share:.0%}"] = dataclasses.replace(recipe, pruned=share)
        else:
            found[name] = recipe
    return found


def fashion(limit: int, training: int) -> Task:
    """Fashion-MNIST."""
    x, y = data.load(data.DEBIAN, "train")
    test_x, test_y = data.load(data.DEBIAN, "t10k")

    def made(x: np.ndarray, y: np.ndarray) -> Dataset:
        return make_dataset(x, y, data.NAMES, data.DEBIAN)

    return Task(
        made(x[data.CALIBRATION], y[data.CALIBRATION]),
        made(test_x[:limit], test_y[:limit]),
        made(x[data.TRAINING][:training], y[data.TRAINING][:training]),
        PIXELS,
    )


def footprint(artifact: Artifact, task: Task, optimize: str) -> dict[str, Any]:
    """The firmware of an artifact, and one inference of it."""
    device = wiring.devices([BOARD])[BOARD]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        build = wiring.build_firmware(
            artifact.path, device, Path(scratch) / "build", engine="aot", optimize=optimize
        )
        graph = read_graph(artifact.path)
        first = prepare(task.test.x[:1], graph.tensors[graph.inputs[0]], task.description)
        _, measured = wiring.run_compared(build, device, [first])
        figures = wiring.figures(build, measured)
    return {
        "engine_flash_bytes": sum(
            figures["flash"][k] for k in ("weights", "tables", "engine_code")
        ),
        "flash_bytes": figures["flash_bytes"],
        "ram_bytes": figures["ram_bytes"],
        "instructions": figures["instructions"][0],
        "outputs_equal": measured.outputs_equal == measured.outputs_compared > 0,
    }


def measure(
    source: Path, name: str, recipe: Recipe, task: Task, reference: Evaluation | None
) -> tuple[dict[str, Any], Evaluation | None]:
    """One net with one recipe, in figures, or why not."""
    result: dict[str, Any] = {"net": source.stem, "recipe": name}
    training = task.training if recipe.training else None
    if recipe.training and training:
        result |= {"epochs": recipe.training.epochs, "training_samples": len(training.x)}
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        try:
            artifact = convert(
                load_source(source), recipe, Path(scratch), calibration=task.calibration,
                training=training, description=task.description, progress=say,
            )  # fmt: skip
            evaluation = wiring.evaluate(artifact, task.test, "aot")
            levels = ("balanced", "size") if name in BOTH_LEVELS else ("size",)
            result["levels"] = {level: footprint(artifact, task, level) for level in levels}
        except TinydeployError as error:
            return {**result, "refused": error.message}, None
    result |= {
        "tflite_bytes": artifact.size_bytes,
        "accuracy": evaluation.value,
        "samples": evaluation.samples,
        "interval": wilson(evaluation.value, evaluation.samples),
    }
    if reference is not None:
        evidence = compare(reference, evaluation, MARGIN, 0.975, "float32")
        result["paired"] = evidence if isinstance(evidence, str) else asdict(evidence)
    return result, evaluation


class Table:
    """The rows of OUT: kept while what they came from is unchanged, written one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        stored = json.loads(path.read_text())["rows"] if path.exists() else []
        self.rows = {(r["net"], r["recipe"]): r for r in stored}

    def row(self, key: tuple[str, str], identity: str, make: Callable[[], dict[str, Any]]) -> None:
        """The row of a net and a recipe, as it stands or made anew; shown."""
        if self.rows.get(key, {}).get("identity") != identity:
            self.rows[key] = {**make(), "identity": identity}
            self.write()
        show(self.rows[key])

    def ratios(self) -> dict[str, dict[str, float]]:
        """float32 over int8, by net, at the level `size`."""
        found = {}
        for net in sorted({net for net, _ in self.rows}):
            both = [self.rows.get((net, r), {"refused": ""}) for r in ("float32", "int8")]
            if any("refused" in r for r in both):
                continue
            a, b = ({**r, **r["levels"]["size"]} for r in both)
            found[net] = {key: a[key] / b[key] for key in SIZES}
        return found

    def write(self) -> None:
        """OUT, whole or not at all."""
        result = {
            "board": BOARD, "rows": list(self.rows.values()), "float_over_int8": self.ratios()
        }  # fmt: skip
        write_atomic(self.path, json.dumps(to_json(result), indent=2) + "\n")


def say(text: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def fill(
    table: Table, source: Path, chosen: dict[str, Recipe], task: Task, more: dict[str, Any]
) -> None:
    """All rows of a net. float32 is run first where anything is missing: others are paired."""
    reference: list[Evaluation] = []

    def make(name: str) -> dict[str, Any]:
        if name != "float32" and not reference:
            run_reference()
        say(f"{source.stem}: {name}")
        paired = reference[0] if reference and name != "float32" else None
        figures, evaluation = measure(source, name, chosen[name], task, paired)
        if name == "float32" and evaluation is not None:
            reference.append(evaluation)
        return figures | more

    def run_reference() -> None:
        say(f"{source.stem}: float32, to compare with")
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            artifact = convert(
                load_source(source), load_recipe("float32"), Path(scratch),
                calibration=task.calibration, description=task.description,
            )  # fmt: skip
            reference.append(wiring.evaluate(artifact, task.test, "aot"))

    for name, recipe in chosen.items():
        of = {
            "source": sha256_file(source) if source.is_file() else str(source),
            "recipe": to_json(recipe),
            "samples": [len(task.calibration.x), len(task.test.x)],
            "training": len(task.training.x) if recipe.training and task.training else 0,
            "code": wiring.fingerprints(),
        }
        table.row((source.stem, name), sha256_json(of), lambda name=name: make(name))


def keyword_spotters(table: Table, shared: Path, chosen: dict[str, Recipe]) -> None:
    """MLPerf Tiny's keyword spotters: calibrated on 200 samples, judged on the other 800."""
    with np.load(shared / "data/kws01.npz", allow_pickle=False) as archive:
        x = (archive["x"].astype(np.float32) - 83) * np.float32(0.584703)
        y = archive["y"]
    models = shared / "models/mlperf_tiny"
    for name in ("kws_model.h5", "kws_ref_model_savedmodel", "kaijiang_kws_ref_model.onnx"):
        shaped = x.reshape(len(x), -1) if name.endswith(".onnx") else x
        task = Task(
            make_dataset(shaped[:200], y[:200], (), shared),
            make_dataset(shaped[200:], y[200:], (), shared),
        )
        wanted = ("float32", "int8", "int8-mse", "int16x8")
        onnx = name.endswith(".onnx")
        more = {"onnxruntime_right": _onnxruntime(models / name, task.test)} if onnx else {}
        fill(table, models / name, {r: v for r, v in chosen.items() if r in wanted}, task, more)


def _onnxruntime(path: Path, test: Dataset) -> int:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = [int(session.run(None, {name: x[np.newaxis]})[0][0].argmax()) for x in test.x]
    return int((np.array(found) == test.y).sum())


def show(figures: dict[str, Any]) -> None:
    """The lines of a row: one a level."""
    head = f"{figures['net']:24} {figures['recipe']:16}"
    if "refused" in figures:
        print(f"{head} refused: {figures['refused'][:110]}", flush=True)
        return
    loss = ""
    if isinstance(paired := figures.get("paired"), dict):
        loss = f"loss {100 * paired['loss']:+.2f} [{100 * paired['lower']:+.2f}, "
        loss += f"{100 * paired['upper']:+.2f}]"
    if "epochs" in figures:
        loss += f" ({figures['epochs']} epochs of {figures['training_samples']:,})"
    if "onnxruntime_right" in figures:
        loss += f" onnxruntime {figures['onnxruntime_right']}"
    low, high = figures["interval"]
    for level, of in figures["levels"].items():
        print(
            f"{head} {level:8} {figures['tflite_bytes']:9,} {of['engine_flash_bytes']:9,} "
            f"{of['flash_bytes']:9,} {of['ram_bytes']:8,} {of['instructions']:12,} "
            f"{100 * figures['accuracy']:6.2f} [{100 * low:.2f}, {100 * high:.2f}] {loss}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--net", action="append", choices=nets.NAMES, help="only these nets")
    parser.add_argument("--recipe", action="append", help="only these recipes")
    parser.add_argument("--nets", type=Path, default=ROOT / "build/compression")
    parser.add_argument("--shared", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int, default=10_000, help="test images")
    parser.add_argument("--epochs", type=int, help="of recipes that train")
    parser.add_argument("--training", type=int, default=54_000, help="training images")
    args = parser.parse_args()
    chosen = recipes(args.epochs)
    if args.recipe:
        chosen = {k: v for k, v in chosen.items() if k in args.recipe or v.name in args.recipe}
    names = tuple(args.net or nets.NAMES)
    nets.trained(args.nets, names, say)
    table, task = Table(args.json), fashion(args.limit, args.training)
    print(
        f"{'net':24} {'recipe':16} {'level':8} {'.tflite B':>9} {'engine B':>9} {'flash B':>9} "
        f"{'RAM B':>8} {'instructions':>12} accuracy % [95 %]; loss to float32, points [95 %]"
    )
    for name in names:
        fill(table, args.nets / f"{name}.keras", chosen, task, {})
    if args.shared:
        keyword_spotters(table, args.shared, chosen)
    for net, ratio in table.ratios().items():
        print(f"{net}: float32 over int8: " + ", ".join(f"{k} {v:.2f}" for k, v in ratio.items()))
    table.write()


if __name__ == "__main__":
    main()
