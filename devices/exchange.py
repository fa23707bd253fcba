"""Commands out, answers in: numbers, the window, repetition, and what is said when it fails.

Every command is numbered and every answer checked. A command without an answer is sent again: all
commands are safe to repeat, since a repeated `infer` is answered from the device's memory. A late
answer carries an old number and is dropped.

On a clean line nothing is sent again before a second has passed. Once something had to be, the
time that answers take is watched, and what is lost is sent again after four times as long.
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
LEAST_RESEND_S = 0.02
ANSWER_BYTES = 512  # a long answer: time that a slow line needs before it can have arrived
# A line that damages one byte in a hundred lets one in 40 of the answers to `id` through.
MAX_DAMAGED = 512
SOME_DAMAGED = 8  # more of them in a row, and silence is no longer what is wrong
MAX_DAMAGED_S = 60.0
MAX_NOISE_BYTES = 4 << 20
MAX_SILENCE_BYTES = 4096  # who sends more while an answer is due is not silent but mad
_SHOWN = 60


@dataclass(frozen=True)
class Request:
    """One command, and how long the device may take for it."""

    name: str
    args: tuple[str | int | bytes, ...] = ()
    timeout_s: float = 5.0


class TooDamagedError(LinkError):
    """So much arrives damaged that shorter commands may do better."""


class _Flight:
    """The commands that were sent and not answered, and the order in which they left.

    The device answers in order, so that an answer without a number belongs to the first that left.
    """

    def __init__(self) -> None:
        self.waiting: dict[int, tuple[int, Request, bytes]] = {}
        self._left: deque[int] = deque()

    def launch(self, seq: int, index: int, request: Request) -> bytes:
        """Note a new command; its bytes."""
        data = protocol.command(seq, request.name, *request.args)
        self.waiting[seq] = (index, request, data)
        self._left.append(seq)
        return data

    def land(self, seq: int) -> int | None:
        """The index of the command that an answer belongs to; None if it has been answered."""
        if seq in self._left:
            while self._left.popleft() != seq:
                pass
        command = self.waiting.pop(seq, None)
        return None if command is None else command[0]

    def repeat_damaged(self) -> bytes:
        """The bytes of the command that the device could not read, or whose answer was damaged."""
        seq = self._left.popleft() if self._left else next(iter(self.waiting))
        if seq not in self.waiting:
            return b""  # it was sent twice, and the other one was answered
        self._left.append(seq)
        return self.waiting[seq][2]

    def repeat_all(self) -> bytes:
        """The bytes of all that has not been answered."""
        self._left = deque(self.waiting)
        return b"".join(data for _, _, data in self.waiting.values())

    def oldest(self) -> Request:
        """The command that has waited for the longest time."""
        return next(iter(self.waiting.values()))[1]

    def timeout_s(self) -> float:
        """How long the device may be silent."""
        return max(request.timeout_s for _, request, _ in self.waiting.values())


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
        self._takes_s: dict[str, float] = {}
        self.window = 1
        self.resends = 0

    def wake(self) -> None:
        """End whatever an earlier host left in the device's line."""
        self._link.write(b"%")

    def ask(self, request: Request) -> Answer:
        """The answer to one command. Raises DeviceError if the device refuses it."""
        (answer,) = self.run([request])
        return accepted(request, answer)

    def run(self, requests: Sequence[Request], patience: int = MAX_DAMAGED) -> list[Answer]:
        """The answers to all commands, in order, refusals included.

        Raises TooDamagedError when more than `patience` commands or answers in a row arrived
        damaged.

        Raises LinkError when the device stays silent, sends garbage or does not understand what
        arrives, FirmwareFaultError when it reports a crash.
        """
        answers: dict[int, Answer] = {}
        todo = deque(enumerate(requests))
        flight = _Flight()
        damaged = 0
        noise_limit = self._link.received_bytes + MAX_NOISE_BYTES
        progress, heard_bytes = time.monotonic(), self._link.received_bytes
        asked, resends, waits = progress, self.resends, 1.0
        while todo or flight.waiting:
            self._send_ahead(todo, flight)
            oldest, timeout_s = flight.oldest(), flight.timeout_s()
            resend_s = min(timeout_s, self._resend_after_s(oldest.name) * waits)
            since = max(progress, self._link.sent_by) + self._link.seconds_for(ANSWER_BYTES)
            answer = self._receive(since + resend_s, noise_limit)
            now = time.monotonic()
            if answer is None:
                if now >= since + timeout_s:
                    silent = self._link.received_bytes - heard_bytes <= MAX_SILENCE_BYTES
                    if damaged > SOME_DAMAGED:
                        raise self._damaged()
                    raise self._silent(oldest) if silent else self._flooded()
                waits *= 2
                asked = now
                self._resend(b"%" + flight.repeat_all())
            elif answer.seq is None:
                damaged += 1
                if damaged > patience or (
                    damaged > len(requests) and now > progress + MAX_DAMAGED_S
                ):
                    raise self._damaged()
                if oldest.name != "infer":  # a refused one says nothing of how long one takes
                    self._learn(oldest.name, now - asked)
                if data := flight.repeat_damaged():
                    self._resend(data)
                asked = now
            elif (index := flight.land(answer.seq)) is not None:
                answers[index] = answer
                self._heard_answer = True
                if self.resends == resends:
                    self._learn(requests[index].name, now - progress)
                progress = asked = now
                heard_bytes = self._link.received_bytes
                resends, waits, damaged = self.resends, 1.0, 0
        return [answers[index] for index in range(len(requests))]

    def _learn(self, name: str, seconds: float) -> None:
        """How long an answer takes: the longest time seen, which fades slowly."""
        self._takes_s[name] = max(seconds, 0.9 * self._takes_s.get(name, 0.0))

    def _resend_after_s(self, name: str) -> float:
        if self.resends == 0 or name not in self._takes_s:
            return FIRST_RESEND_S
        return min(FIRST_RESEND_S, max(LEAST_RESEND_S, 4 * self._takes_s[name]))

    def _send_ahead(self, todo: deque[tuple[int, Request]], flight: _Flight) -> None:
        batch = b""
        while todo and len(flight.waiting) < self.window:
            index, request = todo.popleft()
            self._seq = self._seq % protocol.MAX_SEQ + 1
            batch += flight.launch(self._seq, index, request)
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
                hint="is the build flashed, the port the right one, --baud the firmware's? of an "
                "emulator: does another client hold its line?",
            )
        return LinkError(
            f"the firmware did not answer {request.name!r} within {request.timeout_s:g} s."
            f"{self._heard()}",
            hint="it hangs, or needs longer: raise infer_timeout_s in the board's [emulator] table",
        )

    def _flooded(self) -> LinkError:
        return LinkError(
            f"the device sends nothing but garbage.{self._heard()}",
            hint="another firmware, a wrong baud rate, or a program that ran wild: flash again",
        )

    def _damaged(self) -> LinkError:
        return TooDamagedError(
            f"too much arrives damaged on {self._link.name}.{self._heard()}",
            hint="check cable and baud rate; flash again if the firmware is of an older version; "
            "a device without a receive queue needs window 1",
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
        hint="`tinydeploy devices fault BUILD LINE` names the place in the source",
        registers=registers,
    )
