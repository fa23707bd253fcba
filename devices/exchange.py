"""Commands out, answers in: numbers, the window, repetition, and what is said when it fails.

Every command is numbered and every answer checked. A command without an answer is sent again: all
commands are safe to repeat, since a repeated `infer` is answered from the device's memory. A late
answer carries an old number and is dropped.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from tinydeploy.devices import protocol
from tinydeploy.devices.link import Link
from tinydeploy.devices.protocol import Answer
from tinydeploy.errors import DeviceError, FirmwareFaultError, LinkError

FIRST_RESEND_S = 1.0
MAX_DAMAGED = 64
MAX_NOISE_BYTES = 4 << 20
_SHOWN = 60


@dataclass(frozen=True)
class Request:
    """One command, and how long the device may take for it."""

    name: str
    args: tuple[str | int | bytes, ...] = ()
    timeout_s: float = 5.0


@dataclass(frozen=True)
class _UnderWay:
    index: int
    request: Request
    data: bytes


class Exchange:
    """Exchanges commands and answers over one link.

    `window` is how many commands may be under way at once: 1 until the device has named its own.
    `resends` counts what had to be sent again.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        # A random start: an answer to an earlier host, still in some queue, has another number.
        self._seq = int.from_bytes(os.urandom(2)) % protocol.MAX_SEQ
        self._noise: deque[bytes] = deque(maxlen=3)
        self._heard_answer = False
        self.window = 1
        self.resends = 0

    def wake(self) -> None:
        """End whatever an earlier host left in the device's line."""
        self._link.write(b"%")

    def ask(self, request: Request) -> Answer:
        """The answer to one command. Raises DeviceError if the device refuses it."""
        (answer,) = self.run([request])
        return accepted(request, answer)

    def run(self, requests: Sequence[Request]) -> list[Answer]:
        """The answers to all commands, in order, refusals included.

        Raises LinkError when the device stays silent, sends garbage or does not understand what
        arrives, FirmwareFaultError when it reports a crash.
        """
        answers: dict[int, Answer] = {}
        todo = deque(enumerate(requests))
        under_way: dict[int, _UnderWay] = {}
        damaged = 0
        noise_limit = self._link.received_bytes + MAX_NOISE_BYTES
        progress = time.monotonic()
        resend_after = FIRST_RESEND_S
        while todo or under_way:
            self._send_ahead(todo, under_way)
            oldest = next(iter(under_way.values()))
            deadline = progress + max(sent.request.timeout_s for sent in under_way.values())
            answer = self._receive(min(deadline, progress + resend_after), noise_limit)
            if answer is None:
                if time.monotonic() >= deadline:
                    raise self._silent(oldest.request)
                resend_after *= 2
                self._resend(b"%" + b"".join(sent.data for sent in under_way.values()))
            elif answer.seq is None:
                # Answers come in order: the damaged one is the oldest without an answer. To send
                # all again would multiply them on a line that damages many.
                damaged += 1
                if damaged > MAX_DAMAGED + len(requests):
                    raise self._damaged()
                self._resend(oldest.data)
            elif answer.seq in under_way:
                answers[under_way.pop(answer.seq).index] = answer
                self._heard_answer = True
                progress = time.monotonic()
                resend_after = FIRST_RESEND_S
        return [answers[index] for index in range(len(requests))]

    def _send_ahead(
        self, todo: deque[tuple[int, Request]], under_way: dict[int, _UnderWay]
    ) -> None:
        batch = b""
        while todo and len(under_way) < self.window:
            index, request = todo.popleft()
            self._seq = self._seq % protocol.MAX_SEQ + 1
            data = protocol.command(self._seq, request.name, *request.args)
            under_way[self._seq] = _UnderWay(index, request, data)
            batch += data
        if batch:
            self._link.write(batch)

    def _resend(self, data: bytes) -> None:
        self.resends += 1
        self._link.write(data)

    def _receive(self, deadline: float, noise_limit: int) -> Answer | None:
        """The next answer, one without a number for a damaged one, or None at the deadline."""
        while (line := self._link.read_line(deadline)) is not None:
            if (answer := protocol.decode_answer(line)) is not None:
                return answer
            if (registers := protocol.decode_fault(line)) is not None:
                raise _fault(registers)
            if line:
                self._noise.append(line[:_SHOWN])
            if protocol.is_damaged(line):
                return Answer(None, {}, protocol.ERR_CRC, "crc")
            if self._link.received_bytes > noise_limit:
                raise self._flooded()
            if time.monotonic() > deadline:
                return None
        if self._link.received_bytes > noise_limit:
            raise self._flooded()
        return None

    # ------------------------------------------------------------ errors
    def _heard(self) -> str:
        lines = [*self._noise, self._link.partial.partition(b"\n")[0][:_SHOWN]]
        shown = ", ".join(repr(line)[1:] for line in lines if line)
        return f" It sent {self._link.received_bytes} bytes, lately {shown}." if shown else ""

    def _silent(self, request: Request) -> DeviceError:
        if (registers := protocol.decode_fault(self._link.partial.lstrip())) is not None:
            return _fault(registers)
        if not self._heard_answer:
            return LinkError(
                f"no firmware answers on {self._link.name}.{self._heard()}",
                hint="is the build flashed, the port the right one, the baud rate 115200?",
            )
        return LinkError(
            f"the firmware did not answer {request.name!r} within {request.timeout_s:g} s."
            f"{self._heard()}",
            hint="it hangs, or the model needs longer: reset the board, or raise infer_timeout_s",
        )

    def _flooded(self) -> LinkError:
        return LinkError(
            f"the device sends nothing but garbage.{self._heard()}",
            hint="another firmware, a wrong baud rate, or a program that ran wild: flash again",
        )

    def _damaged(self) -> LinkError:
        return LinkError(
            f"too much arrives damaged on {self._link.name}.{self._heard()}",
            hint="check cable and baud rate; a device without a receive queue needs window 1",
        )


def accepted(request: Request, answer: Answer) -> Answer:
    """`answer`, unless it is a refusal: then DeviceError."""
    if answer.code:
        raise DeviceError(
            f"the firmware refused {request.name!r}: {answer.name} ({answer.code})",
            hint="the firmware does not fit this host: build and flash again",
        )
    return answer


def _fault(registers: dict[str, int]) -> FirmwareFaultError:
    shown = " ".join(f"{key}={value:#010x}" for key, value in registers.items())
    return FirmwareFaultError(
        f"the firmware crashed: {shown}" if shown else "the firmware crashed",
        hint="`addr2line -e firmware.elf PC` names the place; a stack that is too small looks so",
        registers=registers,
    )
