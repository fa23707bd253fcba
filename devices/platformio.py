"""Firmware through PlatformIO: implements `tinydeploy.ports.Builder`.

Each board (and optimize level) has one project in the cache folder; builds of the same project
wait for each other, builds of different boards run side by side.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tinydeploy.devices import footprint, project, tflm
from tinydeploy.devices.toolchain import compiler_version
from tinydeploy.errors import DeviceError, DoesNotFitError, ToolMissingError, UsageError
from tinydeploy.graph import Graph
from tinydeploy.store import sha256_file, sha256_json, staged_directory, write_json
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, Compiled, DeviceProfile, Footprint, from_json, to_json

BUILD_TIMEOUT_S = 600.0
LIBRARY_TIMEOUT_S = 3600.0  # TFLite-Micro and CMSIS-NN, hundreds of files, once a board
BUILD_FILE = "build.json"
BUILD_HEADER = "td_build.h"
MODEL_FILE = "model.tflite"

# What the firmware takes of a bundle: the rest is for projects of its own.
_TFLM_FILES = ("model_arena.h", "model_data.cc", "model_data.h", "model_ops.h")
_DTYPE_BYTES = {
    "int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8,
}  # fmt: skip
_SHOWN_ERRORS = 5
_ERROR = re.compile(r"(error: |undefined reference|multiple definition|No such file|Error[:` ])")
_OVERFLOW = re.compile(r"region `(FLASH|RAM)' overflowed by (\d+) bytes")


class PlatformioBuilder:
    """Links a model's sources and the packaged firmware for a board.

    `tflm_library` is what the `tflm` engine needs: see `tinydeploy.devices.tflm.library`.
    """

    def __init__(self, tflm_library: str = "") -> None:
        self._tflm_library = tflm_library

    def build(self, compiled: Compiled, model: Path, device: DeviceProfile, out: Path) -> Build:
        """Firmware, linker map and build.json in `out`, whole or not at all.

        `out` gets firmware.elf, firmware.map, firmware.bin (boards without an operating system),
        model.tflite and build.json, and can be moved. Raises ToolMissingError for a compiler that
        is not installed, DoesNotFitError for firmware that does not even link, DeviceError with
        the compiler's words, UsageError for a board that takes no firmware.
        """
        if device.platform == "host":
            raise UsageError(
                f"{device.name} takes no firmware", hint="`tinydeploy run --device host` runs there"
            )
        if device.platform not in ("native", "qemu"):
            raise UsageError(
                f"{device.name}: boards of the platform {device.platform!r} are not built yet",
                hint="emulated boards and loopback are: `tinydeploy devices list`",
            )
        graph = read_graph(model)
        library = None
        if compiled.engine == "tflm":
            profile = compiled.profiled_layers > 0
            library = tflm.library(
                self._tflm_library, device, {op.name for op in graph.ops}, profile=profile
            )
        compiler = compiler_version(device.toolchain_prefix)
        build_id = identify(compiled, device, compiler, library.identity if library else "")
        header = _header(compiled, graph, device, build_id, model.stem)
        with staged_directory(out) as scratch:
            with project.opened(device, compiled.optimize, library) as held:
                _put_model(compiled, header, held.folder / project.MODEL)
                _run(held, device, LIBRARY_TIMEOUT_S if library else BUILD_TIMEOUT_S)
                products = held.folder / ".pio" / "build" / device.name
                bytes_of = _footprint(products, compiled, device, held.folder)
                for name in ("firmware.elf", "firmware.map", "firmware.bin"):
                    if (products / name).is_file():
                        shutil.copyfile(products / name, scratch / name)
            shutil.copyfile(model, scratch / MODEL_FILE)
            (scratch / "firmware.elf").chmod(0o755)
            image = scratch / ("firmware.elf" if device.platform == "native" else "firmware.bin")
            build = Build(
                directory=Path(),
                elf=Path("firmware.elf"),
                build_id=build_id,
                board=device.name,
                engine=compiled.engine,
                optimize=compiled.optimize,
                compiler=compiler,
                model_path=Path(MODEL_FILE),
                model_sha256=compiled.model_sha256,
                firmware_sha256=sha256_file(image),
                footprint=bytes_of,
            )
            write_json(scratch / BUILD_FILE, to_json(build))
        return self.load(out)

    def load(self, directory: Path) -> Build:
        """The build that `build` wrote to `directory`. Raises UsageError if there is none."""
        return load_build(directory)


def load_build(directory: Path) -> Build:
    """A build from its folder, wherever that is now. Raises UsageError if it is none or damaged."""
    import json

    try:
        data = json.loads((directory / BUILD_FILE).read_text("utf-8"))
        build = from_json(Build, data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as e:
        raise UsageError(
            f"{directory} holds no build: {e}",
            hint="`tinydeploy build MODEL --device NAME` makes one",
        ) from e
    values = {f: getattr(build, f) for f in build.__dataclass_fields__}
    values |= {
        "directory": directory,
        "elf": directory / build.elf,
        "model_path": directory / build.model_path,
    }
    if not values["elf"].is_file():
        raise UsageError(f"{values['elf']} is missing", hint="build again")
    return Build(**values)


def identify(compiled: Compiled, device: DeviceProfile, compiler: str, library: str = "") -> str:
    """The build_id: a hash of model, engine, optimize level, board, compiler and sources.

    `library` is the identity of the library that the engine comes from, if it is not ours.
    """
    return sha256_json(
        {
            "model": compiled.model_sha256,
            "engine": compiled.engine,
            "optimize": compiled.optimize,
            "board": to_json(device) | {"source": ""},
            "compiler": compiler,
            "firmware": project.firmware_sha256(),
            "library": library,
            "sources": [[n, sha256_file(compiled.directory / n)] for n in sorted(compiled.files)],
        }
    )


def _header(
    compiled: Compiled, graph: Graph, device: DeviceProfile, build_id: str, name: str
) -> str:
    """td_build.h: what the protocol tells about this build (see lib/td_link/td_config.h)."""
    inputs = [graph.tensors[i] for i in graph.inputs]
    input_bytes = sum(t.elements * _DTYPE_BYTES[t.dtype] for t in inputs)
    texts = {
        "TD_BUILD_ID": build_id,
        "TD_BOARD": device.name,
        "TD_ENGINE": compiled.engine,
        "TD_MODEL_SHA256": compiled.model_sha256,
        "TD_MODEL_NAME": re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:40],
    }
    numbers = {
        "TD_INPUT_BYTES": str(input_bytes),
        "TD_LINE_BYTES": device.defines.get("TD_LINE_BYTES", "80"),
        "TD_WINDOW": device.defines.get("TD_WINDOW", "1"),
        "TD_INSTRUCTION_COUNTER": str(int(device.counts_instructions)),
        "TD_INPUT_COUNT": str(len(graph.inputs)),
        "TD_OUTPUT_COUNT": str(len(graph.outputs)),
        **_output_scale(graph),
        **(
            {"TD_PROFILE_LAYERS": f"{compiled.profiled_layers}u"}
            if compiled.profiled_layers
            else {}
        ),
    }
    lines = [f'#define {key} "{value}"' for key, value in texts.items()]
    lines += [f"#define {key} {value}" for key, value in numbers.items()]
    guard = ("#ifndef TD_BUILD_H", "#define TD_BUILD_H")
    return "\n".join([*guard, *lines, "#endif", ""])


def _output_scale(graph: Graph) -> dict[str, str]:
    """What MLPerf's `results%` needs to print the first output in real units."""
    output = graph.tensors[graph.outputs[0]]
    if output.dtype == "float32" or len(output.scales) != 1:
        return {}
    milli_q16 = round(1000 * output.scales[0] * 65536)
    if not 0 < milli_q16 < 1 << 32:
        return {}
    return {
        "TD_OUTPUT_MILLI_Q16": f"{milli_q16}u",
        "TD_OUTPUT_ZERO_POINT": f"({output.zero_points[0]})",
    }


