"""The same C built for the host as a shared library: computes what the device computes."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from tinydeploy.errors import DeviceError, ToolMissingError, UsageError
from tinydeploy.graph import Graph
from tinydeploy.store import cache_dir, sha256_json

CFLAGS = (
    "-std=c11",
    "-O2",
    "-fPIC",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
)
_TIMEOUT_S = 300

# Runs many samples without returning to Python.
_LOOP = """\
#include <stddef.h>
#include <string.h>
#include "td_model.h"

__attribute__((visibility("default")))
void td_native_predict(const uint8_t *const *inputs, uint8_t *const *outputs, size_t samples)
{
    td_model_init();
    for (size_t n = 0; n < samples; n++) {
        for (size_t i = 0; i < td_model_input_count; i++) {
            const struct td_io *io = &td_model_inputs[i];
            memcpy(io->data, inputs[i] + n * io->bytes, io->bytes);
        }
        td_model_invoke();
        for (size_t i = 0; i < td_model_output_count; i++) {
            const struct td_io *io = &td_model_outputs[i];
            memcpy(outputs[i] + n * io->bytes, io->data, io->bytes);
        }
    }
}
"""

# The arena is static: two predictors of one library must not run at the same time.
_locks: dict[Path, threading.Lock] = {}


def firmware_dir() -> Path:
    """The firmware's sources, which ship in the package."""
    return Path(str(files("tinydeploy.firmware")))


def kernels_dir() -> Path:
    """The sources of the kernel library."""
    return firmware_dir() / "lib" / "td_kernels"


def host_compiler() -> str:
    """`$CC`, or cc on PATH. Raises ToolMissingError."""
    compiler = shutil.which(os.environ.get("CC") or "cc")
    if compiler is None:
        raise ToolMissingError(
            "no C compiler for the host",
            hint="install gcc (apt install gcc), or name one in the variable CC",
        )
    return compiler


class NativePredictor:
    """A compiled model in this process; implements `tinydeploy.ports.Predictor`."""

    def __init__(self, graph: Graph, sources: Mapping[str, str]) -> None:
        """Build (or find in the cache) and load the library of a model's C sources."""
        self.inputs = [graph.tensors[t] for t in graph.inputs]
        self.outputs = [graph.tensors[t] for t in graph.outputs]
        self.library = build_library(sources)
        self._lock = _locks.setdefault(self.library, threading.Lock())
        self._run = ctypes.CDLL(str(self.library)).td_native_predict
        self._run.restype = None
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for N samples, see the port. Raises UsageError for arrays that do not fit."""
        samples = self._samples(inputs)
        given = [np.ascontiguousarray(x) for x in inputs]
        results = [np.empty((samples, *t.sample_shape), t.dtype) for t in self.outputs]
        with self._lock:
            self._run(_pointers(given), _pointers(results), samples)
        return results

    def close(self) -> None:
        """Nothing to do: the library stays loaded, since others may use it."""

    def _samples(self, inputs: Sequence[np.ndarray]) -> int:
        if len(inputs) != len(self.inputs):
            raise UsageError(
                f"the model has {len(self.inputs)} inputs, {len(inputs)} arrays were given",
                hint="give one array a model input, samples stacked along a new first axis",
            )
        for array, tensor in zip(inputs, self.inputs, strict=True):
            shape = tensor.sample_shape
            if array.ndim == 0 or array.shape[1:] != shape or array.dtype != tensor.dtype:
                raise UsageError(
                    f"input {tensor.name!r} takes {tensor.dtype} samples of shape {list(shape)}, "
                    f"not {array.dtype} {list(array.shape[1:])}",
                    hint="stack samples in the model's own dtype along a new first axis",
                )
        counts = {len(array) for array in inputs}
        if len(counts) != 1:
            raise UsageError(
                f"the inputs hold different numbers of samples: {sorted(counts)}",
                hint="give the same number of samples for each input",
            )
        return counts.pop()


def build_library(sources: Mapping[str, str]) -> Path:
    """A shared library of a model's C sources and the kernels, from the cache if it is there.

    The name is the hash of everything that goes in: sources, kernels, flags, compiler. Raises
    ToolMissingError without a compiler, DeviceError with its words when it fails.
    """
    compiler = host_compiler()
    kernels = _kernel_library(compiler)
    identity = sha256_json([dict(sources), _LOOP, kernels.parent.name])
    library = cache_dir() / "native" / identity[:32] / "model.so"
    if not library.exists():
        with _making(library) as folder:
            for name, text in {**sources, "td_native.c": _LOOP}.items():
                (folder / name).write_text(text)
            _run(
                [
                    compiler,
                    *CFLAGS,
                    "-shared",
                    "-Wl,-Bsymbolic",
                    f"-I{kernels_dir()}",
                    f"-I{firmware_dir() / 'include'}",
                    *sorted(name for name in (*sources, "td_native.c") if name.endswith(".c")),
                    str(kernels),
                    "-o",
                    "model.so",
                ],
                folder,
            )
    return library


def _kernel_library(compiler: str) -> Path:
    """The kernels for the host, compiled once a compiler and a version of their sources."""
    sources = {p.name: p.read_text() for p in sorted(kernels_dir().glob("td_*.[ch]"))}
    version = _run([compiler, "--version"], Path.cwd())
    identity = sha256_json([sources, CFLAGS, version])
    library = cache_dir() / "native" / identity[:32] / "libtd_kernels.a"
    if not library.exists():
        names = [name for name in sources if name.endswith(".c")]
        with _making(library) as folder:
            for name, text in sources.items():
                (folder / name).write_text(text)
            _run([compiler, *CFLAGS, "-c", *names], folder)
            _run(["ar", "rcs", library.name, *(n[:-2] + ".o" for n in names)], folder)
    return library


@contextlib.contextmanager
def _making(final: Path) -> Iterator[Path]:
    """A temporary folder beside the cache's entries; what it holds as `final.name` is kept."""
    final.parent.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=final.parent.parent, prefix=".build.") as folder:
        yield Path(folder)
        final.parent.mkdir(exist_ok=True)
        os.replace(Path(folder) / final.name, final)


def _run(command: list[str], folder: Path) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except FileNotFoundError as error:
        raise ToolMissingError(
            f"{command[0]} is not installed", hint="install gcc and binutils"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{command[0]} took more than {_TIMEOUT_S} s", hint="is the machine overloaded?"
        ) from error
    if done.returncode != 0:
        raise DeviceError(
            f"{Path(command[0]).name} failed: {done.stderr.strip()[-2000:]}",
            hint="the host's C compiler must support C11",
        )
    return done.stdout


def _pointers(arrays: Sequence[np.ndarray]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
