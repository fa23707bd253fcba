"""What quantization-aware training gains over quantization after training.

    python bench/qat.py --json OUT [--shared DIR] [--work DIR] [--limit N]

Four nets, each in float32, as `int8`, as `int8-qat`, and as `int8` after the same further training
in float ("tuned"): the difference of the last two is what the fake quantization itself does. The
nets of examples/fashion_mnist train on its 54,000 training images and are judged by the 10,000 test
images; with --shared the keyword spotter of MLPerf Tiny trains on the first 200 of kws01 (little,
and drawn as the other 800 are, by which it is judged). `right` counts samples, of the native build;
the loss against float32 has its 95 % interval (Tango). Trainings are kept in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/fashion_mnist"
sys.path.insert(0, str(EXAMPLE))

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.data import Dataset, make_dataset  # noqa: E402
from tinydeploy.pipeline.evidence import compare  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.types import Evaluation, InputDescription  # noqa: E402

PIXELS = InputDescription(dtype="uint8", scale=1 / 255)
TUNED = """name = "tuned"
description = "int8 of a net that was trained further as it is."
activations = "int8"
weights = "int8"
calibration_samples = 300

[training]
method = "tune"
epochs = {epochs}
batch = {batch}
learning_rate = {learning_rate}
"""


def fashion(limit: int) -> dict[str, Dataset]:
    """Training, calibration and test set."""
    import data

    x, y = data.load(data.DEBIAN, "train")
    test = data.load(data.DEBIAN, "t10k")
    parts = {
        "training": (x[data.TRAINING][:limit], y[data.TRAINING][:limit]),
        "calibration": (x[data.CALIBRATION], y[data.CALIBRATION]),
        "test": (test[0][:limit], test[1][:limit]),
    }
    return {k: make_dataset(x, y, data.NAMES, data.DEBIAN) for k, (x, y) in parts.items()}


def keyword_spotting(shared: Path) -> dict[str, Dataset]:
    """The same of kws01; the samples that train calibrate as well."""
    with np.load(shared / "data/kws01.npz", allow_pickle=False) as archive:
        x = (archive["x"].astype(np.float32) - 83) * np.float32(0.584703)
        y = archive["y"]
    first = make_dataset(x[:200], y[:200], (), shared)
    rest = make_dataset(x[200:], y[200:], (), shared)
    return {"training": first, "calibration": first, "test": rest}


def rows(
    net: Path, sets: dict[str, Dataset], description: InputDescription | None, tuned: Path
) -> list[dict[str, Any]]:
    """One net with all recipes, in figures."""
    found: list[dict[str, Any]] = []
    reference: Evaluation | None = None
    for recipe in ("float32", "int8", tuned, "int8-qat"):
        said: list[str] = []
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            artifact = convert(
                load_source(net), load_recipe(recipe), Path(scratch), description=description,
                calibration=sets["calibration"], training=sets["training"], progress=said.append,
            )  # fmt: skip
            evaluation = wiring.evaluate(artifact, sets["test"], "aot")
        reference = reference or evaluation
        evidence = compare(reference, evaluation, 0.01, 0.975, "float32")
        figures = {
            "net": net.stem,
            "recipe": artifact.recipe,
            "right": int(sum(evaluation.correct)),
            "samples": evaluation.samples,
            "tflite_bytes": artifact.size_bytes,
            "paired": evidence if isinstance(evidence, str) else asdict(evidence),
            "said": said[-1] if said else "",
        }
        found.append(figures)
        show(figures)
    return found


def show(figures: dict[str, Any]) -> None:
    """A line of the table."""
    paired = figures["paired"]
    loss = (
        f"{100 * paired['loss']:+.2f} [{100 * paired['lower']:+.2f}, {100 * paired['upper']:+.2f}]"
    )
    print(
        f"{figures['net']:12} {figures['recipe']:10} {figures['right']:6,} of "
        f"{figures['samples']:6,} {figures['tflite_bytes']:9,} B  loss {loss}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--shared", type=Path, help="folder with MLPerf Tiny's models and kws01")
    parser.add_argument("--work", type=Path, default=ROOT / ".tinydeploy/bench-qat")
    parser.add_argument("--limit", type=int, default=60_000, help="of training and test images")
    args = parser.parse_args()
    os.environ.setdefault("TINYDEPLOY_CACHE", str(args.work))
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        tuned = Path(scratch) / "tuned.toml"
        shipped = tomllib.loads((ROOT / "pipeline/recipes/int8-qat.toml").read_text())
        tuned.write_text(TUNED.format(**shipped["training"]))
        if args.shared:
            spotter = args.shared / "models/mlperf_tiny/kws_model.h5"
            found += rows(spotter, keyword_spotting(args.shared), None, tuned)
        sets = fashion(args.limit)
        for name in ("small", "medium", "large"):
            found += rows(EXAMPLE / f"{name}.keras", sets, PIXELS, tuned)
    args.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