def _put_model(compiled: Compiled, header: str, folder: Path) -> None:
    """Replace the model's sources; files that stay the same keep their time and their objects."""
    names = _TFLM_FILES if compiled.engine == "tflm" else compiled.files
    wanted = {name: (compiled.directory / name).read_bytes() for name in names}
    wanted[BUILD_HEADER] = header.encode()
    for old in folder.iterdir():
        if old.name not in wanted:
            old.unlink()
    for name, data in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != data:
            path.write_bytes(data)


def _environment() -> dict[str, str]:
    """PlatformIO without network and without the user's own settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    return kept | {
        "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no",
        "PLATFORMIO_SETTING_CHECK_PLATFORMIO_INTERVAL": "9999",
        "PLATFORMIO_SETTING_CHECK_PRUNE_SYSTEM_THRESHOLD": "0",
        "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true",
        "PLATFORMIO_NO_ANSI": "true",
        "CI": "true",
        project.ANY_SIZE: "true",
    }


def _run(held: project.Project, device: DeviceProfile, timeout_s: float) -> None:
    """Run PlatformIO in a project; all that it started ends with it, whatever ends us."""
    command = [sys.executable, "-m", "platformio", "run", "--silent", "--environment", device.name]
    try:
        process = subprocess.Popen(
            command,
            cwd=held.folder,
            env=_environment(),
            pass_fds=(held.lock,),  # a build that outlives us keeps others out
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as e:
        raise DeviceError(f"PlatformIO does not start: {e}", hint="install platformio") from e
    with process:
        try:
            said, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as e:
            os.killpg(process.pid, signal.SIGKILL)
            raise DeviceError(
                f"PlatformIO did not finish within {timeout_s:g} s",
                hint=f"run `pio run` in {held.folder} to see where it stays",
            ) from e
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise _translate(said, held.folder, device)


def _translate(said: str, folder: Path, device: DeviceProfile) -> Exception:
    """The error behind what PlatformIO, the compiler or the linker said."""
    if overflows := _OVERFLOW.findall(said):
        rooms = dict(zip(("FLASH", "RAM"), project.room_bytes(device), strict=True))
        limits = {"FLASH": device.flash_bytes, "RAM": device.ram_bytes}
        needs = ", ".join(
            f"{rooms[name] + int(beyond):,} B of {name if name == 'RAM' else 'flash'}, "
            f"{device.name} has {limits[name]:,} B"
            for name, beyond in overflows
        )
        return DoesNotFitError(f"needs at least {needs}", hint="choose a smaller model")
    if "No module named platformio" in said:
        return ToolMissingError("PlatformIO is not installed", hint="pip install platformio scons")
    if "No module named 'SCons'" in said:
        return ToolMissingError("SCons is not installed", hint="pip install scons")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)] or lines[-_SHOWN_ERRORS:]
    shown = "\n".join(errors[:_SHOWN_ERRORS]) or "it said nothing"
    return DeviceError(
        f"the firmware for {device.name} does not build:\n{shown}",
        hint=f"run `pio run` in {folder} for the whole output",
    )


def _footprint(
    products: Path, compiled: Compiled, device: DeviceProfile, folder: Path
) -> Footprint:
    map_text = (products / "firmware.map").read_text(errors="replace")
    engine = footprint.engine_sections(
        map_text, f"{device.toolchain_prefix}gcc", device.arch_flags, folder
    )
    stack_bytes = int(device.defines.get("TD_STACK_BYTES", footprint.DEFAULT_STACK_BYTES))
    return footprint.analyse(
        products / "firmware.elf",
        map_text,
        engine,
        arena_bytes=compiled.arena_bytes,
        stack_bytes=stack_bytes,
    )
