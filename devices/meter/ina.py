"""INA219, INA226 or INA228 on a helper board that runs `firmware/meter`.

The helper sends a line a conversion, about 900 a second, and a line an edge of the timestamp pin,
each with its own time in microseconds and a check sum (firmware/meter/README.md).
"""

from __future__ import annotations

import time

import numpy as np

from tinydeploy.devices.link import Link, open_link
from tinydeploy.devices.meter.address import MeterAddress
from tinydeploy.devices.meter.worker import Worker
from tinydeploy.errors import DeviceError
from tinydeploy.trace import PowerTrace

BAUD = 921_600
PROTOCOL = "1"
ANSWER_S = 3.0
CLOCK_WRAP_US = 1 << 32


class InaHelper:
    """A helper board on an open link. `shunt_ohm` is what stands on its breakout board."""

    def __init__(self, link: Link, name: str, shunt_ohm: float) -> None:
        self.name = name
        self._link = link
        self._worker: Worker | None = None
        link.write(b"\nstop\n")  # ends what an earlier host left
        said = self._ask("id", "meter ")
        if said.get("protocol") != PROTOCOL:
            raise DeviceError(
                f"{name} speaks protocol {said.get('protocol')!r}, not {PROTOCOL}",
                hint="flash firmware/meter of this version of tinydeploy",
            )
        self.name = f"{name} ({said.get('chip', 'unknown chip')})"
        self._ask(f"shunt {round(shunt_ohm * 1e6)}", "ok shunt=")
        self._clear()

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        self._ask("start", "ok start")
        self._clear()
        self._worker = Worker(self.name, self._step)
        self._worker.start()

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError(f"{self.name} does not record", hint="start it first")
        worker.stop()
        self._link.write(b"stop\n")
        deadline = time.monotonic() + ANSWER_S
        while (line := self._checked(self._line("stop", deadline))) is None or not line.startswith(
            "ok stop "
        ):
            if line is not None:
                self._take(line)
        self._require_all(_fields(line))
        table = np.array(self._samples, dtype=np.int64)
        began = int(table[0, 0])
        return PowerTrace(
            self._began_s + (table[:, 0] - began) / 1e6,
            table[:, 1] * 1e-9,
            table[:, 2] * 1e-6,
            self._began_s + (np.array(self._edges, dtype=np.int64) - began) / 1e6,
        )

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._worker is not None:
            self.stop()
        self._link.close()

    # ------------------------------------------------------------ lines
    def _clear(self) -> None:
        self._samples: list[tuple[int, int, int]] = []
        self._edges: list[int] = []
        self._began_s = 0.0
        self._last_us = 0
        self._damaged = 0

    def _line(self, command: str, deadline: float) -> bytes:
        line = self._link.read_line(deadline)
        if line is None:
            raise DeviceError(
                f"{self.name} does not answer {command!r}",
                hint=f"does the helper run firmware/meter, at {BAUD} baud?",
            )
        return line

    def _checked(self, line: bytes) -> str | None:
        """The text of a line whose check sum is right; None, counted, for any other."""
        text, star, check = line.rpartition(b"*")
        total = 0
        for byte in text:
            total ^= byte
        if not star or check != f"{total:02x}".encode():
            self._damaged = getattr(self, "_damaged", 0) + bool(line)
            return None
        return text.decode("ascii", errors="replace")

    def _ask(self, command: str, expected: str) -> dict[str, str]:
        self._link.write(f"{command}\n".encode())
        deadline = time.monotonic() + ANSWER_S
        while True:
            text = self._checked(self._line(command, deadline)) or ""
            if text.startswith(expected):
                return _fields(text)
            if text == "error chip":
                raise DeviceError(
                    f"{self.name} finds no INA219, INA226 or INA228",
                    hint="SDA, SCL, 3.3 V and ground; I2C address 0x40",
                )
            # `id` is never refused: what is, belongs to an earlier host.
            if text.startswith("error ") and command != "id":
                raise DeviceError(
                    f"{self.name} refuses {command!r}", hint="firmware/meter/README.md"
                )

    def _step(self) -> bool:
        line = self._link.read_line(time.monotonic() + 0.1)
        if line is not None and (text := self._checked(line)) is not None:
            self._take(text)
        return bool(self._samples)

    def _take(self, text: str) -> None:
        kind, *words = text.split(" ")
        if kind == "s" and len(words) == 4:
            _, us, na, uv = (int(word) for word in words)
            if not self._samples:
                self._began_s = time.monotonic()
                self._last_us = us
            self._samples.append((self._unwrapped(us), na, uv))
        elif kind == "e" and len(words) == 2 and self._samples:
            self._edges.append(self._unwrapped(int(words[1])))

    def _unwrapped(self, us: int) -> int:
        """Microseconds that go on rising where the helper's 32 bits wrap; never far behind."""
        half = CLOCK_WRAP_US // 2
        value = self._last_us + (us - self._last_us + half) % CLOCK_WRAP_US - half
        self._last_us = max(self._last_us, value)
        return value

    def _require_all(self, said: dict[str, str]) -> None:
        sent = (int(said.get("samples", -1)), int(said.get("edges", -1)))
        got = (len(self._samples), len(self._edges))
        if sent != got or self._damaged or said.get("missed") != "0":
            raise DeviceError(
                f"{self.name} lost samples: {got[0]} of {sent[0]} samples and {got[1]} of "
                f"{sent[1]} edges arrived, {said.get('missed')} conversions were missed",
                hint="a shorter cable, or a helper board with native USB",
            )
        if said.get("over") != "0":
            raise DeviceError(
                f"{said.get('over')} samples were out of the meter's range",
                hint="a smaller shunt; is shunt= what stands on the breakout board?",
            )


def _fields(text: str) -> dict[str, str]:
    return dict(word.split("=", 1) for word in text.split(" ") if "=" in word)


def connect(address: MeterAddress) -> InaHelper:
    """The meter at `ina:PORT[,shunt=OHM]`."""
    address.only("shunt")
    shunt_ohm = address.number("shunt", 0.1)
    link = open_link(address.place, baudrate=BAUD)
    try:
        return InaHelper(link, address.name, shunt_ohm)
    except BaseException:
        link.close()
        raise
