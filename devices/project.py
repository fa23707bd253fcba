"""A board's PlatformIO project: the packaged firmware plus what its board file says.

A project is complete in itself: PlatformIO's own folder (`core_dir`) lies inside it with a stand-in
for the one package that PlatformIO always wants, so that it asks no registry for anything. It
keeps the compiled kernels; the model's sources and `td_build.h` are put in for each build.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.firmware import BUILD_DEFINES, firmware_folder
from tinydeploy.devices.tflm import TflmLibrary
from tinydeploy.errors import UsageError
from tinydeploy.store import cache_dir, sha256_json, sha256_tree, staged_directory, write_atomic
from tinydeploy.types import DeviceProfile, to_json

MODEL = "model"
BOARD_FILE = "board.json"
CORE_DIR = ".platformio"
_STAND_IN = f"{CORE_DIR}/packages/tool-scons"

_COPIED = ("include", "lib", "platform", "ports", "src", "tflm")
_HASHED = (*_COPIED, "framework")
_IGNORED = shutil.ignore_patterns("__pycache__", "__init__.py")
_SUFFIXES = ("c", "cc", "cpp", "h", "py", "ld", "json")
_PATTERNS = tuple(f"{folder}/**/*.{suffix}" for folder in _HASHED for suffix in _SUFFIXES)
# Set for our own builds: too large a firmware has to link, so that it can be said by how much.
ANY_SIZE = "TINYDEPLOY_ANY_SIZE"

_WARNINGS = "-std=c11 -Wall -Wextra -Werror"
# -O3 was measured: larger and not faster than -O2 (Cortex-M4, RV32; keyword spotting, ResNet-8).
_OPTIMIZE = {"size": "-Os", "balanced": "-O2", "speed": "-O2"}
# Flash and RAM of the linker reach beyond the board's, so that what is too large still links and
# its size can be told.
_ROOM_BYTES = 16 << 20
# Each compiler's libraries, the specs that choose the small libc, and what else its links need.
_LIBRARIES = {
    "arm-none-eabi-": (["m"], ["--specs=nano.specs"], ["-nostartfiles"]),
    "riscv64-unknown-elf-": (["c", "gcc"], ["--specs=picolibc.specs"], ["-nostdlib"]),
}


@dataclass(frozen=True)
class Project:
    """A board's project in the cache folder, while it is held."""

    folder: Path
    lock: int


def firmware_sha256() -> str:
    """Hash of the packaged firmware sources."""
    return sha256_tree(firmware_folder(), _PATTERNS)


def room_bytes(device: DeviceProfile) -> tuple[int, int]:
    """What the linker may fill of flash and RAM."""
    rooms = []
    memories = (
        (device.flash_origin, device.flash_bytes, device.ram_origin),
        (device.ram_origin, device.ram_bytes, device.flash_origin),
    )
    for origin, size, other in memories:
        free = other - origin if other > origin else (1 << 32) - origin
        rooms.append(min(max(_ROOM_BYTES, size), free))
    return rooms[0], rooms[1]


@contextmanager
def opened(
    device: DeviceProfile, optimize: str, library: TflmLibrary | None = None
) -> Iterator[Project]:
    """The project of a board in the cache folder, made if it is not there, held alone.

    With a `library` it is one for the `tflm` engine. Its name holds the hash of all that is in it,
    so that levels of optimization with the same flags share its kernels.
    Threads and processes wait for each other; a program that gets the project's `lock` as an open
    file holds it as long as it lives.
    """
    generated = _generated(device, optimize, library)
    identity = sha256_json([firmware_sha256(), generated])
    folder = cache_dir() / "firmware" / f"{device.name}-{identity[:16]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.with_name(f"{folder.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "platformio.ini").is_file():
            with staged_directory(folder) as scratch:
                _write(generated, scratch)
        yield Project(folder, lock.fileno())


def _write(generated: Mapping[str, str], folder: Path) -> None:
    """Write the whole project into an empty folder."""
    source = firmware_folder()
    for name in _COPIED:
        shutil.copytree(source / name, folder / name, ignore=_IGNORED)
    (folder / MODEL).mkdir()
    for name, text in generated.items():
        write_atomic(folder / name, text)
    shutil.copyfile(
        source / "platform" / "tool-scons" / "scons.py", folder / _STAND_IN / "scons.py"
    )


def _generated(device: DeviceProfile, optimize: str, library: TflmLibrary | None) -> dict[str, str]:
    """The files that are made for a board, by their path in the project."""
    documents: dict[str, object] = {
        BOARD_FILE: to_json(device) | {"source": ""},
        f"boards/{device.name}.json": _board(device, library),
        "lib/td_kernels/library.json": _library("td_kernels", _OPTIMIZE[optimize]),
        "lib/td_link/library.json": _library("td_link", "-Os"),
        **_stand_in(),
    }
    texts = {name: json.dumps(value, indent=2) + "\n" for name, value in documents.items()}
    return {**texts, **_own_port(device), "platformio.ini": _ini(device, optimize, library)}


