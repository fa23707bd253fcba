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
        text = report.read_text("ascii")
        return [_region(line) for line in text.split("\n")[:-1]]
    except (OSError, ValueError, KeyError) as e:
        raise DeviceError(
            f"the instruction counter's report makes no sense: {e}",
            hint="QEMU 4.2 to 8.x can load the counter; see `tinydeploy doctor`",
        ) from e


def inferences(regions: list[Region]) -> list[Region]:
    """The regions of inferences, less the cost of the markers that the first region shows."""
    if not regions:
        return []
    markers, *rest = regions
    return [
        Region(
            instructions=region.instructions - markers.instructions,
            cycles=None
            if region.cycles is None or markers.cycles is None
            else region.cycles - markers.cycles,
            classes={name: count - markers.classes[name] for name, count in region.classes.items()},
        )
        for region in rest
    ]


def _region(line: str) -> Region:
    values = {key: int(value) for key, value in (word.split("=") for word in line.split())}
    instructions = values.pop("instructions")
    if values.pop("classified") != instructions:
        raise ValueError(f"counter and decoder disagree: {line}")
    del values["region"]
    cycles = values.pop("cycles", None)
    for bound in ("cycles_low", "cycles_high"):
        values.pop(bound, None)
    return Region(instructions, cycles, values)
