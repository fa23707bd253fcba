"""The references: LiteRT and TFLite-Micro on the host, each in a worker process of its own.

TFLite-Micro is what device outputs are compared with; LiteRT (XNNPACK by default) is what most
published accuracies come from. The two differ by a few LSB in int8 (FULLY_CONNECTED, SOFTMAX).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from tinydeploy.errors import TinydeployError, UnsupportedModelError, UsageError
from tinydeploy.pipeline.interpreter_worker import read_frame, sample_shape, write_frame
from tinydeploy.pipeline.worker import ending

LOAD_TIMEOUT_S = 120.0
"""Starting Python, importing the interpreter and allocating, on a slow machine."""

PREDICT_TIMEOUT_S = 1800.0
"""One `predict` call; a test set of 10,000 samples through reference kernels takes minutes."""

ARENA_ATTEMPTS_BYTES = (1 << 20, 16 << 20, 256 << 20)
"""Arenas tried in turn: untouched pages cost nothing, so begin well above a microcontroller's."""

_MESSAGE_CHARACTERS = 600


class _Failed(Exception):
    """The interpreter refused, or its process ended; `crashed` says which."""

    def __init__(self, message: str, crashed: bool) -> None:
        super().__init__(message)
        self.crashed = crashed


class _Worker:
    """One worker process: a request, an answer; killed when it is too slow."""

    def __init__(self, engine: str) -> None:
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _end
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tinydeploy.pipeline.interpreter_worker", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
        )
        self._finalizer = weakref.finalize(self, _end, self.process, self.stderr)

    def ask(
        self, header: dict[str, Any], payload: Sequence[bytes] = (), *, timeout_s: float
    ) -> tuple[dict[str, Any], bytes]:
        """The answer to a request. Raises _Failed with the interpreter's own words."""
        requests, answers = self.process.stdin, self.process.stdout
        if requests is None or answers is None or requests.closed:
            raise UsageError("the interpreter is closed", hint="predict before close")
        self.stderr.seek(0)
        self.stderr.truncate()
        late = threading.Event()
        process = self.process

        def kill() -> None:  # refers to the process only: the timer must not keep this object
            late.set()
            process.kill()

        timer = threading.Timer(timeout_s, kill)
        timer.daemon = True
        timer.start()
        try:
            write_frame(requests, header, payload)
            answer, data = read_frame(answers)
        except (EOFError, OSError):
            code = process.wait()
            if late.is_set():
                raise _Failed(f"no answer within {timeout_s:g} s", crashed=False) from None
            raise _Failed(self._words(ending(code)), crashed=True) from None
        finally:
            timer.cancel()
        if "error" in answer:
            raise _Failed(self._words(answer["error"]), crashed=False)
        return answer, data

    def printed(self) -> str:
        """What the interpreter wrote to file descriptor 2 during the last request."""
        self.stderr.seek(0)
        return self.stderr.read().decode(errors="replace")

    def _words(self, summary: str) -> str:
        printed = " ".join(self.printed().split())
        return f"{printed[-_MESSAGE_CHARACTERS:]} ({summary})" if printed else summary

    def close(self) -> None:
        """End the process."""
        self._finalizer()


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes]) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout, stderr):
        if stream is not None:
            try:
                stream.close()
            except OSError:  # unsent bytes of a request whose reader is gone
                continue


