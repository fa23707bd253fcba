"""The instruction counter: a QEMU plugin built from `firmware/qemu`, and what it reports.

It counts every guest instruction from `td_mark_begin` to `td_mark_end`. The firmware passes both
once before `main` with nothing between them: what that empty region counts (the return from the
first marker and the call of the second) is the markers' own cost, and is subtracted from every
later region. What remains is the call of `td_model_invoke` and all that it does.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.project import firmware_folder
from tinydeploy.devices.toolchain import compiler_version, require
from tinydeploy.errors import DeviceError
from tinydeploy.store import cache_dir, sha256_json, sha256_tree, staged_directory

_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden")
_TIMEOUT_S = 120.0
_LINES = ("region=", "layer=", "code=")


@dataclass(frozen=True)
class Region:
    """One passage from marker to marker, the markers' own cost included.

    `cycles` is the modelled figure, None for a core without a table; `classes` counts the
    instructions of each class (see firmware/qemu/README.md).
    """

    instructions: int
    cycles: int | None
    classes: dict[str, int]


def plugin() -> Path:
    """The counter as a shared library for QEMU, built by the host's compiler at first use.

    Raises ToolMissingError without a compiler, DeviceError if it does not compile.
    """
    source = firmware_folder() / "qemu"
    identity = sha256_json([sha256_tree(source, ("*.c", "*.h")), _FLAGS, compiler_version("")])
    folder = cache_dir() / "counter" / identity[:16]
    library = folder / "libtdcount.so"
    if library.is_file():
        return library
    with staged_directory(folder) as scratch:
        sources = [str(path) for path in sorted(source.glob("*.c"))]
        command = [require("gcc"), *_FLAGS, *sources, "-o", str(scratch / library.name)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_S)
        except subprocess.SubprocessError as e:
            said = getattr(e, "stderr", None) or str(e)
            raise DeviceError(
                f"the instruction counter does not compile: {said.strip()[:500]}",
                hint="it needs gcc and the C library's headers: see `tinydeploy doctor`",
            ) from e
    return library


def read_regions(report: Path) -> list[Region]:
    """All regions that the plugin has reported so far. Raises DeviceError for a damaged report."""
    try:
        lines = report.read_text("ascii").split("\n")[:-1]
        if unknown := [line for line in lines if not line.startswith(_LINES)]:
            raise ValueError(unknown[0])
        return [_region(line) for line in lines if line.startswith("region=")]
    except (OSError, ValueError, KeyError) as e:
        raise _senseless(e) from e


@dataclass(frozen=True)
class Layers:
    """How the last region splits up: a region for each layer, how often it was begun, and the
    instructions of each piece of code (its address) in each layer.

    The last layer but one is what lies outside all layers, the last one is what a mark costs.
    """

    regions: dict[int, Region]
    begun: dict[int, int]
    code: dict[int, dict[int, int]]


def read_layers(report: Path) -> Layers:
    """The layers of the last region. Raises DeviceError for a damaged report."""
    layers = Layers({}, {}, {})
    try:
        lines = report.read_text("ascii").split("\n")[:-1]
        ends = [i for i, line in enumerate(lines) if line.startswith("region=")]
        for line in lines[ends[-2] + 1 : ends[-1]]:
            values = _values(line)
            if "code" in values:
                at = layers.code.setdefault(values["layer"], {})
                at[values["code"]] = values["instructions"]
            else:
                layers.begun[values["layer"]] = values.pop("begun")
                layers.regions[values.pop("layer")] = _counts(values, line)
    except (OSError, ValueError, KeyError, IndexError) as e:
        raise _senseless(e) from e
    return layers


def less(region: Region, cost: Region, times: int = 1) -> Region:
    """A region without what `times` marks cost."""
    cycles = None
    if region.cycles is not None and cost.cycles is not None:
        cycles = region.cycles - times * cost.cycles
    return Region(
        instructions=region.instructions - times * cost.instructions,
        cycles=cycles,
        classes={name: n - times * cost.classes[name] for name, n in region.classes.items()},
    )


def inferences(regions: list[Region]) -> list[Region]:
    """The regions of inferences, less the cost of the markers that the first region shows."""
    if not regions:
        return []
    markers, *rest = regions
    return [less(region, markers) for region in rest]


def _senseless(error: Exception) -> DeviceError:
    return DeviceError(
        f"the instruction counter's report makes no sense: {error}",
        hint="QEMU 4.2 to 8.x can load the counter; see `tinydeploy doctor`",
    )


def _values(line: str) -> dict[str, int]:
    return {key: int(value) for key, value in (word.split("=") for word in line.split())}


def _region(line: str) -> Region:
    values = _values(line)
    del values["region"]
    return _counts(values, line)


def _counts(values: dict[str, int], line: str) -> Region:
    instructions = values.pop("instructions")
    if values.pop("classified") != instructions:
        raise ValueError(f"counter and decoder disagree: {line}")
    cycles = values.pop("cycles", None)
    for bound in ("cycles_low", "cycles_high"):
        values.pop(bound, None)
    return Region(instructions, cycles, values)