def _own_port(device: DeviceProfile) -> dict[str, str]:
    """A port that lies beside the board file; it comes before a packaged one of the same name."""
    name = f"{_port(device)}.c"
    own = Path(device.source).parent / name
    if device.source and own.is_file():
        try:
            return {f"ports/{name}": own.read_text("utf-8")}
        except (OSError, UnicodeDecodeError) as e:
            raise UsageError(f"cannot read the port {own}: {e}", hint="a C file in UTF-8") from e
    if not (firmware_folder() / "ports" / name).is_file():
        raise UsageError(
            f"{device.source or device.name}: there is no port {name}",
            hint="port names a C file beside the board file or in firmware/ports, without .c",
        )
    return {}


def _port(device: DeviceProfile) -> str:
    return Path(device.port).name


def _ini(device: DeviceProfile, optimize: str, library: TflmLibrary | None) -> str:
    engine = "" if library is None else f" +<../{MODEL}/*.cc> +<../tflm/*.cc>"
    lib_deps = f"lib_deps = {library.lib_deps}\n" if library and library.lib_deps else ""
    return f"""\
; Generated by tinydeploy from the board file of {device.name}. Build with `pio run`, start the
; emulator with `pio run -t upload`. Offline, set PLATFORMIO_DISABLE_UPGRADE_CHECK=true.
[platformio]
default_envs = {device.name}
core_dir = {CORE_DIR}

[env:{device.name}]
platform = symlink://platform
board = {device.name}
build_flags = -Os -g1 -ffp-contract=off -I{MODEL} -Iinclude
build_src_flags = {_WARNINGS}
build_src_filter = +<*.c> +<../ports/{_port(device)}.c> +<../{MODEL}/*.c>{engine}
extra_scripts = pre:platform/model_flags.py
custom_model_flags = {_OPTIMIZE[optimize]}
{lib_deps}"""


def _board(device: DeviceProfile, library: TflmLibrary | None) -> dict[str, object]:
    """PlatformIO's description of the board."""
    defines = [[key, value] for key, value in device.defines.items() if key not in BUILD_DEFINES]
    if device.real:
        defines.append(["TD_BAUD", f"{device.baud}u"])
    libraries, specs, link_flags = _LIBRARIES.get(device.toolchain_prefix, ([], [], []))
    build: dict[str, object] = {
        "mcu": device.core,
        "cpu": device.core,
        "f_cpu": f"{device.clock_hz}u",
        "toolchain_prefix": device.toolchain_prefix,
        "arch_flags": [*device.arch_flags, *specs],
        "defines": [*defines, ["F_CPU", f"{device.clock_hz}u"]],
        "libs": libraries,
        "link_flags": link_flags,
        "binary": False,
    }
    if library is not None:
        build |= {
            "cxx_flags": library.cxx_flags,
            "libraries": to_json(library.sources),
            # Hundreds of files take minutes: their objects are kept for all projects.
            "objects": str(cache_dir() / "objects"),
        }
    if device.platform != "native":
        flash_room, ram_room = room_bytes(device)
        symbols = {
            "TD_FLASH_ORIGIN": device.flash_origin,
            "TD_FLASH_ROOM": flash_room,
            "TD_RAM_ORIGIN": device.ram_origin,
            "TD_RAM_ROOM": ram_room,
            "TD_RAM_BYTES": device.ram_bytes,
        }
        build |= {
            "binary": True,
            "ldscript": "firmware.ld",
            "link_flags": [
                *link_flags,
                *(f"-Wl,--defsym={name}={value:#x}" for name, value in symbols.items()),
            ],
        }
    return {
        "name": device.description,
        "vendor": "tinydeploy",
        "url": "https://docs.platformio.org/page/boards.html",
        "frameworks": [],
        "build": build,
        "upload": {
            "maximum_size": device.flash_bytes,
            "maximum_ram_size": device.ram_bytes,
            "protocol": device.platform,
        },
    }


def _library(name: str, flags: str) -> dict[str, object]:
    return {"name": name, "version": "1.0.0", "build": {"flags": f"{_WARNINGS} {flags}"}}


def _stand_in() -> dict[str, object]:
    """Two files that make the stand-in for tool-scons the version that PlatformIO wants.

    Without `.piopm` PlatformIO takes the package for a stranger's and goes to its registry.
    """
    from platformio.dependencies import get_core_dependencies

    version = re.sub(r"^[^\d]*", "", get_core_dependencies()["tool-scons"])
    package = {
        "name": "tool-scons",
        "version": version,
        "description": "Stands in for PlatformIO's package: the SCons of the Python environment",
    }
    spec = {"owner": "platformio", "id": None, "name": "tool-scons"}
    metadata = {
        "type": "tool",
        "name": "tool-scons",
        "version": version,
        "spec": {**spec, "requirements": None, "uri": None},
    }
    return {f"{_STAND_IN}/package.json": package, f"{_STAND_IN}/.piopm": metadata}
