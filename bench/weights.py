"""What weights in fewer bits save on a board, and what they cost.

    python bench/weights.py --json OUT [--models DIR] [--only NAME ...] [--board NAME]

Of every int8 model, versions are made by changing its weights alone: `pruned` sets the smallest
80 % of each layer's to 0, `clustered` takes 16 values a layer, `int4` rounds them to 4 bits with a
scale a channel (a tensor for FULLY_CONNECTED). Their accuracy is not looked at: recipes that train
such models are another matter. Each is compiled with `balanced` (int8 weights) and with `size`
(coded weights), linked, run with random inputs and compared with TFLite-Micro byte for byte.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median_low
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np
from engine import ENGINE_FLASH, ENGINE_RAM, default_models, load

from tinydeploy.cli import wiring
from tinydeploy.cli.render import table
from tinydeploy.errors import TinydeployError

LEVELS = ("balanced", "size")
WITH_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def same(weights: Any, bias: Any, values: np.ndarray, name: str) -> np.ndarray:
    return values


def pruned(weights: Any, bias: Any, values: np.ndarray, name: str) -> np.ndarray:
    """The smallest 80 % of a layer are 0."""
    limit = np.quantile(np.abs(values.astype(int)), 0.8)
    return np.where(np.abs(values.astype(int)) > limit, values, 0).astype(np.int8)


def clustered(weights: Any, bias: Any, values: np.ndarray, name: str) -> np.ndarray:
    """16 values, by Lloyd's algorithm from quantiles."""
    flat = values.reshape(-1).astype(float)
    centers = np.quantile(flat, np.linspace(0.02, 0.98, 16))
    for _ in range(20):
        nearest = np.abs(flat[:, None] - centers).argmin(axis=1)
        for i in range(16):
            if (nearest == i).any():
                centers[i] = flat[nearest == i].mean()
    return centers[nearest].round().astype(np.int8).reshape(values.shape)


def int4(weights: Any, bias: Any, values: np.ndarray, name: str) -> np.ndarray:
    """Four bits; the tensor's type and scales, and the bias's scale, change with them."""
    quantization = weights.quantization
    if name == "FULLY_CONNECTED" and len(quantization.scale) > 1:
        return values
    quantization.scale = (quantization.scale * (127 / 7)).astype(np.float32)
    if bias is not None:
        bias.quantization.scale = (bias.quantization.scale * (127 / 7)).astype(np.float32)
    weights.type = schema.TensorType.INT4
    nibbles = np.clip((values.reshape(-1) * (7 / 127)).round(), -7, 7).astype(np.int8) & 15
    nibbles = np.append(nibbles, np.zeros(nibbles.size % 2, np.int8))
    return (nibbles[::2] | nibbles[1::2] << 4).astype(np.uint8)


KINDS: dict[str, Callable[[Any, Any, np.ndarray, str], np.ndarray]] = {
    "int8": same,
    "pruned": pruned,
    "clustered": clustered,
    "int4": int4,
}


def changed(model: Path, kind: str) -> bytes:
    """The model with other weights."""
    tree = schema.ModelT.InitFromPackedBuf(model.read_bytes(), 0)
    graph = tree.subgraphs[0]
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    done = set()
    for op in graph.operators:
        code = tree.operatorCodes[op.opcodeIndex]
        name = names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        weights = graph.tensors[op.inputs[1]] if len(op.inputs) > 1 else None
        if name not in WITH_WEIGHTS or weights.type != schema.TensorType.INT8:
            continue
        if weights.buffer in done:
            continue
        done.add(weights.buffer)
        buffer = tree.buffers[weights.buffer]
        values = np.asarray(buffer.data, np.uint8).view(np.int8).reshape(weights.shape)
        bias = graph.tensors[op.inputs[2]] if len(op.inputs) > 2 else None
        made = KINDS[kind](weights, bias, values, name)
        buffer.data = np.frombuffer(made.tobytes(), np.uint8)
        if kind == "int4" and bias is not None and weights.type == schema.TensorType.INT4:
            sums = tree.buffers[bias.buffer]
            old = np.asarray(sums.data, np.uint8).view(np.int32)
            new = (old * (7 / 127)).round().astype(np.int32)
            sums.data = np.frombuffer(new.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(tree.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def measure(model: Path, kind: str, board: str) -> list[dict[str, Any]]:
    """A row for each level."""
    device = wiring.devices([board])[board]
    rows = []
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as name:
        folder = Path(name)
        path = folder / "model.tflite"
        path.write_bytes(changed(model, kind))
        row = {"model": model.stem, "weights": kind, "board": board}
        try:
            case = load(model.stem, path)
        except TinydeployError as error:
            return [row | {"level": "-", "error": error.message}]
        for level in LEVELS:
            build = wiring.build_firmware(
                path, device, folder / level, engine="aot", optimize=level
            )
            outputs, result = wiring.runner(device).run(build, device, case.inputs)
            split = build.footprint.with_stack(result.stack_bytes or 0)
            equal = all(np.array_equal(a, b) for a, b in zip(outputs, case.reference, strict=True))
            rows.append(
                row
                | {
                    "level": level,
                    "tflite_bytes": path.stat().st_size,
                    "flash": dict(split.flash),
                    "engine_flash_bytes": sum(split.flash[p] for p in ENGINE_FLASH),
                    "engine_ram_bytes": sum(split.ram[p] for p in ENGINE_RAM),
                    "instructions": median_low(result.instructions or [0]),
                    "equal": equal,
                }
            )
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    """The table, with what `size` saves and costs against `balanced`."""
    head = ("model", "weights", "level", "weights B", "tables B", "code B", "flash B", "saved",
            "RAM B", "instructions", "times", "equal")  # fmt: skip
    shown = []
    base: dict[str, Any] = {}
    for row in rows:
        if "error" in row:
            print(f"{row['model']}, {row['weights']}: {row['error']}")
            continue
        base = row if row["level"] == "balanced" else base
        flash = row["flash"]
        shown.append(
            (
                *(row["model"], row["weights"], row["level"]),
                *(flash["weights"], flash["tables"], flash["engine_code"]),
                row["engine_flash_bytes"],
                base["engine_flash_bytes"] - row["engine_flash_bytes"],
                *(row["engine_ram_bytes"], row["instructions"]),
                round(row["instructions"] / base["instructions"], 2),
                row["equal"],
            )
        )
    print(table(head, shown))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--models", type=Path, metavar="DIR", help="the .tflite files of a folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the models, these")
    parser.add_argument("--board", default="qemu-cortex-m4", metavar="NAME")
    options = parser.parse_args()
    given = options.models
    models = {p.stem: p for p in sorted(given.glob("*.tflite"))} if given else default_models()
    rows: list[dict[str, Any]] = []
    for name, path in models.items():
        if options.only and name not in options.only:
            continue
        for kind in KINDS:
            print(f"{name}, {kind}", file=sys.stderr)
            rows += measure(path, kind, options.board)
    options.json.write_text(json.dumps(rows, indent=2) + "\n")
    show(rows)
    if any(row.get("equal") is False for row in rows):
        raise SystemExit("outputs differ from TFLite-Micro's")


if __name__ == "__main__":
    main()
