"""How many calibration samples a model needs: accuracy and ranges over 10 to 1,000 samples.

    python bench/calibration.py --json OUT [--limit N] [--draws N]

Nets and data of examples/fashion_mnist, from the Debian package. Each number of samples is drawn
several times (seeded) from 6,000 images that the nets were not trained on, for each way to find
ranges: `int8` is TensorFlow's quantizer, `int8-percentile` and `int8-mse` are litert-quantizer.
Accuracy is that of the native build on the test images, its difference is from the float model.
`moved` is the largest move of an end of an activation's range against the first draw of 1,000, as
a share of the range.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/fashion_mnist"
sys.path.insert(0, str(EXAMPLE))

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.convert.calibration import range_change  # noqa: E402
from tinydeploy.pipeline.data import make_dataset  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.tflite import read_graph  # noqa: E402
from tinydeploy.types import InputDescription  # noqa: E402

COUNTS = (1000, 300, 100, 30, 10)
RECIPES = ("int8", "int8-percentile", "int8-mse")
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def rows(net: Path, draws: int, limit: int, folder: Path) -> list[dict[str, Any]]:
    """A row a recipe and number of samples."""
    import data

    x, y = data.load(data.DEBIAN, "train")
    unseen, labels = x[data.TRAINING.stop :], y[data.TRAINING.stop :]
    test_x, test_y = data.load(data.DEBIAN, "t10k")
    test = make_dataset(test_x[:limit], test_y[:limit], data.NAMES, data.DEBIAN)
    source = load_source(net)
    float32 = convert(source, load_recipe("float32"), folder, description=PIXELS)
    reference = wiring.evaluate(float32, test, "aot").value
    found = []
    for name in RECIPES:
        most = None
        for count in COUNTS:
            values, moves = [], []
            for draw in range(draws):
                chosen = np.random.default_rng([draw, count]).permutation(len(unseen))[:count]
                samples = make_dataset(unseen[chosen], labels[chosen], data.NAMES, data.DEBIAN)
                recipe = replace(load_recipe(name), calibration_samples=count)
                artifact = convert(source, recipe, folder, calibration=samples, description=PIXELS)
                graph = read_graph(artifact.path)
                most = most or graph
                moves.append(range_change(most, graph)[0])
                values.append(wiring.evaluate(artifact, test, "aot").value)
            found.append(
                {
                    "net": net.stem,
                    "recipe": name,
                    "samples": count,
                    "float_accuracy": reference,
                    "accuracy": values,
                    "moved": moves,
                }
            )
            show(found[-1])
    return found


def show(row: dict[str, Any]) -> None:
    """A line of the table."""
    differences = [100 * (v - row["float_accuracy"]) for v in row["accuracy"]]
    print(
        f"{row['net']:8} {row['recipe']:16} {row['samples']:7,} "
        f"{100 * float(np.mean(row['accuracy'])):8.2f} {np.mean(differences):+7.2f} "
        f"{min(differences):+7.2f} {max(differences):+7.2f} {100 * max(row['moved']):8.1f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--limit", type=int, default=10_000, help="test images")
    parser.add_argument("--draws", type=int, default=3, help="of samples, for each number of them")
    parser.add_argument("--nets", nargs="+", default=["small", "medium", "large"])
    args = parser.parse_args()
    print(
        f"{'net':8} {'recipe':16} {'samples':>7} {'accuracy':>8} {'mean':>7} {'worst':>7} "
        f"{'best':>7} {'moved':>10}   points from float32; moved: at most"
    )
    found = []
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        for net in args.nets:
            found += rows(EXAMPLE / f"{net}.keras", args.draws, args.limit, Path(scratch))
    args.json.write_text(json.dumps({"draws": args.draws, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
