"""Lines that damage what they carry, or are slow: for tests of the link and `bench/link.py`."""

from __future__ import annotations

import math
import random
import time
from collections import Counter, deque
from dataclasses import dataclass

from tinydeploy.devices.link import BITS_A_BYTE, Port

PIECE_BYTES = 16


@dataclass(frozen=True)
class Damage:
    """How a line misbehaves: probabilities a byte, in both directions.

    `flip` inverts one bit, `drop` loses the byte, `duplicate` sends it twice; `delay` holds it and
    all that follows back for up to `delay_s`, as USB adapters and busy hosts do. Bytes never
    overtake each other.
    """

    flip: float = 0.0
    drop: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    delay_s: float = 0.005

    @property
    def rate(self) -> float:
        """The probability that anything happens to a byte."""
        return self.flip + self.drop + self.duplicate + self.delay

    @staticmethod
    def mixed(rate: float) -> Damage:
        """A quarter of `rate` of each kind."""
        return Damage(rate / 4, rate / 4, rate / 4, rate / 4)


class FaultyPort:
    """A port (see `link.Port`) that damages what goes through another one.

    The same `seed` and the same bytes give the same damage. `injected` counts it by kind.
    """

    def __init__(self, port: Port, damage: Damage, seed: int) -> None:
        self._port = port
        self._damage = damage
        self._random = random.Random(seed)
        self._to_next = {"in": self._gap(), "out": self._gap()}
        self._held: deque[tuple[float, bytes]] = deque()
        self.injected: Counter[str] = Counter()

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            if self._held and self._held[0][0] <= now:
                return self._held.popleft()[1]
            until = min(deadline, self._held[0][0]) if self._held else deadline
            if data := self._port.read(max(0.0, until - now)):
                self._hold(data)
            elif now >= deadline:
                return b""

    def write(self, data: bytes) -> None:
        """See Port."""
        for wait_s, piece in self._pieces("out", data):
            if wait_s:
                time.sleep(wait_s)
            if piece:
                self._port.write(piece)

    def close(self) -> None:
        """See Port."""
        self._port.close()

    def _hold(self, data: bytes) -> None:
        due = max(time.monotonic(), self._held[-1][0] if self._held else 0.0)
        for wait_s, piece in self._pieces("in", data):
            due += wait_s
            if piece:
                self._held.append((due, piece))

    def _pieces(self, way: str, data: bytes) -> list[tuple[float, bytes]]:
        """`data` as it arrives: pieces, and how long to wait before each."""
        pieces: list[tuple[float, bytes]] = []
        wait_s, now = 0.0, bytearray()
        at = 0
        while at + self._to_next[way] < len(data):
            hit = at + self._to_next[way]
            now += data[at:hit]
            at = hit + 1
            self._to_next[way] = self._gap()
            kind = self._kind()
            self.injected[kind] += 1
            if kind == "flip":
                now.append(data[hit] ^ 1 << self._random.randrange(8))
            elif kind == "duplicate":
                now += data[hit : hit + 1] * 2
            elif kind == "delay":
                pieces.append((wait_s, bytes(now)))
                wait_s, now = self._random.uniform(0, self._damage.delay_s), bytearray()
                now.append(data[hit])
        self._to_next[way] -= len(data) - at
        now += data[at:]
        return [*pieces, (wait_s, bytes(now))]

    def _kind(self) -> str:
        damage = self._damage
        weights = [damage.flip, damage.drop, damage.duplicate, damage.delay]
        return self._random.choices(["flip", "drop", "duplicate", "delay"], weights)[0]

    def _gap(self) -> int:
        """How many bytes stay whole before the next one that does not: geometric."""
        rate = self._damage.rate
        if rate <= 0:
            return 1 << 62
        if rate >= 1:
            return 0
        return int(math.log(1.0 - self._random.random()) / math.log(1.0 - rate))


class SlowPort:
    """A port (see `link.Port`) that carries no more bytes a second than a UART of this speed.

    Ten bits a byte. As with a UART, a write returns at once and its bytes leave one by one.
    """

    def __init__(self, port: Port, baudrate: int) -> None:
        self._port = port
        self._byte_s = BITS_A_BYTE / baudrate
        self._leaving: deque[tuple[float, bytes]] = deque()
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._read_until = self._written_until = 0.0

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        deadline = time.monotonic() + timeout_s
        while True:
            now = time.monotonic()
            while self._leaving and self._leaving[0][0] <= now:
                self._port.write(self._leaving.popleft()[1])
            if self._arriving and self._arriving[0][0] <= now:
                return self._arriving.popleft()[1]
            due = [queue[0][0] for queue in (self._leaving, self._arriving) if queue]
            if data := self._port.read(max(0.0, min([deadline, *due]) - now)):
                self._read_until = self._queue(self._arriving, self._read_until, data)
            elif now >= deadline:
                return b""

    def write(self, data: bytes) -> None:
        """See Port."""
        self._written_until = self._queue(self._leaving, self._written_until, data)

    def close(self) -> None:
        """See Port."""
        self._port.close()

    def _queue(self, queue: deque[tuple[float, bytes]], until: float, data: bytes) -> float:
        until = max(until, time.monotonic())
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            until += len(piece) * self._byte_s
            queue.append((until, piece))
        return until
