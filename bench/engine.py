"""The engine against TFLite-Micro: what every model needs on every emulated core.

    python bench/engine.py --json OUT [--models DIR] [--cores m4 m55] [--optimize speed]
        [--engine tflm --tflm-lib DIR]

Measures the int8 models of MLPerf Tiny (in `../shared`, or the folder that TINYDEPLOY_SHARED
names), models of other families (engine_families.py), the small models of the tests and the nets
of the example. Every model is built, run with
20 random inputs and compared with TFLite-Micro on the host, byte for byte. Engine RAM is arena +
input and output + the engine's statics + the stack's high-water mark; engine flash is weights +
tables + code. --engine tflm measures TFLite-Micro itself instead.

Without --optimize: `balanced` on all cores, all three settings on the M4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from engine_families import family_models
from engine_goals import BASELINES, counts, judge, means, ratios, read_baseline

from tinydeploy.cli import wiring
from tinydeploy.cli.render import table
from tinydeploy.errors import TinydeployError
from tinydeploy.graph import Graph
from tinydeploy.graph_stats import total_macs
from tinydeploy.pipeline.interpreters import TfliteMicro
from tinydeploy.store import cache_dir, sha256_file
from tinydeploy.tflite import read_graph
from tinydeploy.types import DeviceProfile

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("TINYDEPLOY_SHARED", ROOT.parent / "shared"))
EXAMPLE = ROOT / "examples" / "fashion_mnist"
SAMPLES = 20
BOARDS = {
    "m4": "qemu-cortex-m4",
    "m3": "qemu-cortex-m3",
    "m55": "qemu-cortex-m55",
    "m7": "qemu-cortex-m7",
    "m33": "qemu-cortex-m33",
    "m0": "qemu-cortex-m0",
    "rv32": "qemu-rv32",
}
LEVELS = ("size", "balanced", "speed")
MLPERF_TINY = {
    "kws": "kws_ref_model",
    "ic": "pretrainedResnet_quant",
    "ad": "ad01_int8",
    "sww": "str_ww_ref_model",
}
ENGINE_RAM = ("arena", "io", "engine_statics", "stack")
ENGINE_FLASH = ("weights", "tables", "engine_code")


@dataclass(frozen=True)
class Case:
    """A model with its inputs and the outputs that TFLite-Micro computes for them."""

    name: str
    path: Path
    graph: Graph
    inputs: list[np.ndarray]
    reference: list[np.ndarray]


def default_models() -> dict[str, Path]:
    """The models by the name that the tables show."""
    models = {n: SHARED / f"models/mlperf_tiny/{f}.tflite" for n, f in MLPERF_TINY.items()}
    if missing := [str(path) for path in models.values() if not path.is_file()]:
        print(f"not measured, since they are not there: {', '.join(missing)}", file=sys.stderr)
    found = {name: path for name, path in models.items() if path.is_file()}
    found |= family_models(SHARED)
    small = sorted((ROOT / "tests" / "models").glob("*_int8.tflite"))
    return found | {p.stem: p for p in small} | example_models()


def example_models() -> dict[str, Path]:
    """The example's nets in int8, converted once and kept in the cache folder."""
    found = {}
    for net in sorted(EXAMPLE.glob("*.keras")):
        out = cache_dir() / "bench" / sha256_file(net)[:16]
        path = out / f"{net.stem}-int8.tflite"
        if not path.is_file():
            subprocess.run([sys.executable, EXAMPLE / "data.py"], check=True)
            command = [
                *(sys.executable, "-c", "from tinydeploy.cli.main import main; main()"),
                *("convert", str(net), "--recipe", "int8", "--out", str(out)),
                *("--calibration", str(EXAMPLE / "data" / "calibration.npz")),
                *("--input-dtype", "uint8", "--input-scale", str(1 / 255)),
            ]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        found[f"fashion_{net.stem}"] = path
    return found


