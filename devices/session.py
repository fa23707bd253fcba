"""A conversation with the firmware: identity, inputs, inferences, outputs.

Every command is numbered and every answer checked. A command without an answer is sent again: all
are safe to repeat, since a repeated `infer` is answered from the device's memory.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinydeploy.devices import protocol
from tinydeploy.devices.link import Link
from tinydeploy.devices.protocol import Answer, Identity
from tinydeploy.errors import DeviceError, FirmwareFaultError, LinkError, WrongFirmwareError
from tinydeploy.ports import Meter
from tinydeploy.types import Build

FIRST_RESEND_S = 1.0
MAX_DAMAGED = 64
MAX_NOISE_BYTES = 4 << 20
INPUT_ATTEMPTS = 3
ERR_INPUT = -5


@dataclass(frozen=True)
class Inference:
    """One inference: the bytes of each output, and what the device measured.

    `device_us` is the device's own clock, virtual in an emulator. `energy_uj` is None without a
    meter.
    """

    outputs: tuple[bytes, ...]
    device_us: int
    energy_uj: float | None


@dataclass(frozen=True)
class Memory:
    """RAM as the device knows it; None is unknown to the board.

    `stack_used_bytes` is the high-water mark since start.
    """

    arena_bytes: int
    input_bytes: int
    stack_reserved_bytes: int | None
    stack_used_bytes: int | None


@dataclass(frozen=True)
class _Request:
    name: str
    args: tuple[str | int | bytes, ...] = ()
    timeout_s: float = 5.0


class Session:
    """Speaks to one device over an open link. Close the link, not the session."""

    def __init__(self, link: Link, *, timeout_s: float = 5.0, infer_timeout_s: float = 60.0):
        """`timeout_s` without an answer ends any command, `infer_timeout_s` an inference."""
        self._link = link
        self._timeout_s = timeout_s
        self._infer_timeout_s = infer_timeout_s
        self._seq = int.from_bytes(os.urandom(2)) % protocol.MAX_SEQ
        self._identity: Identity | None = None
        self._noise: deque[bytes] = deque(maxlen=3)
        self.resends = 0
        self.inferences = 0

    # ------------------------------------------------------------ what a caller asks
    def identify(self) -> Identity:
        """Ask the device who it is; asked once, then remembered.

        Raises LinkError if nothing that speaks the protocol answers.
        """
        if self._identity is None:
            self._link.write(b"%")  # ends whatever stands in the device's line
            answer = self._ask("id")
            self._identity = protocol.decode_identity(answer)
        return self._identity

    def require(self, build: Build) -> Identity:
        """Identify the device and refuse it unless it runs `build`."""
        identity = self.identify()
        if identity.build_id != build.build_id:
            raise WrongFirmwareError(
                f"the device on {self._link.name} runs build {identity.build_id[:12]} "
                f"(board {identity.board}, model {identity.model_sha256[:12]}), "
                f"expected {build.build_id[:12]} (board {build.board}, "
                f"model {build.model_sha256[:12]})",
                hint="flash the build again, or measure with the folder it was built in",
            )
        return identity

    def reset(self) -> None:
        """Put the model into its first state (models that keep state between calls)."""
        self._ask("reset")

    def infer(self, data: bytes, *, meter: Meter | None = None) -> Inference:
        """One inference on all inputs, one after the other as raw little-endian bytes.

        With a `meter` its window contains the command and the inference, not the transfer of the
        input; without one the device's own meter is asked. The device checks the CRC of its input
        before it runs, so that the result can only be that of `data`.
        """
        identity = self.identify()
        if len(data) != identity.input_bytes:
            raise ValueError(f"the model takes {identity.input_bytes} bytes, got {len(data)}")
        loads = [
            _Request("load", (at, part), self._timeout_s)
            for at, part in protocol.split_for_lines(data, identity.line_bytes)
        ]
        infer = _Request("infer", (1, f"{protocol.crc16(data):04x}"), self._infer_timeout_s)
        for _ in range(INPUT_ATTEMPTS):
            answer, energy_uj = self._attempt(loads, infer, meter)
            if answer is None:
                continue
            if "energy" in identity.capabilities and energy_uj is None:
                energy_uj = answer.number("nj") / 1000
            return Inference(self._outputs(identity, answer), answer.number("us"), energy_uj)
        raise LinkError(
            f"the device lost its input {INPUT_ATTEMPTS} times",
            hint="a line that loses bytes, or a board that restarts: check power and baud rate",
        )

    def memory(self) -> Memory:
        """Arena and stack as the device reports them now."""
        answer = self._ask("mem")
        return Memory(
            arena_bytes=answer.number("arena"),
            input_bytes=answer.number("input"),
            stack_reserved_bytes=answer.number("stack") or None,
            stack_used_bytes=answer.number("used") or None,
        )

    def counters(self) -> dict[str, int]:
        """Inferences, commands, damaged and too long ones since the device started."""
        answer = self._ask("counters")
        return {key: answer.number(key) for key in ("inferences", "commands", "damaged", "long")}

    # ------------------------------------------------------------ inference in parts
    def _attempt(
        self, loads: list[_Request], infer: _Request, meter: Meter | None
    ) -> tuple[Answer | None, float | None]:
        """The answer of `infer`, or None when it has to be tried again, and the meter's energy."""
        before = self.resends
        if meter is None:
            *loaded, ran = self._exchange([*loads, infer])
            energy_uj = None
        else:
            loaded = self._exchange(loads)
            before = self.resends
            meter.start()
            try:
                (ran,) = self._exchange([infer])
            finally:
                energy_uj = meter.stop()
        for request, answer in zip(loads, loaded, strict=True):
            self._check(request, answer)
        if ran.code == ERR_INPUT:
            return None, None
        self._check(infer, ran)
        self.inferences += 1
        if meter is not None and self.resends != before:
            return None, None  # the window holds waiting: its energy is not the inference's
        return ran, energy_uj

    def _outputs(self, identity: Identity, answer: Answer) -> tuple[bytes, ...]:
        """The outputs: in the answer itself where they fit, otherwise asked for in chunks."""
        if "out" in answer.fields:
            data = answer.data("out")
        else:
            requests = [
                _Request("out", (index, at, min(identity.chunk_bytes, tensor.bytes - at)))
                for index, tensor in enumerate(identity.outputs)
                for at in range(0, tensor.bytes, identity.chunk_bytes)
            ]
            chunks = zip(requests, self._exchange(requests), strict=True)
            data = b"".join(self._check(r, a).data("data") for r, a in chunks)
        if (
            len(data) != identity.output_bytes
            or answer.text("crc") != f"{protocol.crc16(data):04x}"
        ):
            raise LinkError(
                "the outputs that arrived are not those that the device computed",
                hint="the board restarted in between: check its power",
            )
        return tuple(_split(data, [t.bytes for t in identity.outputs]))

    # ------------------------------------------------------------ commands and answers
    def _ask(self, name: str, *args: str | int) -> Answer:
        request = _Request(name, args, self._timeout_s)
        (answer,) = self._exchange([request])
        return self._check(request, answer)

    def _check(self, request: _Request, answer: Answer) -> Answer:
        if answer.code:
            raise DeviceError(
                f"the firmware refused {request.name!r}: {answer.name} ({answer.code})",
                hint="the firmware does not fit this host: build and flash again",
            )
        return answer

    def _exchange(self, requests: Sequence[_Request]) -> list[Answer]:
        """All answers, in order. At most the device's window of commands is under way at once."""
        window = self._identity.window if self._identity else 1
        answers: list[Answer | None] = [None] * len(requests)
        todo = deque(enumerate(requests))
        under_way: dict[int, tuple[int, _Request, bytes]] = {}
        damaged = 0
        noise_limit = self._link.received_bytes + MAX_NOISE_BYTES
        progress = time.monotonic()
        resend_after = FIRST_RESEND_S
        while todo or under_way:
            batch = b""
            while todo and len(under_way) < window:
                index, request = todo.popleft()
                seq = self._next_seq()
                data = protocol.command(seq, request.name, *request.args)
                under_way[seq] = (index, request, data)
                batch += data
            if batch:
                self._link.write(batch)
            oldest = next(iter(under_way.values()))
            deadline = progress + max(request.timeout_s for _, request, _ in under_way.values())
            answer = self._receive(min(deadline, progress + resend_after), noise_limit)
            if answer is None:
                if time.monotonic() >= deadline:
                    raise self._silent(oldest[1])
                resend_after = 2 * resend_after
                self._resend(b"%" + b"".join(data for _, _, data in under_way.values()))
            elif answer.seq is None:
                # Answers come in order, so the damaged one is the oldest without an answer.
                damaged += 1
                if damaged > MAX_DAMAGED + len(requests):
                    raise self._damaged()
                self._resend(oldest[2])
            elif answer.seq in under_way:
                answers[under_way.pop(answer.seq)[0]] = answer
                progress = time.monotonic()
                resend_after = FIRST_RESEND_S
        return [answer for answer in answers if answer is not None]

    def _resend(self, data: bytes) -> None:
        self.resends += 1
        self._link.write(data)

    def _next_seq(self) -> int:
        self._seq = self._seq % protocol.MAX_SEQ + 1
        return self._seq

    def _receive(self, deadline: float, noise_limit: int) -> Answer | None:
        """The next answer, or None at the deadline. Raises for a fault line and for a flood."""
        while True:
            line = self._link.read_line(deadline)
            if line is None:
                return None
            if (answer := protocol.decode_answer(line)) is not None:
                return answer
            if (registers := protocol.decode_fault(line)) is not None:
                raise _fault(registers)
            if line:
                self._noise.append(line[:60])
            if protocol.is_damaged(line):
                return Answer(None, {}, -4, "crc")
            if self._link.received_bytes > noise_limit or time.monotonic() > deadline:
                if self._link.received_bytes > noise_limit:
                    raise self._flooded()
                return None

    # ------------------------------------------------------------ errors
    def _heard(self) -> str:
        lines = [*self._noise, self._link.partial.partition(b"\n")[0][:60]]
        shown = ", ".join(repr(line)[1:] for line in lines if line)
        return f" It sent {self._link.received_bytes} bytes, lately {shown}." if shown else ""

    def _silent(self, request: _Request) -> DeviceError:
        if (registers := protocol.decode_fault(self._link.partial.lstrip())) is not None:
            return _fault(registers)
        if self._identity is None:
            return LinkError(
                f"no firmware answers on {self._link.name}.{self._heard()}",
                hint="is the build flashed, the port the right one, the baud rate 115200?",
            )
        return LinkError(
            f"the firmware did not answer {request.name!r} within {request.timeout_s:g} s."
            f"{self._heard()}",
            hint="it hangs, or the model needs longer: reset the board, or raise the time limit",
        )

    def _flooded(self) -> LinkError:
        return LinkError(
            f"the device sends nothing but garbage.{self._heard()}",
            hint="another firmware, a wrong baud rate, or a program that ran wild: flash again",
        )

    def _damaged(self) -> LinkError:
        return LinkError(
            f"too much is damaged on the line {self._link.name}.{self._heard()}",
            hint="check cable and baud rate; a device without a receive queue needs window 1",
        )


def _fault(registers: dict[str, int]) -> FirmwareFaultError:
    shown = " ".join(f"{key}={value:#010x}" for key, value in registers.items())
    return FirmwareFaultError(
        f"the firmware crashed: {shown}" if shown else "the firmware crashed",
        hint="`addr2line -e firmware.elf PC` names the place; a stack that is too small looks so",
        registers=registers,
    )


def _split(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