class _Interpreter:
    """A model in a worker process; implements `tinydeploy.ports.Predictor`."""

    title = ""
    refusal_hint = "convert the model again; the file may be damaged"

    def __init__(self, engine: str, model: Path, loads: Sequence[dict[str, Any]]) -> None:
        """Load `model`, trying each of `loads` (extra fields of the request) until one works."""
        try:
            self._content = model.read_bytes()
        except OSError as error:
            raise UsageError(
                f"cannot read {model}: {error.strerror}", hint="give a .tflite file"
            ) from error
        self.model = model
        self._engine = engine
        self._worker = _Worker(engine)
        for attempt, fields in enumerate(loads):
            try:
                self._load(fields)
                return
            except _Failed as failed:
                more = attempt + 1 < len(loads) and (failed.crashed or _arena_too_small(failed))
                if not more:
                    self.close()
                    raise self._refused(failed) from None

    def _load(self, fields: dict[str, Any]) -> None:
        """(Re)load the model, in a new process if the last one has ended. Raises _Failed."""
        if self._worker.process.poll() is not None:
            self._worker.close()
            self._worker = _Worker(self._engine)
        answer, _ = self._worker.ask(
            {"command": "load", **fields}, [self._content], timeout_s=LOAD_TIMEOUT_S
        )
        self.inputs: list[tuple[tuple[int, ...], str]] = [
            (sample_shape(shape), dtype) for shape, dtype in answer["inputs"]
        ]
        self.outputs: list[tuple[tuple[int, ...], str]] = [
            (sample_shape(shape), dtype) for shape, dtype in answer["outputs"]
        ]

    def _refused(self, failed: _Failed) -> UnsupportedModelError:
        hint = self.refusal_hint
        if _arena_too_small(failed):
            hint = "the arena is too small: give more bytes, or none to let it grow"
        return UnsupportedModelError(f"{self.title} refuses {self.model.name}: {failed}", hint=hint)

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for N samples, as `tinydeploy.ports.Predictor.predict` says.

        Variables are reset before the first sample and kept between samples. Raises UsageError for
        arrays of another count, shape or dtype than the model's inputs, TinydeployError when the
        interpreter fails.
        """
        samples = self._check(inputs)
        if samples == 0:
            return [np.empty((0, *shape), dtype) for shape, dtype in self.outputs]
        try:
            _, data = self._worker.ask(
                {"command": "predict", "samples": samples},
                [np.ascontiguousarray(x).tobytes() for x in inputs],
                timeout_s=PREDICT_TIMEOUT_S,
            )
        except _Failed as failed:
            raise TinydeployError(
                f"{self.title} failed while running {self.model.name}: {failed}",
                hint="the model may be damaged, or use an op in a way the interpreter rejects",
            ) from None
        results = []
        offset = 0
        for shape, dtype in self.outputs:
            count = samples * int(np.prod(shape, dtype=np.int64))
            stack = np.frombuffer(data, dtype, count, offset).reshape(samples, *shape)
            offset += stack.nbytes
            results.append(stack.copy())
        return results

    def _check(self, inputs: Sequence[np.ndarray]) -> int:
        if len(inputs) != len(self.inputs):
            raise UsageError(
                f"{self.model.name} has {len(self.inputs)} inputs, got {len(inputs)} arrays",
                hint="give one array of N stacked samples for each input",
            )
        for number, (value, (shape, dtype)) in enumerate(zip(inputs, self.inputs, strict=True)):
            if value.shape[1:] != shape or value.dtype != dtype:
                raise UsageError(
                    f"input {number} of {self.model.name} takes {dtype} (N, "
                    f"{', '.join(map(str, shape))}), got {value.dtype} {value.shape}",
                    hint="stack samples in the model's own dtype along a new first axis",
                )
        counts = {len(value) for value in inputs}
        if len(counts) != 1:
            raise UsageError(
                f"the inputs hold different numbers of samples: {sorted(counts)}",
                hint="give the same number of samples for each input",
            )
        return counts.pop()

    def close(self) -> None:
        """End the worker process."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class LiteRt(_Interpreter):
    """LiteRT. Raises UnsupportedModelError when it refuses the model.

    `reference` chooses its reference kernels (BUILTIN_REF) in place of XNNPACK's.
    """

    title = "LiteRT"

    def __init__(self, model: Path, *, reference: bool = False) -> None:
        super().__init__("litert-reference" if reference else "litert", model, [{}])


class TfliteMicro(_Interpreter):
    """TFLite-Micro's x86-64 build: the reference for what a device computes.

    Without `arena_size` (bytes) the arena grows until the model allocates. Raises
    UnsupportedModelError, with TFLite-Micro's message, when it refuses the model (float16, dynamic
    range, an op it lacks) or `arena_size` is too small.
    """

    title = "TFLite-Micro"
    refusal_hint = (
        "it takes float32 and full-integer models: convert with the recipe float32, int8 or "
        "int16x8; a damaged file has to be made again"
    )

    def __init__(self, model: Path, arena_size: int | None = None) -> None:
        sizes = ARENA_ATTEMPTS_BYTES if arena_size is None else (arena_size,)
        super().__init__("tflm", model, [{"arena_bytes": size} for size in sizes])

    def arena(self) -> dict[str, Any]:
        """Bytes of the arena that are used: see `tflm_arena`. Runs one inference of zeros."""
        self.predict([np.zeros((1, *shape), dtype) for shape, dtype in self.inputs])
        try:
            self._worker.ask({"command": "arena"}, timeout_s=LOAD_TIMEOUT_S)
        except _Failed as failed:
            raise self._refused(failed) from None
        found = dict(
            re.findall(r"Arena allocation (total|head|tail) (\d+) bytes", self._worker.printed())
        )
        if set(found) != {"total", "head", "tail"}:
            raise TinydeployError(
                "TFLite-Micro did not print its arena allocations",
                hint="install the tflite-micro version named in requirements.lock",
            )
        figures: dict[str, Any] = {key: int(value) for key, value in found.items()}
        return {
            **figures,
            "sufficient": self._sufficient(figures["total"]),
            "origin": "host 64-bit",
        }

    def _sufficient(self, total: int) -> int:
        """The least arena from `total` on, in steps of 64 bytes, that allocates.

        While it allocates, TFLite-Micro also needs room for temporary structs, which its figures
        leave out: for models with small activations the total alone is not enough.
        """
        least = -(-total // 16) * 16
        for size in range(least, 2 * least + 4096, 64):
            try:
                self._load({"arena_bytes": size})
                return size
            except _Failed:  # a larger arena has worked, so it is only the size
                continue
        raise TinydeployError(
            f"{self.model.name} does not allocate in twice the arena it reported, {total} bytes",
            hint="report this model to the makers of TFLite-Micro",
        )


def _arena_too_small(failed: _Failed) -> bool:
    return (
        re.search(r"Failed to (resize|allocate)|missing: \d+|Too many buffers", str(failed))
        is not None
    )


def tflm_arena(model: Path) -> dict[str, Any]:
    """TFLite-Micro's arena for `model`, in bytes.

    `total` = `head` (activations) + `tail` (structs) is what its recording allocator reports;
    `sufficient` is the least size that also leaves room for what it needs only while it allocates.
    `origin` is "host 64-bit": pointers are 8 bytes there, so a microcontroller needs a little less.
    Raises UnsupportedModelError when TFLite-Micro refuses the model.
    """
    with TfliteMicro(model) as interpreter:
        return interpreter.arena()
