"""How many random layers of each operator and type agree with TFLite-Micro, on every core.

    python bench/coverage.py --json OUT [--cases N] [--board-cases N] [--boards NAME ...]

Natively, every case is compared with TFLite-Micro on the host: integers byte for byte, floats
within 1e-5 + 1e-4 |reference|. On the emulated boards, outputs are compared byte for byte with the
native build's, floats too; many small layers share one firmware. A type that TFLite-Micro itself
does not run is listed with its message. Exits 1 on a disagreement, or where TFLite-Micro runs a
type that this engine refuses.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests/compiler"))

from comparing import random_inputs  # noqa: E402
from more_layers import MORE_LAYERS  # noqa: E402
from random_graphs import GraphMaker  # noqa: E402
from random_layers import LAYERS, Layer, LayerMaker  # noqa: E402

from tinydeploy.compiler.aot import AotCompiler  # noqa: E402
from tinydeploy.devices.catalogue import find  # noqa: E402
from tinydeploy.devices.emulator import QemuRunner  # noqa: E402
from tinydeploy.devices.platformio import PlatformioBuilder  # noqa: E402
from tinydeploy.errors import DoesNotFitError, TinydeployError, UnsupportedModelError  # noqa: E402
from tinydeploy.pipeline.interpreters import TfliteMicro  # noqa: E402

BOARDS = ("qemu-cortex-m4", "qemu-cortex-m0", "qemu-rv32", "qemu-cortex-m55")
COMMON_TYPES = ("int8", "int16", "float32")
# What TFLite-Micro takes, but computes from memory that it never set.
UNDEFINED = {
    ("GREATER", "int16"): "runs, but scales by parameters that are set for int8 only",
}
SAMPLES = 6
BOARD_SAMPLES = 3
LAYERS_A_FIRMWARE = 24
WORKERS = 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A layer in a model: the operators in it, and which of the model's outputs are its own."""

    operators: tuple[str, ...]
    outputs: range


def add_layer(maker: LayerMaker, name: str) -> Layer:
    """One random layer of a name in either table."""
    if name in MORE_LAYERS:
        return MORE_LAYERS[name][0](maker, name)
    return LAYERS[name](maker)


def make_model(path: Path, dtype: str, names: Sequence[str], seed: int) -> list[Case]:
    """Write a model with a layer for each name, side by side."""
    maker = LayerMaker(seed, dtype)
    inputs: list[int] = []
    outputs: list[int] = []
    cases = []
    for name in names:
        before = len(maker.model.ops)
        a, b = add_layer(maker, name)
        ops = {maker.model.codes[op.opcodeIndex] for op in maker.model.ops[before:]}
        cases.append(Case(tuple(sorted(ops)), range(len(outputs), len(outputs) + len(b))))
        inputs += a
        outputs += b
    path.write_bytes(maker.model.build(inputs, outputs))
    return cases


def make_graph(path: Path, dtype: str, seed: int) -> list[Case]:
    """Write a random graph of up to 40 layers; it is one case."""
    path.write_bytes(GraphMaker(seed, dtype).build(8 + seed % 33))
    return [Case(("(graphs)",), range(0, 1 << 16))]


