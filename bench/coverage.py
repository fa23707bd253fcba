"""How many random layers of each operator and type agree with TFLite-Micro, on every core.

    python bench/coverage.py --json OUT [--cases N] [--board-cases N] [--boards NAME ...]

Natively, every case is compared with TFLite-Micro on the host: integers byte for byte, floats
within 1e-5 + 1e-4 |reference|. Half of the layers have their parameters at the limits
(tests/compiler/limit_layers.py). On the emulated boards a sample of the same cases is compared byte
for byte with the native build, floats too; many layers share one firmware, a graph has its own. A
type that TFLite-Micro does not run is listed with its message; single cases that TFLite-Micro does
not run are counted, and so are those that this engine refuses because a sum or factor does not fit
its type (where TFLite-Micro's is undefined). Exits 1 on a disagreement, or where TFLite-Micro runs
what this engine refuses for another reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from coverage_cases import ALONE, CONTROL, Case, Made, cases_of, make_model, names_and_types

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests/compiler"))

from comparing import random_inputs

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.errors import DeviceError, DoesNotFitError, TinydeployError
from tinydeploy.pipeline.interpreters import TfliteMicro
from tinydeploy.types import Build, DeviceProfile

BOARDS = (
    "qemu-cortex-m0",
    "qemu-cortex-m3",
    "qemu-cortex-m4",
    "qemu-cortex-m7",
    "qemu-cortex-m33",
    "qemu-cortex-m55",
    "qemu-rv32",
)
# What TFLite-Micro takes, but computes from memory that it never set.
UNDEFINED = {
    ("GREATER", "int16"): "runs, but scales by parameters that are set for int8 only",
}
# Why this engine refuses what TFLite-Micro computes with overflow, or clamps to nothing.
TOO_LARGE = (
    "can exceed",
    "too small",
    "too large",
    "more than 32 bits",
    "far below",
    "out of range",
    "leaves no value",
    "scale of 1 or more",
)
SAMPLES = 6
BOARD_SAMPLES = 3
LAYERS_A_FIRMWARE = 24
WORKERS = 2


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
        self.refused: dict[tuple[str, str], Counter[str]] = {}
        self.too_large: dict[tuple[str, str], Counter[str]] = {}
        self.wrong: list[str] = []
        self.ran: list[Case] = []

    def compare(self, made: list[Made], core: str, same: list[bool]) -> None:
        """Count cases by whether all their outputs agree."""
        for one in made:
            good = all(same[one.outputs.start : one.outputs.stop])
            for operator in one.operators:
                pair = self.counts.setdefault((operator, one.case.dtype, core), [0, 0])
                pair[0] += good
                pair[1] += 1
            if not good:
                self.wrong.append(f"{one.case} on {core}")

    def as_json(self, cores: Sequence[str]) -> dict[str, Any]:
        """Nested: operator, type, core."""
        ops: dict[str, Any] = {}
        for (operator, dtype, core), (good, cases) in sorted(self.counts.items()):
            entry = ops.setdefault(operator, {}).setdefault(dtype, {})
            entry[core] = {"agree": good, "cases": cases}
        for key, table in (("tflm_refuses", self.refused), ("does_not_fit", self.too_large)):
            for (operator, dtype), messages in sorted(table.items()):
                ops.setdefault(operator, {}).setdefault(dtype, {})[key] = dict(messages)
        totals = {core: self.total(core) for core in cores}
        return {"totals": totals, "operators": ops, "disagreements": self.wrong}

    def total(self, core: str) -> dict[str, int]:
        """Cases on a core; a case of two operators counts for both."""
        pairs = [pair for key, pair in self.counts.items() if key[2] == core]
        return {"agree": sum(p[0] for p in pairs), "cases": sum(p[1] for p in pairs)}


def run_natively(coverage: Coverage, folder: Path, cases: Sequence[Case]) -> None:
    """All cases of one operator and type; where not even the first one runs, none is tried."""
    key = (cases[0].name, cases[0].dtype)
    if key in UNDEFINED:
        coverage.refused[key] = Counter({UNDEFINED[key]: len(cases)})
        return
    try:
        if native(coverage, folder, cases):
            return
        if native(coverage, folder, cases[:1]):
            halve(coverage, folder, cases[1:])
        elif len(cases) > 1 and native(coverage, folder, cases[2:3]):
            halve(coverage, folder, [cases[1], *cases[3:]])
    except KeyError:  # a type in which the layer has no meaning
        return


def halve(coverage: Coverage, folder: Path, cases: Sequence[Case]) -> None:
    """Find the cases that are refused, and count the others."""
    if not native(coverage, folder, cases) and len(cases) > 1:
        halve(coverage, folder, cases[: len(cases) // 2])
        halve(coverage, folder, cases[len(cases) // 2 :])


def native(coverage: Coverage, folder: Path, cases: Sequence[Case]) -> bool:
    """Compare cases with TFLite-Micro; False where one engine refuses. A lone one is counted."""
    first = cases[0]
    model = folder / f"{first.name.strip('()')}_{first.dtype}_{first.seed}_{len(cases)}.tflite"
    made = make_model(model, cases)
    inputs = inputs_of(model, first, SAMPLES)
    try:
        with TfliteMicro(model) as reference:
            expected = reference.predict(inputs)
        outputs = AotCompiler().native(model).predict(inputs)
    except TinydeployError as error:
        if len(cases) == 1:
            refuse(coverage, first, str(error))
        return False
    coverage.ran += cases
    same = [agrees(a, b) for a, b in zip(outputs, expected, strict=True)]
    coverage.compare(made, "native", same)
    return True


def inputs_of(model: Path, case: Case, samples: int) -> list[np.ndarray]:
    """Random inputs; the numbers of turns that loops make are small."""
    inputs = random_inputs(model, samples, case.seed)
    if case.name == CONTROL:
        return [x % 9 if x.dtype == np.int32 else x for x in inputs]
    return inputs


def refuse(coverage: Coverage, case: Case, message: str) -> None:
    """Count a case that one engine refuses."""
    key = (case.name, case.dtype)
    if "the aot engine" not in message:
        coverage.refused.setdefault(key, Counter())[reason(message)] += 1
    elif any(words in message for words in TOO_LARGE):
        coverage.too_large.setdefault(key, Counter())[message.rsplit("): ", 1)[-1]] += 1
    else:
        coverage.wrong.append(f"{case}: TFLite-Micro runs what is refused: {message}")


def reason(message: str) -> str:
    """TFLite-Micro's own words, without those around them."""
    words = message.split(": ", 1)[-1]
    return words.split(" (RuntimeError")[0].split(" Node ")[0][:160]


