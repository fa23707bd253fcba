"""A TFLite-Micro library for firmware of the `tflm` engine: found, checked, listed for the build.

A folder holds the sources as TFLite-Micro's own `create_tflm_tree.py` lays them out, or a checkout
with its downloads, or an Arduino library: `tensorflow/` and `third_party/` in it or in its `src`.
CMSIS-NN among them is used on Cortex-M. Anything else names a library for PlatformIO's `lib_deps`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.tflm_kernels import kernels
from tinydeploy.devices.toolchain import TIMEOUT_S, require
from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.store import sha256_file, sha256_json
from tinydeploy.types import DeviceProfile

ENVIRONMENT = "TINYDEPLOY_TFLM_LIB"

_MICRO = "tensorflow/lite/micro"
_DOWNLOADS = f"{_MICRO}/tools/make/downloads"
# What each third-party part is included by, and the folders that it may lie in.
_THIRD_PARTY = {
    "flatbuffers": ("flatbuffers/flatbuffers.h", ("flatbuffers/include", "flatbuffers")),
    "gemmlowp": ("fixedpoint/fixedpoint.h", ("gemmlowp",)),
    "ruy": ("ruy/profiler/instrumentation.h", ("ruy",)),
}
_CORE = (
    f"{_MICRO}/*.cc",
    f"{_MICRO}/arena_allocator/*.cc",
    f"{_MICRO}/memory_planner/*.cc",
    f"{_MICRO}/tflite_bridge/*.cc",
    "tensorflow/lite/core/**/*.cc",
    "tensorflow/lite/kernels/**/*.cc",
    "tensorflow/lite/schema/*.cc",
    "tensorflow/compiler/mlir/lite/**/*.cc",
)
_NOT_CORE = re.compile(
    r"(_test|/test_[^/]*|/testing_[^/]*|/fake_[^/]*|/mock_[^/]*|/debug_log)\.cc$"
)
_NOT_CMSIS_NN = re.compile(r"(_f16|_f32|arm_nntables_flt)\.c$")

# TFLite-Micro's own release build: core for size, kernels for speed.
_RELEASE = ("-DNDEBUG", "-DTF_LITE_STATIC_MEMORY", "-DTF_LITE_DISABLE_X86_NEON")
# Without its messages it does not call a profiler either.
_SILENT = ("-DTF_LITE_STRIP_ERROR_STRINGS",)
_CXX = ("-std=c++17", "-fno-rtti", "-fno-exceptions", "-fno-threadsafe-statics")
_COMPILE = ("-w", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-ffp-contract=off")
_CORE_LEVEL = "-Os"
_KERNEL_LEVEL = "-O2"


@dataclass(frozen=True)
class Sources:
    """Source files below one folder, and how they are compiled."""

    name: str
    folder: Path
    files: tuple[str, ...]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class TflmLibrary:
    """A library as the build needs it: sources to compile, or `lib_deps` for PlatformIO to get.

    `cxx_flags` are for what includes it; `identity` changes with its content.
    """

    identity: str
    cxx_flags: tuple[str, ...]
    sources: tuple[Sources, ...] = ()
    lib_deps: str = ""


def library(
    name: str, device: DeviceProfile, ops: Iterable[str], *, profile: bool = False
) -> TflmLibrary:
    """The library that a user named, a folder or a specification for `lib_deps`, as far as `ops`
    (the names of a model's operators) need it. With `profile` it calls a profiler.

    Raises UsageError if there is none or it is incomplete, ToolMissingError if the board's
    compiler has no C++ library.
    """
    if not name:
        raise UsageError(
            "the tflm engine needs a TFLite-Micro library",
            hint=f"--tflm-lib or {ENVIRONMENT}: a folder with its sources, "
            "or a library for PlatformIO's lib_deps",
        )
    _require_cxx(device)
    defines = (*_RELEASE, *(() if profile else _SILENT))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _from_folder(folder.resolve(), device, ops, defines)
    if not re.search(r"[/@:]", name) or name.startswith((".", "/", "~")):
        raise UsageError(
            f"there is no folder {name}",
            hint="name a folder with TFLite-Micro's sources, or OWNER/NAME for lib_deps",
        )
    return TflmLibrary(sha256_json([name, defines]), (*_CXX, *defines), lib_deps=name)


def _from_folder(
    folder: Path, device: DeviceProfile, ops: Iterable[str], defines: tuple[str, ...]
) -> TflmLibrary:
    root = next((r for r in (folder, folder / "src") if (r / _MICRO).is_dir()), None)
    if root is None or not (root / _MICRO / "micro_interpreter.h").is_file():
        raise UsageError(
            f"{folder} holds no TFLite-Micro: there is no {_MICRO}/micro_interpreter.h",
            hint="TFLite-Micro's create_tflm_tree.py writes such a folder",
        )
    includes = [root, *(_third_party(root, part) for part in _THIRD_PARTY)]
    cmsis_nn = _cmsis_nn(root) if device.core.startswith("cortex-m") else None
    if cmsis_nn:
        includes += [cmsis_nn, cmsis_nn / "Include"]
        includes += [c for c in _places(root, ("cmsis/CMSIS/Core/Include",)) if c.is_dir()]
        defines = (*defines, "-DCMSIS_NN", "-DARM_NN_ENABLE_F16=0", "-DARM_NN_ENABLE_F32=0")
    flags = (*_COMPILE, *defines, *(f"-I{path}" for path in includes))
    core = sorted(f for f in _matching(root, _CORE) if not _NOT_CORE.search(f))
    needed = kernels(root, ops, optimized=cmsis_nn is not None)
    sources = [
        Sources("tflm_core", root, tuple(core), (*flags, _CORE_LEVEL)),
        Sources("tflm_kernels", root, tuple(needed), (*flags, _KERNEL_LEVEL)),
    ]
    if cmsis_nn:
        files = (f for f in _matching(cmsis_nn, ("Source/**/*.c",)) if not _NOT_CMSIS_NN.search(f))
        sources.append(Sources("cmsis_nn", cmsis_nn, tuple(sorted(files)), (*flags, _KERNEL_LEVEL)))
    system = [word for path in includes for word in ("-isystem", str(path))]
    return TflmLibrary(
        identity=_identity(includes, sources),
        cxx_flags=(*_CXX, *defines, *system),
        sources=tuple(sources),
    )


def _matching(root: Path, patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        for path in root.glob(pattern):
            yield path.relative_to(root).as_posix()


def _places(root: Path, names: tuple[str, ...]) -> list[Path]:
    return [root / base / name for base in ("third_party", _DOWNLOADS) for name in names]


def _third_party(root: Path, part: str) -> Path:
    header, names = _THIRD_PARTY[part]
    for place in _places(root, names):
        if (place / header).is_file():
            return place
    raise UsageError(
        f"the TFLite-Micro library in {root} lacks {part}: there is no {header}",
        hint=f"TFLite-Micro's create_tflm_tree.py puts it into third_party/{part}",
    )


def _cmsis_nn(root: Path) -> Path | None:
    places = _places(root, ("cmsis_nn", "CMSIS-NN"))
    return next((p for p in places if (p / "Include" / "arm_nnfunctions.h").is_file()), None)


def _identity(includes: list[Path], sources: list[Sources]) -> str:
    """Hash of all headers and sources, and of how they are compiled."""
    files = {path for place in includes for path in place.rglob("*.h") if path.is_file()}
    files |= {part.folder / name for part in sources for name in part.files}
    hashes = [sha256_file(path) for path in sorted(files)]
    return sha256_json([hashes, [part.flags for part in sources]])


def _require_cxx(device: DeviceProfile) -> None:
    """Raise ToolMissingError unless the board's compiler can compile C++ with its library."""
    compiler = require(f"{device.toolchain_prefix}g++")
    command = [compiler, *device.arch_flags, "-std=c++17", "-fsyntax-only", "-x", "c++", "-"]
    result = subprocess.run(
        command,
        input="#include <type_traits>\n",
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if result.returncode == 0:
        return
    hint = "install it: sudo apt-get install libstdc++-arm-none-eabi-newlib"
    if not device.toolchain_prefix.startswith("arm"):
        hint = f"the tflm engine needs it; {device.name} can run the aot engine"
    raise ToolMissingError(f"{Path(compiler).name} has no C++ library for {device.name}", hint=hint)
