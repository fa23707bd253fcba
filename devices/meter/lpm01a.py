"""ST X-NUCLEO-LPM01A ("PowerShield"): its serial protocol, as ST's UM2269 and `help` describe it.

It supplies the board and sends, every millisecond, the energy since the last sample, so that
nothing between samples is missed; a falling edge on its pin D7 comes as a line `event N ris`
between the samples. Its own samples are lost silently when the host is late: the `TimeStamp` lines,
one a second, are compared with the number of samples.
"""

from __future__ import annotations

import re
import time

import numpy as np

from tinydeploy.devices.link import Link, open_link
from tinydeploy.devices.meter.address import MeterAddress
from tinydeploy.devices.meter.worker import Worker
from tinydeploy.errors import DeviceError
from tinydeploy.trace import PowerTrace

BAUD = 3_686_400
RATE_HZ = 1000
PROMPT = "PowerShield > "
ANSWER_S = 5.0

_SAMPLE = re.compile(r"(\d{4})([+-]\d{2})")
_EVENT = re.compile(r"event (\d+) ris")
_TIME = re.compile(r"TimeStamp:\s*[<>]?\s*(\d+)s (\d+)ms, buff (\d+)%")


class Lpm01a:
    """A PowerShield on a serial port. Takes control of it; `close` gives it back."""

    def __init__(self, link: Link, name: str, voltage_v: float) -> None:
        self.name = name
        self._link = link
        self._voltage_v = voltage_v
        self._worker: Worker | None = None
        self._clear()
        for command in (
            "htc", f"volt {round(voltage_v * 1000)}m", "trigsrc sw", "trigdelay 0", "acqtime inf",
            "eventsrc d7 fal", "output energy", "format ascii_dec", f"freq {RATE_HZ // 1000}k",
            "pwr on nostatus",
        ):  # fmt: skip
            self._command(command)

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        self._clear()
        self._command("start")
        self._worker = Worker(self.name, self._step)
        self._worker.start()

    def stop(self) -> PowerTrace:
        """See `tinydeploy.ports.Meter`."""
        worker, self._worker = self._worker, None
        if worker is None:
            raise DeviceError(f"{self.name} does not record", hint="start it first")
        worker.stop()
        self._send("stop")
        deadline = time.monotonic() + ANSWER_S
        while not self._ended:
            self._take(self._line("stop", deadline))
        self._require_all()
        count = len(self._joules)
        times = self._began_s + np.arange(count) / RATE_HZ
        current = np.array(self._joules) * RATE_HZ / self._voltage_v
        edges = self._began_s + np.array(self._edges, float) / RATE_HZ
        return PowerTrace(times, current, np.full(count, self._voltage_v), edges)

    def close(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._worker is not None:
            self.stop()
        self._send("hrc")
        self._link.close()

    # ------------------------------------------------------------ lines
    def _clear(self) -> None:
        self._joules: list[float] = []
        self._edges: list[int] = []
        self._stamps: list[tuple[float, int]] = []
        self._began_s = 0.0
        self._ended = False

    def _send(self, command: str) -> None:
        self._link.write(f"{command}\r\n".encode())

    def _line(self, command: str, deadline: float) -> str:
        line = self._link.read_line(deadline)
        if line is None:
            raise DeviceError(
                f"{self.name} does not answer {command!r}",
                hint="is it the LPM01A's own USB port, and the board powered?",
            )
        return line.decode("ascii", errors="replace").strip("\r\n\0 ")

    def _command(self, command: str) -> None:
        """Send a command and wait for its `ack`. Raises DeviceError for its `error`."""
        self._send(command)
        deadline = time.monotonic() + ANSWER_S
        while True:
            text = self._line(command, deadline).removeprefix(PROMPT.strip()).strip()
            if text.startswith("ack") and command in text:
                return
            if text.startswith("error"):
                detail = self._line(command, deadline)
                raise DeviceError(
                    f"{self.name} refuses {command!r}: {detail}",
                    hint="1.8 to 3.3 V, and firmware 1.0.2 or later",
                )

    def _step(self) -> bool:
        line = self._link.read_line(time.monotonic() + 0.1)
        if line is not None:
            self._take(line.decode("ascii", errors="replace").strip("\r\n\0 "))
        return bool(self._joules)

    def _take(self, line: str) -> None:
        """One line of an acquisition."""
        if _EVENT.match(line):
            self._edges.append(len(self._joules))
        elif match := _TIME.match(line):
            self._stamps.append((int(match[1]) + int(match[2]) / 1000, len(self._joules)))
        elif "Acquisition completed" in line:
            self._ended = True
        elif _SAMPLE.match(line):
            if not self._joules:
                self._began_s = time.monotonic() - 1 / RATE_HZ
            for mantissa, exponent in _SAMPLE.findall(line):
                self._joules.append(int(mantissa) * 10.0 ** int(exponent))

    def _require_all(self) -> None:
        for (t0, n0), (t1, n1) in zip(self._stamps, self._stamps[1:], strict=False):
            if n1 - n0 != round((t1 - t0) * RATE_HZ):
                raise DeviceError(
                    f"{self.name} lost samples: {n1 - n0} between {t0:g} s and {t1:g} s",
                    hint="the computer was too busy: close other programs, use another USB port",
                )


def connect(address: MeterAddress) -> Lpm01a:
    """The meter at `lpm01a:PORT[,voltage=V]`."""
    address.only("voltage")
    link = open_link(address.place, baudrate=BAUD)
    try:
        return Lpm01a(link, address.name, address.voltage_v)
    except BaseException:
        link.close()
        raise