def load(name: str, path: Path) -> Case:
    """A model with random inputs, half over the whole range and half near the zero point.

    Inputs over the whole range saturate many nets; those near their zero point do not.
    """
    graph = read_graph(path)
    rng = np.random.default_rng(1)
    inputs = []
    for tensor in (graph.tensors[i] for i in graph.inputs):
        shape = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
        if tensor.dtype == "float32":
            inputs.append(rng.normal(0, 1, (SAMPLES, *shape)).astype(np.float32))
            continue
        limits = np.iinfo(tensor.dtype)
        half = (SAMPLES // 2, *shape)
        wide = rng.integers(limits.min, limits.max + 1, half)
        middle = tensor.zero_points[0] if tensor.zero_points else 0
        near = rng.normal(middle, limits.max / 4, half).round()
        both = np.concatenate([wide, np.clip(near, limits.min, limits.max)])
        inputs.append(both.astype(tensor.dtype))
    with TfliteMicro(path) as interpreter:
        return Case(name, path, graph, inputs, interpreter.predict(inputs))


def load_all(models: dict[str, Path]) -> tuple[list[Case], dict[str, str]]:
    """The models that TFLite-Micro runs, and why it refuses the others."""
    cases, refused = [], {}
    for name, path in models.items():
        try:
            cases.append(load(name, path))
        except TinydeployError as error:
            refused[name] = error.message
    return cases, refused


@dataclass(frozen=True)
class Engine:
    """The engine to measure; `tflm` needs a library."""

    name: str
    tflm_lib: str = ""


def measure(case: Case, core: str, optimize: str, engine: Engine) -> dict[str, Any]:
    """One row: build, run, compare. What fails is said in the row."""
    row: dict[str, Any] = {
        "model": case.name,
        "core": core,
        "board": BOARDS[core],
        "engine": engine.name,
        "optimize": optimize,
        "judged": case.name in MLPERF_TINY,
        "macs": total_macs(case.graph),
    }
    try:
        return row | _run(case, core, optimize, engine)
    except TinydeployError as e:
        return row | {"error": e.message}


def _run(case: Case, core: str, optimize: str, engine: Engine) -> dict[str, Any]:
    device = wiring.devices([BOARDS[core]])[BOARDS[core]]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        out = Path(scratch) / "build"
        build = wiring.build_firmware(
            case.path, device, out, engine=engine.name, optimize=optimize, tflm_lib=engine.tflm_lib
        )
        split = build.footprint
        row: dict[str, Any] = {
            "arena_bytes": split.arena_bytes,
            "code_bytes": split.code_bytes,
            "engine_flash_bytes": sum(split.flash[part] for part in ENGINE_FLASH),
            "flash": dict(split.flash),
        }
        if engine.name == "aot":
            row |= _bound(case, device, optimize, Path(scratch) / "source")
        if split.ram_bytes > device.ram_bytes or split.flash_bytes > device.flash_bytes:
            return row | {"ram": dict(split.ram), "error": f"does not fit {device.name}"}
        outputs, result = wiring.runner(device).run(build, device, case.inputs)
    if result.instructions is None or result.stack_bytes is None:
        raise TinydeployError(f"{device.name} counts no instructions or tells no stack")
    split = split.with_stack(result.stack_bytes)
    return row | {
        "instructions": median_low(result.instructions),
        "cycles_model": result.cycles_model,
        "device_arena_bytes": result.arena_bytes,
        "engine_ram_bytes": sum(split.ram[part] for part in ENGINE_RAM),
        "ram": dict(split.ram),
        "samples": SAMPLES,
        "outputs_equal": _equal(outputs, case.reference),
    }


def _bound(case: Case, device: DeviceProfile, optimize: str, out: Path) -> dict[str, Any]:
    """The least arena that any plan needs, and how far the plan is above it."""
    compiled = wiring.compiler().compile(case.path, out, device=device, optimize=optimize)
    bound = compiled.arena_bound_bytes
    return {
        "arena_bound_bytes": bound,
        "arena_over_bound": round(compiled.arena_bytes / max(bound or 0, 1), 4),
    }


def _equal(outputs: Sequence[np.ndarray], reference: Sequence[np.ndarray]) -> int:
    """Samples whose outputs are all equal, byte for byte."""
    pairs = [list(zip(*arrays, strict=True)) for arrays in zip(outputs, reference, strict=True)]
    return sum(all(np.array_equal(a, b) for a, b in sample) for sample in zip(*pairs, strict=True))


def add_ratios(row: dict[str, Any], baseline: dict[tuple[str, str, str], dict[str, int]]) -> None:
    """Lay the baseline's figures and the ratios to them into a row."""
    key = (row["model"], *BASELINES.get(row["core"], ("", "")))
    row["per_mac"] = _per_mac(row)
    row["baseline"] = {"engine": key[1], "core": key[2], **baseline[key]} if key in baseline else {}
    row["ratios"] = ratios(row, baseline.get(key, {}))
    row["counts"] = counts(row["ratios"])


_COMPILE = """
import sys, time, pathlib
start = time.perf_counter()
from tinydeploy.cli import wiring
device = wiring.devices(["qemu-cortex-m4"])["qemu-cortex-m4"]
wiring.compiler().compile(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), device=device)
print(round(time.perf_counter() - start, 2), "tensorflow" in sys.modules)
"""


def compiling(models: dict[str, Path], refused: dict[str, str]) -> dict[str, float]:
    """Seconds to compile the largest model, its imports included; without TensorFlow."""
    runnable = {name: path for name, path in models.items() if name not in refused}
    if not runnable:
        return {}
    name = max(runnable, key=lambda n: runnable[n].stat().st_size)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", _COMPILE, str(runnable[name]), f"{folder}/out"]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, imported = answer.split()
    if imported != "False":
        raise SystemExit("compiling imports TensorFlow")
    return {name: float(seconds)}


def _per_mac(row: dict[str, Any]) -> float | None:
    instructions = row.get("instructions")
    return round(instructions / row["macs"], 4) if instructions and row["macs"] else None


def show(rows: Sequence[dict[str, Any]], verdicts: Sequence[dict[str, Any]]) -> None:
    """The tables, for people."""
    head = (
        "model", "core", "optimize", "instructions", "/MAC", "cycles", "arena", "bound",
        "RAM", "code", "flash", "equal", "instr. x", "cycles x", "counts", "RAM x", "flash x",
    )  # fmt: skip
    shown = [
        (
            *(row["model"], row["core"], row["optimize"], row.get("instructions"), row["per_mac"]),
            *(row.get("cycles_model"), row.get("arena_bytes"), row.get("arena_bound_bytes")),
            *(row.get("engine_ram_bytes"), row.get("code_bytes"), row.get("engine_flash_bytes")),
            None if "error" in row else f"{row['outputs_equal']}/{row['samples']}",
            *(row["ratios"].get(f) for f in ("instructions", "cycles_model")),
            row["counts"],
            *(row["ratios"].get(f) for f in ("engine_ram_bytes", "engine_flash_bytes")),
        )
        for row in rows
    ]
    print(table(head, shown))
    for row in rows:
        if "error" in row:
            print(f"{row['model']} on {row['core']}, {row['optimize']}: {row['error']}")
    if averages := means(rows):
        print("\nGeometric means of the ratios to TFLite-Micro")
        print(table(tuple(averages[0]), [tuple(mean.values()) for mean in averages]))
    if verdicts:
        print("\nGoals (ratios: geometric means; code and arena: the worst model)")
        print(table(tuple(verdicts[0]), [tuple(v.values()) for v in verdicts]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--models", type=Path, metavar="DIR", help="the .tflite files of a folder")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="of the models, these")
    parser.add_argument("--cores", nargs="+", choices=list(BOARDS), default=list(BOARDS))
    parser.add_argument("--optimize", nargs="+", choices=LEVELS)
    parser.add_argument("--engine", choices=("aot", "tflm"), default="aot")
    parser.add_argument("--tflm-lib", default=os.environ.get("TINYDEPLOY_TFLM_LIB", ""))
    parser.add_argument("--jobs", type=int, default=2, help="models measured at the same time")
    options = parser.parse_args()

    given = options.models
    models = {p.stem: p for p in sorted(given.glob("*.tflite"))} if given else default_models()
    if options.only:
        models = {name: path for name, path in models.items() if name in options.only}
    if not models:
        raise SystemExit("there is no model to measure")
    engine = Engine(options.engine, options.tflm_lib)
    levels = options.optimize or (["balanced"] if options.engine == "tflm" else None)
    runs: list[Callable[[], dict[str, Any]]] = []
    cases, refused = load_all(models)
    for case in cases:
        for core in options.cores:
            for level in levels or (LEVELS if core == "m4" else ("balanced",)):
                runs.append(partial(measure, case, core, level, engine))
    with ThreadPoolExecutor(max(options.jobs, 1)) as pool:
        rows = [row.result() for row in [pool.submit(run) for run in runs]]
    baseline = read_baseline(SHARED / "data" / "engine_baseline.csv")
    for row in rows:
        add_ratios(row, baseline)
    verdicts = judge(rows)
    result = {
        "rows": rows,
        "refused": refused,
        "geometric_means": means(rows),
        "goals": verdicts,
        "compiling": compiling(models, refused),
    }
    options.json.write_text(json.dumps(result, indent=2) + "\n")
    show(rows, verdicts)
    for name, message in refused.items():
        print(f"{name}: {message}")
    for name, seconds in result["compiling"].items():
        print(f"compiling {name}, the largest model: {seconds} s in a new process")
    if wrong := [r for r in rows if r.get("samples") and r["outputs_equal"] != r["samples"]]:
        raise SystemExit(f"{len(wrong)} of {len(rows)} rows do not equal TFLite-Micro")


if __name__ == "__main__":
    main()
