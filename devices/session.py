"""A conversation with the firmware: identity, inputs, inferences, outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from tinydeploy.devices import protocol
from tinydeploy.devices.exchange import Exchange, Request, TooDamagedError, accepted
from tinydeploy.devices.link import Link
from tinydeploy.devices.protocol import Answer, Identity
from tinydeploy.errors import LinkError, UsageError, WrongFirmwareError
from tinydeploy.types import Build, DeviceProfile

ATTEMPTS = 3
SHORTEST_LINE_BYTES = 56  # a command of a few data bytes: shorter ones would be all overhead
_OUT_OVERHEAD = len("td 65535 ok data= ffffffff")
PATIENCE = 4  # so many commands in a row may arrive damaged before shorter ones are tried
INFER_TIMEOUT_S = 60.0


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
class LayerTime:
    """How often a layer was begun in the last `infer`, and its time by the device's own clock."""

    begun: int
    us: int


class _OutputsLostError(LinkError):
    """The outputs of an inference are gone, so that it has to be run again."""


def infer_timeout_s(device: DeviceProfile) -> float:
    """Seconds for one inference: `infer_timeout_s` of the board's [emulator] table, or 60."""
    text = device.emulator.get("infer_timeout_s", str(INFER_TIMEOUT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise UsageError(
            f"{device.name}: infer_timeout_s is {text!r}", hint="seconds, greater than 0"
        )
    return seconds


class Session:
    """Speaks to one device over an open link. Close the link, not the session.

    `inferences` counts those that the device was made to run.
    """

    def __init__(
        self, link: Link, *, timeout_s: float = 5.0, infer_timeout_s: float = INFER_TIMEOUT_S
    ) -> None:
        """`timeout_s` without an answer ends any command, `infer_timeout_s` an inference."""
        self._name = link.name
        self._exchange = Exchange(link)
        self._timeout_s = timeout_s
        self._infer_timeout_s = infer_timeout_s
        self._identity: Identity | None = None
        self._line_bytes = 0
        self.inferences = 0

    @property
    def resends(self) -> int:
        """How often something had to be sent again."""
        return self._exchange.resends

    def identify(self) -> Identity:
        """Ask the device who it is; asked once, then remembered.

        Raises LinkError if nothing that speaks the protocol answers.
        """
        if self._identity is None:
            self._exchange.wake()
            self._identity = protocol.decode_identity(self._ask("id"))
            self._exchange.window = self._identity.window
            self._line_bytes = self._identity.line_bytes
        return self._identity

    def require(self, build: Build) -> Identity:
        """Identify the device and refuse it unless it runs `build`, with its model."""
        identity = self.identify()
        same_model = identity.model_sha256 == build.model_sha256
        if identity.build_id != build.build_id or not same_model:
            raise WrongFirmwareError(
                f"the device on {self._name} runs build {identity.build_id[:12]} "
                f"(board {identity.board}, model {identity.model_sha256[:12]}), "
                f"expected {build.build_id[:12]} (board {build.board}, "
                f"model {build.model_sha256[:12]})",
                hint="flash the build again, or measure with the folder it was built in",
            )
        return identity

    def reset(self) -> None:
        """Put the model into its first state (models that keep state between calls)."""
        self._ask("reset")

    def forget(self) -> None:
        """The device may be another one now: it is asked again who it is."""
        self._identity = None

    def ask(
        self,
        name: str,
        *args: str | int | bytes,
        timeout_s: float | None = None,
        refusals: bool = False,
    ) -> Answer:
        """The answer to any command; with `refusals` also what the device refuses is an answer.

        Raises TooDamagedError when shorter commands may get through.
        """
        self.identify()
        request = Request(name, args, timeout_s or self._timeout_s)
        (answer,) = self._exchange.run([request], PATIENCE)
        return answer if refusals else accepted(request, answer)

    def infer(
        self,
        data: bytes,
        *,
        times: int = 1,
        around: AbstractContextManager[Any] | None = None,
        timeout_s: float | None = None,
    ) -> Inference:
        """Inferences on all inputs, one after the other as raw little-endian bytes.

        The device checks the CRC of its input before it runs, so that the result can only be that
        of `data`. More than one time needs room on the device's stack for a copy of the input:
        DeviceError without. `device_us` and `energy_uj` are sums. `around` is entered when the
        input is there and left when the answer is: it holds nothing but the command and what it
        runs, and is entered again where the line spoilt that. `timeout_s` replaces the session's.
        """
        identity = self.identify()
        if len(data) != identity.input_bytes:
            raise ValueError(f"the model takes {identity.input_bytes} bytes, got {len(data)}")
        limit_s = self._infer_timeout_s if timeout_s is None else timeout_s
        infer = Request("infer", (times, f"{protocol.crc32(data):08x}"), limit_s)
        lost: LinkError | None = None
        for _ in range(ATTEMPTS):
            answer = self._attempt(data, infer, around)
            if answer is None:
                continue
            energy_uj = None
            if "energy" in identity.capabilities:
                energy_uj = answer.number("nj") / 1000
            try:
                outputs = self._outputs(identity, answer)
            except _OutputsLostError as e:
                lost = e
                continue
            return Inference(outputs, answer.number("us"), energy_uj)
        if lost is not None:
            raise lost
        raise LinkError(
            f"{ATTEMPTS} attempts at one inference were spoilt by a bad line",
            hint="bytes get lost, or the board restarts: check power, cable and baud rate",
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

    def layers(self) -> list[LayerTime]:
        """The layers of the last `infer`. Raises DeviceError if the firmware marks none."""
        found: list[LayerTime] = []
        total = 1
        while len(found) < total:
            answer = self._ask("profile", len(found))
            total = answer.number("layers")
            us, begun = answer.numbers("us"), answer.numbers("begun")
            found += [LayerTime(b, t) for b, t in zip(begun, us, strict=False)]
            if not us or len(us) != len(begun) or len(found) > total:
                raise LinkError("the device names impossible layers", hint="flash the build again")
        return found

    def _ask(self, name: str, *args: int) -> Answer:
        return self._exchange.ask(Request(name, args, self._timeout_s))

    def _attempt(
        self, data: bytes, infer: Request, around: AbstractContextManager[Any] | None
    ) -> Answer | None:
        """The answer of `infer`, or None when it has to be tried again."""
        if around is None and self.resends == 0:
            loads = self._loads(data, self._line_bytes)
            *loaded, ran = self._exchange.run([*loads, infer])
            for request, answer in zip(loads, loaded, strict=True):
                accepted(request, answer)
            return self._judge(infer, ran)
        self._adapting(lambda line_bytes: self._loads(data, line_bytes))
        resends = self.resends
        with around or nullcontext():
            (ran,) = self._exchange.run([infer])
        judged = self._judge(infer, ran)
        if around is not None and self.resends != resends:
            return None  # what was entered holds waiting: it is not the inference's alone
        return judged

    def _judge(self, infer: Request, ran: Answer) -> Answer | None:
        """The answer of `infer`, None if the device has lost its input; raises for a refusal."""
        if ran.code == protocol.ERR_INPUT:
            return None
        answer = accepted(infer, ran)
        self.inferences += answer.number("n")
        return answer

    def _loads(self, data: bytes, line_bytes: int) -> list[Request]:
        return [
            Request("load", (at, part), self._timeout_s)
            for at, part in protocol.split_for_lines(data, line_bytes)
        ]

    def _adapting(self, requests_for: Callable[[int], list[Request]]) -> list[Answer]:
        """The answers to requests as long as the line bears: on a bad one short ones do better.

        `requests_for` makes those whose commands and answers take a line of so many bytes. Doing
        the same in other parts must do no harm.
        """
        while True:
            requests = requests_for(self._line_bytes)
            resends = self.resends
            shortest = self._line_bytes <= SHORTEST_LINE_BYTES
            try:
                if shortest:
                    answers = self._exchange.run(requests)
                else:
                    answers = self._exchange.run(requests, PATIENCE)
            except TooDamagedError:
                if shortest:
                    raise
                self._line_bytes = max(SHORTEST_LINE_BYTES, self._line_bytes // 2)
                continue
            if self.resends == resends:
                self._line_bytes = min(self._line_bytes * 2, self.identify().line_bytes)
            for request, answer in zip(requests, answers, strict=True):
                if answer.code != protocol.ERR_INPUT:
                    accepted(request, answer)
            return answers

    def _outputs(self, identity: Identity, answer: Answer) -> tuple[bytes, ...]:
        """The outputs: in the answer itself where they fit, otherwise asked for in chunks."""
        fits = "out" in answer.fields
        data = answer.data("out") if fits else b"".join(self._chunks(identity))
        right = len(data) == identity.output_bytes
        if not right or answer.text("crc") != f"{protocol.crc32(data):08x}":
            raise _OutputsLostError(
                "the outputs that arrived are not those that the device computed",
                hint="the board restarted in between: check its power",
            )
        return tuple(_split(data, [tensor.bytes for tensor in identity.outputs]))

    def _chunks(self, identity: Identity) -> list[bytes]:
        def requests_for(line_bytes: int) -> list[Request]:
            size = max(1, min(identity.chunk_bytes, (line_bytes - _OUT_OVERHEAD) // 2))
            return [
                Request("out", (index, at, min(size, tensor.bytes - at)), self._timeout_s)
                for index, tensor in enumerate(identity.outputs)
                for at in range(0, tensor.bytes, size)
            ]

        answers = self._adapting(requests_for)
        if any(answer.code == protocol.ERR_INPUT for answer in answers):
            raise _OutputsLostError(
                "the device has lost the outputs that it computed",
                hint="the board restarted in between: check its power",
            )
        return [answer.data("data") for answer in answers]


def _split(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
