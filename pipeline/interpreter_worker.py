"""The worker process in which the host's interpreters run.

TFLite-Micro can end its process (a small arena, a hostile model), so no interpreter ever runs in
the user's own. `python -m tinydeploy.pipeline.interpreter_worker ENGINE` reads requests from
stdin and writes answers to stdout; both are frames: two little-endian integers (bytes of the
header, uint32; bytes of the payload, uint64), a JSON header, raw C-ordered array bytes. What the
interpreters print goes to stderr.

Requests: `load` (payload: the model; `arena_bytes` for tflm), `predict` (payload: all samples of
the first input, then of the second, ...), `arena` (tflm only, after a `predict`).
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from collections.abc import Sequence
from typing import IO, Any, Protocol

import numpy as np

PREFIX = struct.Struct("<IQ")
MEMORY_LIMIT_BYTES = 8 << 30
"""Address space of the worker: a hostile model may claim any size."""


def write_frame(stream: IO[bytes], header: dict[str, Any], payload: Sequence[bytes] = ()) -> None:
    """Send a JSON header and the concatenation of `payload`."""
    text = json.dumps(header).encode()
    stream.write(PREFIX.pack(len(text), sum(len(part) for part in payload)))
    stream.write(text)
    for part in payload:
        stream.write(part)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """Receive a header and its payload. Raises EOFError when the other side is gone."""
    text_bytes, payload_bytes = PREFIX.unpack(_exactly(stream, PREFIX.size))
    header = json.loads(_exactly(stream, text_bytes))
    return header, _exactly(stream, payload_bytes)


def _exactly(stream: IO[bytes], count: int) -> bytes:
    data = stream.read(count)
    if len(data) != count:
        raise EOFError
    return data


def sample_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """A tensor's shape without its batch dimension of one; a tensor without one as it is."""
    return tuple(int(d) for d in (shape[1:] if len(shape) > 0 and shape[0] == 1 else shape))


class Engine(Protocol):
    """What an interpreter has to do here. Tensors are (shape, dtype name)."""

    inputs: list[tuple[list[int], str]]
    outputs: list[tuple[list[int], str]]

    def reset(self) -> None:
        """Forget the state kept between invokes (variables)."""

    def invoke(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One inference with arrays of exactly the tensors' shapes and dtypes."""


class MicroEngine:
    """TFLite-Micro's x86-64 build, which records its allocations."""

    def __init__(self, model: bytes, arena_bytes: int) -> None:
        from tflite_micro import runtime

        self._interpreter = runtime.Interpreter.from_bytes(
            model,
            arena_size=arena_bytes,
            intrepreter_config=runtime.InterpreterConfig.kAllocationRecording,
        )
        self.inputs = self._tensors(self._interpreter.get_input_details)
        self.outputs = self._tensors(self._interpreter.get_output_details)

    @staticmethod
    def _tensors(details: Any) -> list[tuple[list[int], str]]:
        found: list[tuple[list[int], str]] = []
        while True:
            try:
                one = details(len(found))
            except IndexError:  # the package has no call that tells how many there are
                return found
            found.append(([int(d) for d in one["shape"]], np.dtype(one["dtype"]).name))

    def reset(self) -> None:
        """Forget the state kept between invokes."""
        self._interpreter.reset()

    def invoke(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One inference."""
        for index, value in enumerate(inputs):
            self._interpreter.set_input(value, index)
        self._interpreter.invoke()
        return [self._interpreter.get_output(i) for i in range(len(self.outputs))]

    def print_allocations(self) -> None:
        """Write the arena's total, head and tail to file descriptor 2."""
        self._interpreter.print_allocations()


class LiteRtEngine:
    """LiteRT with its default kernels (XNNPACK) or its reference kernels."""

    def __init__(self, model: bytes, reference: bool) -> None:
        from ai_edge_litert import interpreter

        kind = interpreter.OpResolverType
        self._interpreter = interpreter.Interpreter(
            model_content=model,
            num_threads=1,
            experimental_op_resolver_type=kind.BUILTIN_REF if reference else kind.AUTO,
        )
        self._interpreter.allocate_tensors()
        ins, outs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input_index = [d["index"] for d in ins]
        self._output_index = [d["index"] for d in outs]
        self.inputs = [([int(n) for n in d["shape"]], np.dtype(d["dtype"]).name) for d in ins]
        self.outputs = [([int(n) for n in d["shape"]], np.dtype(d["dtype"]).name) for d in outs]

    def reset(self) -> None:
        """Forget the state kept between invokes."""
        self._interpreter.reset_all_variables()

    def invoke(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """One inference."""
        for index, value in zip(self._input_index, inputs, strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(i) for i in self._output_index]


def predict(engine: Engine, samples: int, payload: bytes) -> list[bytes]:
    """All samples of each output, one bytes object an output."""
    offset = 0
    stacks: list[np.ndarray] = []
    for shape, dtype in engine.inputs:
        count = samples * int(np.prod(shape, dtype=np.int64))
        stack = np.frombuffer(payload, dtype, count, offset).reshape(samples, *shape)
        offset += stack.nbytes
        stacks.append(stack)
    results: list[list[bytes]] = [[] for _ in engine.outputs]
    engine.reset()
    for n in range(samples):
        for result, value in zip(results, engine.invoke([s[n] for s in stacks]), strict=True):
            result.append(np.ascontiguousarray(value).tobytes())
    return [b"".join(result) for result in results]


def main() -> None:
    """Serve requests until stdin ends."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY_LIMIT_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_LIMIT_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not look like an answer
    name = sys.argv[1]
    engine: Any = None
    while True:
        try:
            header, payload = read_frame(requests)
        except EOFError:
            return
        try:
            if header["command"] == "load":
                if name == "tflm":
                    engine = MicroEngine(payload, header["arena_bytes"])
                else:
                    engine = LiteRtEngine(payload, reference=name == "litert-reference")
                write_frame(answers, {"inputs": engine.inputs, "outputs": engine.outputs})
            elif header["command"] == "predict":
                write_frame(answers, {}, predict(engine, header["samples"], payload))
            else:
                engine.print_allocations()
                write_frame(answers, {})
        except Exception as error:  # whatever an interpreter raises is the answer
            write_frame(answers, {"error": f"{type(error).__name__}: {error}"})


if __name__ == "__main__":
    main()
