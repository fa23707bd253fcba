"""What each recipe saves and costs: flash, RAM, instructions and accuracy of six nets.

    python bench/compression.py --json OUT [--nets DIR] [--shared DIR] [--limit N]

Three nets whose float .tflite is over 100 kB and three below 20 kB, trained here on Fashion-MNIST
(seeded; kept in --nets, about 10 minutes the first time), each with every recipe. Accuracy is of
the native build on the 10,000 test images, with a 95 % interval (Wilson) and the paired difference
from float32 with its 95 % interval (Tango). Flash, RAM and instructions are those of firmware on
qemu-cortex-m4, of one inference; recipes that change weights are compiled with --optimize size,
for which they are made, the others with balanced. With --shared the keyword spotters of MLPerf
Tiny are compared with their sources as well.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "examples/fashion_mnist"))

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.errors import TinydeployError  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.data import Dataset, make_dataset  # noqa: E402
from tinydeploy.pipeline.evidence import compare  # noqa: E402
from tinydeploy.pipeline.prepare import prepare  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe, recipe_names  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.tflite import read_graph  # noqa: E402
from tinydeploy.types import Evaluation, InputDescription  # noqa: E402

BOARD = "qemu-cortex-m4"
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
MARGIN = 0.01

# name: stem channels, (channels, stride) of each block, epochs
NETS = {
    "large-1": (24, ((48, 1), (64, 2), (96, 1), (96, 1), (96, 1)), 4),
    "large-2": (24, ((48, 1), (64, 2), (96, 1), (96, 1), (128, 1)), 4),
    "large-3": (32, ((64, 1), (96, 2), (128, 1), (128, 1)), 4),
    "small-1": (6, ((12, 1), (16, 2), (24, 1)), 4),
    "small-2": (8, ((16, 1), (24, 2), (24, 1)), 4),
    "small-3": (8, ((16, 1), (32, 2), (40, 1)), 4),
}
SIZE_RECIPES = ("clustered", "pruned", "int4-weights")


def wilson(value: float, samples: int) -> tuple[float, float]:
    """A 95 % interval of a share (Wilson, JASA 22, 1927, 209-212)."""
    z = NormalDist().inv_cdf(0.975)
    middle = (value + z * z / (2 * samples)) / (1 + z * z / samples)
    half = z * math.sqrt(value * (1 - value) / samples + z * z / (4 * samples**2))
    return middle - half / (1 + z * z / samples), middle + half / (1 + z * z / samples)


def trained(folder: Path) -> None:
    """Train what is not in `folder` yet."""
    import data
    import train

    missing = [name for name in NETS if not (folder / f"{name}.keras").exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    x, y = data.load(data.DEBIAN, "train")
    for name in missing:
        print(f"training {name}", file=sys.stderr, flush=True)
        stem, blocks, epochs = NETS[name]
        net = train.Net(stem=stem, blocks=blocks, epochs=epochs, shift=0)
        model = train.train(net, name, x[data.TRAINING], y[data.TRAINING])
        model.save(folder / f"{name}.keras")


def fashion(limit: int) -> tuple[Dataset, Dataset]:
    """Calibration and test set."""
    import data

    x, y = data.load(data.DEBIAN, "train")
    test_x, test_y = data.load(data.DEBIAN, "t10k")
    return (
        make_dataset(x[data.CALIBRATION], y[data.CALIBRATION], data.NAMES, data.DEBIAN),
        make_dataset(test_x[:limit], test_y[:limit], data.NAMES, data.DEBIAN),
    )


def row(
    source: Path,
    recipe: str,
    calibration: Dataset,
    test: Dataset,
    description: InputDescription | None,
    folder: Path,
    reference: Evaluation | None,
) -> tuple[dict[str, Any], Evaluation | None]:
    """One net with one recipe, in figures, or why not."""
    optimize = "size" if recipe in SIZE_RECIPES else "balanced"
    result: dict[str, Any] = {"net": source.stem, "recipe": recipe, "optimize": optimize}
    try:
        artifact = convert(
            load_source(source), load_recipe(recipe), folder,
            calibration=calibration, description=description,
        )  # fmt: skip
        evaluation = wiring.evaluate(artifact, test, "aot")
        device = wiring.devices([BOARD])[BOARD]
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            build = wiring.build_firmware(
                artifact.path, device, Path(scratch) / "build", engine="aot", optimize=optimize
            )
            graph = read_graph(artifact.path)
            inputs = [prepare(test.x[:1], graph.tensors[graph.inputs[0]], description)]
            _, measured = wiring.run_compared(build, device, inputs)
            figures = wiring.figures(build, measured)
    except TinydeployError as error:
        return {**result, "refused": error.message}, None
    low, high = wilson(evaluation.value, evaluation.samples)
    result.update(
        tflite_bytes=artifact.size_bytes,
        engine_flash_bytes=sum(figures["flash"][k] for k in ("weights", "tables", "engine_code")),
        flash_bytes=figures["flash_bytes"],
        ram_bytes=figures["ram_bytes"],
        instructions=figures["instructions"][0],
        outputs_equal=measured.outputs_equal == measured.outputs_compared > 0,
        accuracy=evaluation.value,
        samples=evaluation.samples,
        interval=[low, high],
    )
    if reference is not None:
        evidence = compare(reference, evaluation, MARGIN, 0.975, "float32")
        result["paired"] = evidence if isinstance(evidence, str) else asdict(evidence)
    return result, evaluation


def keyword_spotters(shared: Path, folder: Path) -> list[dict[str, Any]]:
    """MLPerf Tiny's keyword spotters: calibrated on 200 samples, judged on the other 800."""
    with np.load(shared / "data/kws01.npz", allow_pickle=False) as archive:
        x = (archive["x"].astype(np.float32) - 83) * np.float32(0.584703)
        y = archive["y"]
    models = shared / "models/mlperf_tiny"
    rows = []
    for name in ("kws_model.h5", "kws_ref_model_savedmodel", "kaijiang_kws_ref_model.onnx"):
        shaped = x.reshape(len(x), -1) if name.endswith(".onnx") else x
        calibration = make_dataset(shaped[:200], y[:200], (), shared)
        test = make_dataset(shaped[200:], y[200:], (), shared)
        reference = None
        for recipe in ("float32", "int8", "int8-mse", "int16x8"):
            figures, evaluation = row(
                models / name, recipe, calibration, test, None, folder, reference
            )
            if recipe == "float32":
                reference = evaluation
            if name.endswith(".onnx"):
                figures["onnxruntime_right"] = _onnxruntime(models / name, test)
            rows.append(figures)
            show(figures)
    return rows