def on_board(
    coverage: Coverage, folder: Path, board: str, cases: Sequence[Case], part: str
) -> None:
    """Cases in one firmware against the native build; in two where they do not fit."""
    folder = folder / f"{board}_{part}"
    folder.mkdir(parents=True, exist_ok=True)
    model, device = folder / "model.tflite", find(board)
    made = make_model(model, cases)
    try:
        compiled = AotCompiler().compile(model, folder / "source", device=device)
        build = PlatformioBuilder().build(compiled, model, device, folder / "build")
        inputs = inputs_of(model, cases[0], BOARD_SAMPLES)
        outputs = run_patiently(build, device, inputs)
    except DoesNotFitError:
        half = len(cases) // 2
        if half == 0:
            raise
        on_board(coverage, folder, board, cases[:half], part + "a")
        on_board(coverage, folder, board, cases[half:], part + "b")
        return
    except TinydeployError as error:
        coverage.wrong.append(f"{cases[0]} and {len(cases) - 1} more on {board}: {error}")
        return
    expected = AotCompiler().native(model).predict(inputs)
    same = [same_bytes(a, b) for a, b in zip(outputs, expected, strict=True)]
    coverage.compare(made, board, same)


def run_patiently(
    build: Build, device: DeviceProfile, inputs: list[np.ndarray]
) -> Sequence[np.ndarray]:
    """The emulated outputs; on a busy machine an answer can be late, so a second try is made."""
    try:
        return QemuRunner().run(build, device, inputs)[0]
    except DeviceError as error:
        print(f"{device.name}: once more, since {error}", file=sys.stderr)
        return QemuRunner().run(build, device, inputs)[0]


def parts(coverage: Coverage, count: int) -> list[list[Case]]:
    """A sample of the cases that ran natively, as many as go into a firmware together."""
    chosen: dict[str, list[Case]] = {}
    taken: Counter[tuple[str, str, bool]] = Counter()
    result = []
    for case in sorted(coverage.ran, key=str):
        key = (case.name, case.dtype, case.limits)
        if taken[key] >= count and case.name != CONTROL:
            continue
        taken[key] += 1
        if case.name in ALONE:
            result.append([case])
        else:
            chosen.setdefault(case.dtype, []).append(case)
    for cases in chosen.values():
        starts = range(0, len(cases), LAYERS_A_FIRMWARE)
        result += [cases[start : start + LAYERS_A_FIRMWARE] for start in starts]
    return result


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
    totals = [coverage.total(core) for core in cores]
    pairs = [f"{total['agree']}/{total['cases']}" for total in totals]
    print(f"{'all':41}" + "".join(f"{pair:>12}" for pair in pairs))
    for title, table in (
        ("Cases that TFLite-Micro does not run", coverage.refused),
        ("Cases refused because something does not fit its type", coverage.too_large),
    ):
        print(f"\n{title}:")
        for (operator, dtype), messages in sorted(table.items()):
            for message, count in messages.items():
                print(f"{operator:32}{dtype:9}{count:4}  {message}")
    for line in coverage.wrong:
        print(f"DISAGREES: {line}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--cases", type=int, default=20, help="native cases an operator and type")
    parser.add_argument(
        "--board-cases", type=int, default=1, help="cases a board, plain and at the limits each"
    )
    parser.add_argument("--boards", nargs="*", default=BOARDS, metavar="NAME")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="only these operators")
    arguments = parser.parse_args()
    start = time.perf_counter()
    coverage = Coverage()
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(WORKERS) as pool:
        folder = Path(name)
        jobs = []
        for operator, types in names_and_types().items():
            if arguments.only and operator not in arguments.only:
                continue
            for dtype in types:
                cases = cases_of(operator, dtype, arguments.cases)
                groups = [[case] for case in cases] if operator in ALONE else [cases]
                jobs += [pool.submit(run_natively, coverage, folder, g) for g in groups]
        for job in jobs:
            job.result()
        print(f"natively done, {time.perf_counter() - start:.0f} s", file=sys.stderr)
        jobs = [
            pool.submit(on_board, coverage, folder, board, part, f"{number}")
            for number, part in enumerate(parts(coverage, arguments.board_cases))
            for board in arguments.boards
        ]
        for job in jobs:
            job.result()
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
