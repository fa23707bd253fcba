"""A model as a project for people: a library with one C function, and the measuring firmware.

::

    platformio.ini     env NAME: the example; env NAME-measure: the firmware for measuring
    README.md          what is where, and the C API
    src/               the example, to be replaced by an application
    lib/td_model/      the model: td_model.h is its API, the rest is the engine
    measure/           the serial protocol around the same library, and the board's port

Boards without a PlatformIO platform get all but platformio.ini and measure/: the library is plain C
that every build system compiles.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from tinydeploy.devices import example
from tinydeploy.devices.firmware import firmware_folder, input_bytes
from tinydeploy.devices.tflm import TflmLibrary
from tinydeploy.errors import UsageError
from tinydeploy.graph import Graph
from tinydeploy.store import write_atomic
from tinydeploy.types import Compiled, DeviceProfile

LIBRARY = "lib/td_model"
MEASURE = "measure"
FRAMEWORKS = ("arduino", "mbed")
_OPTIMIZE = {"size": "-Os", "balanced": "-O2", "speed": "-O2"}
# What the engine calls its parts; the API takes the plain names.
_NAMES = re.compile(
    r"\b(td|TD)_(?:model|MODEL)_"
    r"(init|invoke|inputs|outputs|input_count|output_count|arena_bytes|H)\b"
)
_TFLM_FILES = ("model_arena.h", "model_data.cc", "model_data.h", "model_ops.h")
_ALIASED = ("init", "invoke", "inputs", "outputs", "input_count", "output_count", "arena_bytes")

# Projects are not updatable (`tinydeploy build --updatable`).
_UPDATE_ONLY = (
    "td_delta.c",
    "td_delta.h",
    "td_flash_in_ram.c",
    "td_sha256.c",
    "td_sha256.h",
    "td_update.c",
    "td_update_commands.c",
)


def measure_environment(device: DeviceProfile) -> str:
    """The environment of platformio.ini that builds the measuring firmware."""
    return f"{device.name}-measure"


def specification(device: DeviceProfile) -> str:
    """What PlatformIO calls the board's platform: OWNER/NAME@VERSION, or a repository's address."""
    version = device.platformio["version"]
    return version if "://" in version else f"platformio/{device.platform}@{version}"


def has_project(device: DeviceProfile) -> bool:
    """True for boards that PlatformIO has a platform for, so that a project can be complete."""
    return bool(device.platformio)


def write_project(
    compiled: Compiled,
    graph: Graph,
    device: DeviceProfile,
    header: str,
    out: Path,
    library: TflmLibrary | None = None,
) -> list[str]:
    """Write the project into the folder `out`; the names of its files.

    `header` is the measuring firmware's td_build.h; `library` what the `tflm` engine needs, from
    PlatformIO's registry. Raises UsageError for a framework that no port serves, or a library that
    lies in a folder of this machine.
    """
    if library is not None and not library.lib_deps:
        raise UsageError(
            "an exported project cannot take TFLite-Micro from a folder of this machine",
            hint="--tflm-lib OWNER/NAME names it in PlatformIO's registry",
        )
    framework = device.platformio.get("framework", "")
    if has_project(device) and framework not in FRAMEWORKS:
        raise UsageError(
            f"{device.name}: there is no port for the framework {framework!r}",
            hint=f"frameworks: {', '.join(FRAMEWORKS)}",
        )
    files = {
        **_library(compiled, graph),
        "README.md": example.readme(graph, device, compiled, has_project(device)),
        f"src/main.{'cpp' if framework else 'c'}": example.main(graph, framework),
    }
    if has_project(device):
        files |= {
            "platformio.ini": _ini(device, library),
            **_measure(device, header),
        }
    for name, text in files.items():
        write_atomic(out / name, text)
    return sorted(files)


def _library(compiled: Compiled, graph: Graph) -> dict[str, str]:
    """lib/td_model: the API around the engine, whose parts get names of their own."""
    firmware = firmware_folder()
    header = (firmware / "include" / "td_model.h").read_text("utf-8")
    files = {
        "td_model.h": example.header(graph, compiled.arena_bytes),
        "td_model.c": example.api(graph),
        "td_engine.h": _renamed(header),
    }
    if compiled.engine == "tflm":
        source = (firmware / "tflm" / "td_model.cc").read_text("utf-8")
        files["td_engine.cc"] = _renamed(source)
        files["td_profile.h"] = (firmware / "include" / "td_profile.h").read_text("utf-8")
        files["td_build.h"] = (
            f"#define TD_INPUT_BYTES {input_bytes(graph)}\n"
            f"#define TD_INPUT_COUNT {len(graph.inputs)}\n"
            f"#define TD_OUTPUT_COUNT {len(graph.outputs)}\n"
        )
        names: tuple[str, ...] = _TFLM_FILES
    else:
        for kernel in sorted((firmware / "lib" / "td_kernels").glob("*.[ch]")):
            files[kernel.name] = kernel.read_text("utf-8")
        names = compiled.files
    for name in names:
        text = (compiled.directory / name).read_text("utf-8")
        files["td_engine.c" if name == "td_model.c" else name] = _renamed(text)
    flags = ["-ffp-contract=off", _OPTIMIZE[compiled.optimize]]
    described = {
        "name": "td_model",
        "version": "1.0.0",
        "description": f"A model made by tinydeploy; .tflite sha256 {graph.sha256}",
        "build": {"srcDir": ".", "includeDir": ".", "flags": " ".join(flags)},
    }
    files["library.json"] = json.dumps(described, indent=2) + "\n"
    return {f"{LIBRARY}/{name}": text for name, text in files.items()}


def _renamed(text: str) -> str:
    text = text.replace('"td_model.h"', '"td_engine.h"')
    return _NAMES.sub(lambda m: f"{m[1]}_{'ENGINE' if m[1] == 'TD' else 'engine'}_{m[2]}", text)


def _measure(device: DeviceProfile, header: str) -> dict[str, str]:
    """measure/: the serial protocol, which finds the engine under the names that it knows."""
    firmware = firmware_folder()
    sources: Mapping[str, list[Path]] = {
        "lib": [
            path
            for path in sorted((firmware / "lib" / "td_link").glob("*.[ch]"))
            if path.name not in _UPDATE_ONLY
        ],
        "include": [firmware / "include" / name for name in ("td_port.h", "td_profile.h")],
        "framework": [firmware / "framework" / "td_framework.c"],
    }
    files = {p.name: p.read_text("utf-8") for paths in sources.values() for p in paths}
    own = Path(device.source).parent / f"{device.port}.cpp"
    port = own if own.is_file() else firmware / "ports" / f"{device.port}.cpp"
    if not port.is_file():
        raise UsageError(
            f"{device.source or device.name}: there is no port {device.port}.cpp",
            hint="port names a C++ file beside the board file or in firmware/ports, without .cpp",
        )
    aliases = [f"#define td_model_{name} td_engine_{name}" for name in _ALIASED]
    files |= {
        port.name: port.read_text("utf-8"),
        "td_build.h": header,
        # PlatformIO links a library that a source file names; it does not look into headers.
        "td_library.c": '#include "td_engine.h"\n',
        "td_model.h": "\n".join(
            [
                "/* td_model.h: the library's engine under the names that the protocol knows. */",
                "#ifndef TD_MEASURED_MODEL_H",
                "#define TD_MEASURED_MODEL_H",
                '#include "td_engine.h"',
                *aliases,
                "#endif",
                "",
            ]
        ),
    }
    return {f"{MEASURE}/{name}": text for name, text in files.items()}


def _ini(device: DeviceProfile, library: TflmLibrary | None) -> str:
    facts = device.platformio
    defines = [
        f"-D{k}={v}" for k, v in device.defines.items() if k not in ("TD_LINE_BYTES", "TD_WINDOW")
    ]
    if library is not None:
        # The library itself has to be compiled with these: they change its structures.
        defines += [flag for flag in library.cxx_flags if flag.startswith("-D")]
    options = facts.get("options", "").strip().splitlines()
    given = [line for line in options if not line.startswith("build_flags")]
    flags = [line.partition("=")[2].strip() for line in options if line.startswith("build_flags")]
    flags = [*flags, *defines]
    return "\n".join(
        [
            f"; {device.description}. Made by tinydeploy: open this in the PlatformIO IDE, or",
            f"; run `pio run` (the example) or `pio run -e {measure_environment(device)}`.",
            "[platformio]",
            f"default_envs = {device.name}",
            "",
            "[env]",
            f"platform = {specification(device)}",
            f"board = {facts['board']}",
            f"framework = {facts['framework']}",
            *given,
            f"monitor_speed = {device.baud}",
            *([f"lib_deps = {library.lib_deps}"] if library else []),
            f"build_flags = -Wl,-Map,$BUILD_DIR/firmware.map {' '.join(flags)}".rstrip(),
            "",
            f"[env:{device.name}]",
            "",
            f"[env:{measure_environment(device)}]",
            f"build_src_filter = +<../{MEASURE}/>",
            "",
        ]
    )