def _onnxruntime(path: Path, test: Dataset) -> int:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    found = [int(session.run(None, {name: x[np.newaxis]})[0][0].argmax()) for x in test.x]
    return int((np.array(found) == test.y).sum())


def show(figures: dict[str, Any]) -> None:
    """A line of the table."""
    head = f"{figures['net']:26} {figures['recipe']:16}"
    if "refused" in figures:
        print(f"{head} refused: {figures['refused'][:110]}", flush=True)
        return
    paired = figures.get("paired")
    loss = ""
    if isinstance(paired, dict):
        loss = f"loss {100 * paired['loss']:+.2f} [{100 * paired['lower']:+.2f}, "
        loss += f"{100 * paired['upper']:+.2f}]"
    right = f" onnxruntime {figures['onnxruntime_right']}" if "onnxruntime_right" in figures else ""
    print(
        f"{head} {figures['tflite_bytes']:9,} {figures['engine_flash_bytes']:9,} "
        f"{figures['flash_bytes']:9,} {figures['ram_bytes']:8,} {figures['instructions']:12,} "
        f"{100 * figures['accuracy']:6.2f} [{100 * figures['interval'][0]:.2f}, "
        f"{100 * figures['interval'][1]:.2f}] {loss}{right}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--nets", type=Path, default=ROOT / "build/compression")
    parser.add_argument("--shared", type=Path, metavar="DIR")
    parser.add_argument("--limit", type=int, default=10_000, help="test images")
    args = parser.parse_args()
    trained(args.nets)
    calibration, test = fashion(args.limit)
    recipes = ["float32", *(n for n in recipe_names() if n not in ("float32", "as-is"))]
    print(
        f"{'net':26} {'recipe':16} {'.tflite B':>9} {'engine B':>9} {'flash B':>9} {'RAM B':>8} "
        f"{'instructions':>12} accuracy % [95 %]; loss against float32, points [95 %]"
    )
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        for name in NETS:
            reference = None
            for recipe in recipes:
                figures, evaluation = row(
                    args.nets / f"{name}.keras", recipe, calibration, test, PIXELS,
                    Path(scratch), reference,
                )  # fmt: skip
                if recipe == "float32":
                    reference = evaluation
                rows.append(figures)
                show(figures)
        if args.shared:
            rows += keyword_spotters(args.shared, Path(scratch))
    ratios = {}
    for name in NETS:
        mine = {r["recipe"]: r for r in rows if r["net"] == name and "refused" not in r}
        ratios[name] = {
            key: mine["float32"][key] / mine["int8"][key]
            for key in ("tflite_bytes", "engine_flash_bytes", "flash_bytes")
        }
        print(
            f"{name}: float32 over int8: "
            + ", ".join(f"{k} {v:.2f}" for k, v in ratios[name].items())
        )
    result = {"board": BOARD, "rows": rows, "float_over_int8": ratios}
    args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
