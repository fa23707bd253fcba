"""Firmware through PlatformIO: implements `tinydeploy.ports.Builder`.

Each board (and optimize level) has one project in the cache folder; builds of the same project
wait for each other, builds of different boards run side by side.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tinydeploy.devices import export, footprint, official, pio, project, tflm, updating
from tinydeploy.devices.firmware import build_header, prints_real_units
from tinydeploy.devices.toolchain import compiler_version
from tinydeploy.devices.unchanged import require_unchanged
from tinydeploy.devices.upload import uf2
from tinydeploy.errors import DoesNotFitError, UsageError
from tinydeploy.graph import Graph
from tinydeploy.results import result_directory
from tinydeploy.store import read_json, sha256_file, sha256_json, write_json
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, Compiled, DeviceProfile, Footprint, from_json, to_json

BUILD_TIMEOUT_S = 600.0
LIBRARY_TIMEOUT_S = 3600.0  # TFLite-Micro and CMSIS-NN, hundreds of files, once a board
BUILD_FILE = "build.json"
BUILD_HEADER = "td_build.h"
MODEL_FILE = "model.tflite"
_BUILT = ("firmware.*", BUILD_FILE, MODEL_FILE)

# What the firmware takes of a bundle: the rest is for projects of its own.
_TFLM_FILES = ("model_arena.h", "model_data.cc", "model_data.h", "model_ops.h")
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
        firmware.uf2 (boards whose file names a UF2 family), model.tflite, build.json and
        SHA256SUMS, and can be moved. Raises ToolMissingError for a
        compiler that is not installed, DoesNotFitError for firmware that does not even link,
        DeviceError with the compiler's words, UsageError for a board that takes no firmware.
        """
        if device.platform == "host":
            raise UsageError(
                f"{device.name} takes no firmware", hint="`tinydeploy run --device host` runs there"
            )
        if device.platform == "none":
            raise UsageError(
                f"{device.name}: neither PlatformIO nor tinydeploy builds whole firmware for it",
                hint=f"`tinydeploy build MODEL --device {device.name} --export DIR` writes the "
                "model as C for a project of your own",
            )
        graph = read_graph(model)
        library = self._library(compiled, graph, device)
        by_us = not export.has_project(device)
        compiler = (
            compiler_version(device.toolchain_prefix) if by_us else export.specification(device)
        )
        build_id = identify(compiled, device, compiler, library.identity if library else "")
        layout = ""
        if compiled.layout:
            updating.require_flash(device, by_us)
            layout = identify_layout(compiled, graph, device, compiler)
        header = build_header(compiled, graph, device, build_id, model.stem, layout)
        with result_directory(out, _BUILT) as scratch:
            if by_us:
                bytes_of = _link(compiled, header, device, library, scratch)
            else:
                bytes_of = official.link(compiled, graph, header, device, library, scratch)
            shutil.copyfile(model, scratch / MODEL_FILE)
            (scratch / "firmware.elf").chmod(0o755)
            uf2.put(scratch, device)
            image = scratch / "firmware.bin"
            if not image.is_file():
                image = scratch / "firmware.elf"
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
                layout=layout,
            )
            write_json(scratch / BUILD_FILE, to_json(build))
        return self.load(out)

    def export(
        self, compiled: Compiled, model: Path, device: DeviceProfile, out: Path
    ) -> list[str]:
        """The model as a project for people in `out`, whole or not at all; its files.

        See `tinydeploy.devices.export`, whose errors it raises.
        """
        graph = read_graph(model)
        library = self._library(compiled, graph, device)
        compiler = export.specification(device) if export.has_project(device) else ""
        build_id = identify(compiled, device, compiler, library.identity if library else "")
        header = build_header(compiled, graph, device, build_id, model.stem)
        with result_directory(out) as scratch:
            return export.write_project(compiled, graph, device, header, scratch, library)

    def _library(
        self, compiled: Compiled, graph: Graph, device: DeviceProfile
    ) -> tflm.TflmLibrary | None:
        if compiled.engine != "tflm":
            return None
        ops = {op.name for op in graph.ops}
        profile = compiled.profiled_layers > 0
        return tflm.library(self._tflm_library, device, ops, profile=profile)

    def load(self, directory: Path) -> Build:
        """The build that `build` wrote to `directory`. Raises UsageError if there is none."""
        return load_build(directory)


def load_build(directory: Path) -> Build:
    """A build from its folder, wherever that is now.

    Raises UsageError if it is none, DeviceError if a file was changed since it was built.
    """
    try:
        data = read_json(directory / BUILD_FILE)
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
    return require_unchanged(Build(**values))


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


def identify_layout(compiled: Compiled, graph: Graph, device: DeviceProfile, compiler: str) -> str:
    """What two builds must have in common so that only the model's content differs."""
    return sha256_json(
        {
            "code": compiled.layout,
            "engine": compiled.engine,
            "optimize": compiled.optimize,
            "board": to_json(device) | {"source": ""},
            "compiler": compiler,
            "firmware": project.firmware_sha256(),
            "real_units": prints_real_units(graph),
        }
    )


def _link(
    compiled: Compiled,
    header: str,
    device: DeviceProfile,
    library: tflm.TflmLibrary | None,
    out: Path,
) -> Footprint:
    """Link with our own start-up code and the system's compiler; products go to `out`."""
    with project.opened(device, compiled.optimize, library) as held:
        _put_model(compiled, header, held.folder / project.MODEL)
        pio.run(
            held.folder,
            device.name,
            LIBRARY_TIMEOUT_S if library else BUILD_TIMEOUT_S,
            {project.ANY_SIZE: "true"},
            lock=held.lock,
            translate=lambda said: _translate(said, held.folder, device),
        )
        products = held.folder / ".pio" / "build" / device.name
        for name in ("firmware.elf", "firmware.map", "firmware.bin"):
            if (products / name).is_file():
                shutil.copyfile(products / name, out / name)
        return _footprint(products, compiled, device, held.folder)


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
    return pio.failure(said, folder, device.name)


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
