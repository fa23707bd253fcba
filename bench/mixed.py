"""What mixed weights save and cost, against int8 and int4 everywhere.

    python bench/mixed.py --json OUT [--limit N] [--shared DIR]

The nets of examples/fashion_mnist on the 10,000 test images, and with --shared MLPerf Tiny's
kws_model.h5 on 800 samples (calibrated on 200 others). Accuracy is that of the native build, its
difference is from int8. Flash is that of firmware on qemu-cortex-m4 at --optimize size, where the
`aot` engine packs int4 weights, and at balanced, where it stores them as int8; instructions are
those of one inference at size.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples/fashion_mnist"
sys.path.insert(0, str(EXAMPLE))

from tinydeploy.cli import wiring  # noqa: E402
from tinydeploy.compression import MixBudget  # noqa: E402
from tinydeploy.errors import TinydeployError  # noqa: E402
from tinydeploy.pipeline.convert import convert  # noqa: E402
from tinydeploy.pipeline.data import Dataset, make_dataset  # noqa: E402
from tinydeploy.pipeline.prepare import prepare  # noqa: E402
from tinydeploy.pipeline.recipe import load_recipe  # noqa: E402
from tinydeploy.pipeline.source import load_source  # noqa: E402
from tinydeploy.tflite import read_graph  # noqa: E402
from tinydeploy.types import Artifact, InputDescription, Recipe, to_json  # noqa: E402

BOARD = "qemu-cortex-m4"
PIXELS = InputDescription(dtype="uint8", scale=1 / 255)


def recipes() -> Iterator[Recipe]:
    """int8 first, then what saves weights."""
    mixed = load_recipe("mixed")
    # The same quantizer for all of them, so that only weights differ.
    yield replace(load_recipe("int8"), quantizer="litert")
    yield mixed
    for share in (0.9, 0.75):
        yield replace(mixed, name=f"mixed-{share:g}", mixed=MixBudget(max_weight_share=share))
    yield load_recipe("int4-weights")


def fashion(limit: int) -> tuple[Dataset, Dataset]:
    """Calibration and test set."""
    import data

    x, y = data.load(data.DEBIAN, "train")
    test_x, test_y = data.load(data.DEBIAN, "t10k")
    return (
        make_dataset(x[data.CALIBRATION], y[data.CALIBRATION], data.NAMES, data.DEBIAN),
        make_dataset(test_x[:limit], test_y[:limit], data.NAMES, data.DEBIAN),
    )


def keywords(shared: Path) -> tuple[Dataset, Dataset]:
    """200 samples for calibration, the other 800."""
    with np.load(shared / "data/kws01.npz", allow_pickle=False) as archive:
        x = (archive["x"].astype(np.float32) - 83) * np.float32(0.584703)
        y = archive["y"]
    return make_dataset(x[:200], y[:200], (), shared), make_dataset(x[200:], y[200:], (), shared)


def firmware(artifact: Artifact, test: Dataset, optimize: str) -> dict[str, Any]:
    """Footprint and instructions on the board, outputs compared."""
    device = wiring.devices([BOARD])[BOARD]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        build = wiring.build_firmware(
            artifact.path, device, Path(scratch) / "build", engine="aot", optimize=optimize
        )
        tensor = read_graph(artifact.path).tensors[read_graph(artifact.path).inputs[0]]
        inputs = [prepare(test.x[:1], tensor, artifact.input)]
        _, measured = wiring.run_compared(build, device, inputs)
        figures = wiring.figures(build, measured)
    return {
        "flash_bytes": figures["flash_bytes"],
        "weights_flash_bytes": figures["flash"]["weights"],
        "instructions": figures["instructions"][0],
        "outputs_equal": measured.outputs_equal == measured.outputs_compared > 0,
    }


def rows(
    net: Path,
    sets: tuple[Dataset, Dataset],
    description: InputDescription | None,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """A row a recipe."""
    calibration, test = sets
    for recipe in recipes():
        row: dict[str, Any] = {"net": net.stem, "recipe": recipe.name}
        try:
            begin = perf_counter()
            artifact = convert(
                load_source(net), recipe, folder, calibration=calibration, description=description
            )
            row["seconds"] = perf_counter() - begin
            evaluation = wiring.evaluate(artifact, test, "aot")
            row.update(
                tflite_bytes=artifact.size_bytes,
                right=sum(evaluation.correct),
                samples=evaluation.samples,
                size=firmware(artifact, test, "size"),
                balanced=firmware(artifact, test, "balanced"),
                mix=to_json(artifact.mix),
            )
        except TinydeployError as error:
            row["refused"] = error.message
        yield row


def show(row: dict[str, Any], int8: dict[str, Any]) -> None:
    """A line of the table."""
    head = f"{row['net']:10} {row['recipe']:13}"
    if "refused" in row:
        print(f"{head} refused: {row['refused']}", flush=True)
        return
    layers = row["mix"]["layers"] if row["mix"] else []
    four = f"{sum(x['weights'] == 'int4' for x in layers)}/{len(layers)}" if layers else "-"
    loss = 100 * (row["right"] - int8["right"]) / row["samples"]
    equal = row["size"]["outputs_equal"] and row["balanced"]["outputs_equal"]
    print(
        f"{head} {four:>5} {row['tflite_bytes']:9,} {row['size']['weights_flash_bytes']:9,} "
        f"{row['size']['flash_bytes']:9,} {row['balanced']['flash_bytes']:9,} "
        f"{row['size']['instructions']:12,} {row['right']:6,} of {row['samples']:6,} {loss:+6.2f} "
        f"{'equal' if equal else 'OTHER'} {row['seconds']:6.1f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--limit", type=int, default=10_000, help="test images")
    parser.add_argument("--shared", type=Path, metavar="DIR")
    args = parser.parse_args()
    print(
        f"{'net':10} {'recipe':13} {'int4':>5} {'.tflite B':>9} {'weights B':>9} {'flash B':>9} "
        f"{'balanced':>9} {'instructions':>12} right; points from int8; outputs; conversion"
    )
    jobs: list[tuple[Path, tuple[Dataset, Dataset], InputDescription | None]] = []
    if args.shared:
        model = args.shared / "models/mlperf_tiny/kws_model.h5"
        jobs.append((model, keywords(args.shared), None))
    images = fashion(args.limit)
    jobs += [(EXAMPLE / f"{net}.keras", images, PIXELS) for net in ("small", "medium", "large")]
    found = []
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        for net, sets, description in jobs:
            int8 = None
            for row in rows(net, sets, description, Path(scratch)):
                int8 = int8 or row
                show(row, int8)
                found.append(row)
    args.json.write_text(json.dumps({"board": BOARD, "rows": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
