"""A device at the other end of a line that misbehaves where real ones rarely do."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from tinydeploy.devices import protocol
from tinydeploy.devices.link import Link

IDENTITY = (
    f"protocol=2 firmware=0.1.0 board=b engine=aot build={'1' * 64} model={'2' * 64} name=toy "
    "caps=time,energy line=80 window={window} chunk=24 in=int8:4 out=int8:4"
)


def answer(seq: int | str, text: str) -> bytes:
    return protocol.frame(f"td {seq} {text}".encode()) + b"\r\n"


class Peer:
    """A port behind which a device with one int8[4] input sits: out[i] = in[i].

    `spoil` may change or withhold what it answers: it gets the command and the answer.
    """

    def __init__(
        self, spoil: Callable[[bytes, bytes], bytes] | None = None, window: int = 4
    ) -> None:
        self.commands: list[bytes] = []
        self.ran = 0
        self._spoil = spoil or (lambda _, said: said)
        self._window = window
        self._line = b""
        self._input = bytearray(4)
        self._says = b""

    def link(self) -> Link:
        return Link(self, "peer")

    def write(self, data: bytes) -> None:
        *whole, self._line = (self._line + data).split(b"%")
        for command in whole:
            self.commands.append(command)
            self._says += self._spoil(command, self._answer(command))

    def read(self, timeout_s: float) -> bytes:
        if not self._says:
            time.sleep(max(0.0, timeout_s))
        says, self._says = self._says, b""
        return says

    def close(self) -> None:
        pass

    def _answer(self, command: bytes) -> bytes:
        if not command:
            return b"m-ready\r\n"
        _, seq, name, *args, _crc = command.split(b" ")
        number = int(seq)
        if name == b"id":
            return answer(number, "ok " + IDENTITY.format(window=self._window))
        if name == b"load":
            self._input[:] = re.sub(rb"=(.)", lambda m: bytes([m[1][0] ^ 0x40]), args[1])
            return answer(number, "ok at=0 n=4")
        if name == b"infer":
            self.ran += 1
            crc = protocol.crc32(bytes(self._input))
            out = bytes(self._input).hex()
            return answer(number, f"ok n=1 us=7 nj=2500 crc={crc:08x} out={out}")
        return answer(number, "err -3 unknown")