def agrees(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Integers equal, floats within the tolerance."""
    if ours.dtype != np.float32:
        return np.array_equal(ours, theirs)
    with np.errstate(invalid="ignore"):
        return np.allclose(ours, theirs, rtol=1e-4, atol=1e-5, equal_nan=True)


def same_bytes(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal bit by bit."""
    return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()


class Coverage:
    """Counts of agreeing cases by operator, type and core."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], list[int]] = {}
        self.refused: dict[tuple[str, str], str] = {}
        self.wrong: list[str] = []
        self.compiled: set[tuple[str, str]] = set()

    def count(self, case: Case, dtype: str, core: str, good: bool, model: str) -> None:
        """One case more."""
        for operator in case.operators:
            pair = self.counts.setdefault((operator, dtype, core), [0, 0])
            pair[0] += good
            pair[1] += 1
        if not good:
            self.wrong.append(f"{'+'.join(case.operators)} {dtype} on {core} ({model})")

    def compare(
        self, cases: list[Case], dtype: str, core: str, model: str, same: list[bool]
    ) -> None:
        """Count cases by whether all their outputs agree."""
        for case in cases:
            self.count(case, dtype, core, all(same[case.outputs.start : case.outputs.stop]), model)

    def as_json(self, cores: Sequence[str]) -> dict[str, Any]:
        """Nested: operator, type, core."""
        ops: dict[str, Any] = {}
        for (operator, dtype, core), (good, cases) in sorted(self.counts.items()):
            entry = ops.setdefault(operator, {}).setdefault(dtype, {})
            entry[core] = {"agree": good, "cases": cases}
        for (operator, dtype), message in sorted(self.refused.items()):
            ops.setdefault(operator, {}).setdefault(dtype, {})["tflm_refuses"] = message
        return {"cores": list(cores), "operators": ops, "disagreements": self.wrong}


def native(coverage: Coverage, folder: Path, dtype: str, name: str, count: int, seed: int) -> None:
    """Cases of one operator and type against TFLite-Micro."""
    if (name, dtype) in UNDEFINED:
        coverage.refused[name, dtype] = UNDEFINED[name, dtype]
        return
    model = folder / f"{name.strip('()')}_{dtype}_{seed}.tflite"
    try:
        if name == "(graphs)":
            cases = make_graph(model, dtype, seed)
        else:
            cases = make_model(model, dtype, [name] * count, seed)
    except KeyError:  # a type for which the layer has no meaning
        return
    inputs = random_inputs(model, SAMPLES, seed)
    try:
        with TfliteMicro(model) as reference:
            expected = reference.predict(inputs)
    except TinydeployError as error:
        coverage.refused[shown(name), dtype] = reason(str(error))
        return
    try:
        outputs = AotCompiler().native(model).predict(inputs)
    except UnsupportedModelError as error:
        coverage.wrong.append(f"{name} {dtype}: TFLite-Micro runs what is refused: {error}")
        return
    if name != "(graphs)":
        coverage.compiled.add((name, dtype))
    same = [agrees(a, b) for a, b in zip(outputs, expected, strict=True)]
    coverage.compare(cases, dtype, "native", str(model.name), same)


def shown(name: str) -> str:
    """A name of random_layers.py as its operator."""
    names = {"conv": "CONV_2D", "depthwise": "DEPTHWISE_CONV_2D", "pool": "AVERAGE_POOL_2D"}
    return names.get(name, name.upper())


def reason(message: str) -> str:
    """TFLite-Micro's own words, without those around them."""
    words = message.split(": ", 1)[-1]
    return words.split(" (RuntimeError")[0].split(" Node ")[0][:160]


def on_board(
    coverage: Coverage, folder: Path, board: str, dtype: str, names: Sequence[str], seed: int
) -> None:
    """Layers in one firmware against the native build; in two where they do not fit."""
    folder = folder / f"{board}_{dtype}_{seed}_{len(names)}"
    folder.mkdir(parents=True, exist_ok=True)
    model, device = folder / "model.tflite", find(board)
    cases = make_model(model, dtype, names, seed)
    try:
        compiled = AotCompiler().compile(model, folder / "source", device=device)
        build = PlatformioBuilder().build(compiled, model, device, folder / "build")
        inputs = random_inputs(model, BOARD_SAMPLES, seed)
        outputs, _ = QemuRunner().run(build, device, inputs)
    except DoesNotFitError:
        half = len(names) // 2
        if half == 0:
            raise
        on_board(coverage, folder, board, dtype, names[:half], seed + 1)
        on_board(coverage, folder, board, dtype, names[half:], seed + 2)
        return
    except TinydeployError as error:
        coverage.wrong.append(f"{board} {dtype}, {len(names)} layers: {error}")
        return
    expected = AotCompiler().native(model).predict(inputs)
    same = [same_bytes(a, b) for a, b in zip(outputs, expected, strict=True)]
    coverage.compare(cases, dtype, board, str(model), same)


def runnable(coverage: Coverage) -> dict[str, list[str]]:
    """The names of layers by type that both engines run."""
    result: dict[str, list[str]] = {}
    for name, types in wanted().items():
        for dtype in types:
            if (name, dtype) in coverage.compiled:
                result.setdefault(dtype, []).append(name)
    return result


def wanted() -> dict[str, tuple[str, ...]]:
    """Every layer's name and the types it is tried in."""
    result: dict[str, tuple[str, ...]] = {"(graphs)": COMMON_TYPES}
    result |= dict.fromkeys(LAYERS, COMMON_TYPES)
    for name, (_, types) in MORE_LAYERS.items():
        more = () if types == ("bool",) else COMMON_TYPES
        result[name] = tuple(dict.fromkeys((*more, *types)))
    return result


def run_boards(
    coverage: Coverage, folder: Path, boards: Sequence[str], count: int, pool: ThreadPoolExecutor
) -> None:
    """All layers that TFLite-Micro runs, some a firmware, on every board."""
    jobs = []
    for dtype, names in runnable(coverage).items():
        layers = [name for name in names for _ in range(count)]
        for start in range(0, len(layers), LAYERS_A_FIRMWARE):
            part = layers[start : start + LAYERS_A_FIRMWARE]
            for board in boards:
                jobs.append(
                    pool.submit(on_board, coverage, folder, board, dtype, part, 1000 + start)
                )
    for job in jobs:
        job.result()


def show(coverage: Coverage, cores: Sequence[str]) -> None:
    """The table: operators and types down, cores across."""
    heads = "".join(f"{core.removeprefix('qemu-'):>12}" for core in cores)
    print(f"{'operator':32}{'type':9}{heads}")
    for operator, dtype in sorted({key[:2] for key in coverage.counts}):
        row = f"{operator:32}{dtype:9}"
        for core in cores:
            pair = coverage.counts.get((operator, dtype, core))
            row += f"{'-' if pair is None else f'{pair[0]}/{pair[1]}':>12}"
        print(row)
    print("\nTypes that TFLite-Micro does not run:")
    for (operator, dtype), message in sorted(coverage.refused.items()):
        print(f"{operator:32}{dtype:9}{message}")
    for line in coverage.wrong:
        print(f"DISAGREES: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--cases", type=int, default=20, help="native cases an operator and type")
    parser.add_argument("--board-cases", type=int, default=2, help="cases a board")
    parser.add_argument("--boards", nargs="*", default=BOARDS, metavar="NAME")
    parser.add_argument("--only", nargs="*", metavar="OPERATOR", help="only these")
    arguments = parser.parse_args()
    start = time.perf_counter()
    coverage = Coverage()
    if arguments.only:
        keep = set(arguments.only)
        for table in (LAYERS, MORE_LAYERS):
            for name in [n for n in table if n not in keep]:
                del table[name]  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(WORKERS) as pool:
        folder = Path(name)
        jobs = []
        for operator, types in wanted().items():
            for dtype in types:
                if operator == "(graphs)":
                    for seed in range(arguments.cases):
                        jobs.append(pool.submit(native, coverage, folder, dtype, operator, 1, seed))
                    continue
                seed = sum(map(ord, operator + dtype))
                jobs.append(
                    pool.submit(native, coverage, folder, dtype, operator, arguments.cases, seed)
                )
        for job in jobs:
            job.result()
        run_boards(coverage, folder, arguments.boards, arguments.board_cases, pool)
    cores = ("native", *arguments.boards)
    seconds = round(time.perf_counter() - start, 1)
    arguments.json.write_text(
        json.dumps({**coverage.as_json(cores), "seconds": seconds}, indent=2) + "\n"
    )
    show(coverage, cores)
    print(f"\n{len(coverage.wrong)} disagreements, {seconds} s")
    sys.exit(bool(coverage.wrong))


if __name__ == "__main__":
    main()
