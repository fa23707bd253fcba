"""Peers that speak the documented protocols of energy meters: what a driver would find on its line.

Each peer's board draws IDLE_MW, and ACTIVE_MW between an odd edge of the timestamp pin and the
next; the pin is a file, to which the native firmware, or a test, appends a byte an edge.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

IDLE_MW = 5.0
ACTIVE_MW = 30.0
VOLTAGE_V = 3.0


class Pin:
    """The wire from the firmware's pin: how many edges there were so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def edges(self) -> int:
        return self.path.stat().st_size

    def pulse(self) -> None:
        with self.path.open("ab") as file:
            file.write(b"\n")


class PtyPeer:
    """Something at the other end of a serial port; `path` is what a driver opens."""

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self._slave = slave  # kept open: the line stays up when a driver closes its end
        self.path = os.ttyname(slave)
        self._ending = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending = True
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def received(self, data: bytes) -> None:
        raise NotImplementedError

    def tick(self) -> None:
        """Called about every millisecond."""

    def say(self, data: bytes) -> None:
        while data and not self._ending:
            if select.select([], [self._master], [], 0.1)[1]:
                data = data[os.write(self._master, data[:2048]) :]

    def _serve(self) -> None:
        while not self._ending:
            self._receive(0.001)
            self.tick()
        while self._receive(0):  # what a driver has said last
            pass

    def _receive(self, timeout_s: float) -> bool:
        if not select.select([self._master], [], [], timeout_s)[0]:
            return False
        with contextlib.suppress(OSError):
            self.received(os.read(self._master, 4096))
            return True
        return False


class PowerShield(PtyPeer):
    """An LPM01A. `lose` drops one sample a second, `refuse` is a command that it refuses."""

    def __init__(self, pin: Pin, lose: bool = False, refuse: str = "") -> None:
        super().__init__()
        self.commands: list[str] = []
        self._pin, self._lose, self._refuse = pin, lose, refuse
        self._line = b""
        self._began: float | None = None
        self._sent = self._seen = self._first = self._events = 0

    def received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"\r\n")
        for line in lines:
            text = line.decode()
            self.commands.append(text)
            if self._refuse and text.startswith(self._refuse):
                self.say(f"PowerShield > error {text}\r\nError detail: no such value\r\n".encode())
                continue
            if text == "start":
                self.say(b"PowerShield > ack start\r\nTimeStamp: 000s 000ms, buff 00%\r\n")
                self._began, self._sent = time.monotonic(), 0
                self._seen = self._first = self._pin.edges()
            elif text == "stop":
                self._began = None
                self.say(b"end\r\nAcquisition completed\r\nPowerShield > ack stop\r\n")
            else:
                self.say(f"PowerShield > ack {text}\r\n".encode())

    def tick(self) -> None:
        if self._began is None:
            return
        due = int((time.monotonic() - self._began) * 1000) - self._sent
        text = ""
        for _ in range(max(0, due)):
            if self._seen < self._pin.edges():
                self._seen += 1
                text += f"event {self._events % 100:02} ris\r\n"
                self._events += 1
            active = (self._seen - self._first) % 2
            joules = (ACTIVE_MW if active else IDLE_MW) * 1e-6
            self._sent += 1
            if not (self._lose and self._sent % 1000 == 500):
                text += f"{round(joules * 1e8):04}-08\r\n"
            if self._sent % 1000 == 0:
                text += f"TimeStamp: {self._sent // 1000:03}s 000ms, buff 01%\r\n"
        self.say(text.encode())


class Ppk2Peer(PtyPeer):
    """A PPK2 with an ideal calibration. `lose` leaves out a sample in the middle."""

    METADATA = "".join(
        f"{key}{n}: {value}\n"
        for key, values in {
            "R": (1000.0, 100.0, 10.0, 1.0, 0.05), "GS": (0,) * 5, "GI": (1,) * 5, "O": (0,) * 5,
            "S": (0,) * 5, "I": (0,) * 5, "UG": (1,) * 5,
        }.items()
        for n, value in enumerate(values)
    )  # fmt: skip
    LENGTHS: ClassVar = {0x06: 1, 0x07: 1, 0x19: 1, 0x0C: 2, 0x11: 2, 0x0D: 3}

    def __init__(self, pin: Pin, lose: bool = False) -> None:
        super().__init__()
        self.commands: list[bytes] = []
        self._pin, self._lose = pin, lose
        self._bytes = b""
        self._began: float | None = None
        self._sent = 0

    def received(self, data: bytes) -> None:
        self._bytes += data
        while self._bytes and len(self._bytes) >= (size := self.LENGTHS[self._bytes[0]]):
            command, self._bytes = self._bytes[:size], self._bytes[size:]
            self.commands.append(command)
            if command[0] == 0x19:
                self.say(f"Calibrated: 0\n{self.METADATA}HW: 9173\nIA: 56\nEND".encode())
            elif command[0] == 0x06:
                self._began, self._sent = time.monotonic(), 0
            elif command[0] == 0x07:
                self._began = None

    def tick(self) -> None:
        if self._began is None:
            return
        due = int((time.monotonic() - self._began) * 100_000) - self._sent
        if due <= 0:
            return
        active = self._pin.edges() % 2
        # Range 3 measures through 1 ohm here; the ADC's figure stands for four times as much.
        ampere = (ACTIVE_MW if active else IDLE_MW) * 1e-3 / VOLTAGE_V
        adc = round(ampere / (1.8 / 163840) / 4)
        # The pin is low for the first sample after each edge.
        logic = np.full(due, 0xFF, np.uint32)
        if self._pin.edges() != getattr(self, "_last_edges", 0):
            logic[0] = 0xFE
        self._last_edges = self._pin.edges()
        counters = (np.arange(due, dtype=np.uint32) + self._sent) & 0x3F
        words = adc | 3 << 14 | counters << 18 | logic << 24
        self._sent += due
        if self._lose and due > 2:
            words = np.delete(words, 1)
        self.say(words.astype("<u4").tobytes())


class InterfaceBoard(PtyPeer):
    """MLCommons' interface board, the "IO manager"; `device` answers what is passed through."""

    def __init__(self, device: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.bauds: list[int] = []
        self._device = device
        self._line = b""

    def received(self, data: bytes) -> None:
        *lines, self._line = (self._line + data).split(b"%")
        for line in lines:
            word, _, rest = line.partition(b" ")
            if word == b"dut":
                self.say(b"m-dut-passthrough(" + rest + b")\r\nm-ready\r\n")
                for answer in self._device(rest + b"%").split(b"\r\n")[:-1]:
                    self.say(b"[dut]: " + answer + b"\r\n")
            elif word == b"setbaud":
                self.bauds.append(int(rest))
                self.say(b"m-ready\r\n")
            elif word == b"name":
                self.say(b"tinyML Enhanced Interface Board\r\nm-ready\r\n")
            else:
                self.say(b"m-ready\r\n")


class OtiiServer:
    """Otii's TCP server with one Arc: JSON lines, as `otii-tcp-client` sends them."""

    RATE_HZ = 4000
    SLOW_HZ = 1000

    def __init__(self, pin: Pin, devices: int = 1, licences: int = 1) -> None:
        self.requests: list[dict[str, Any]] = []
        self._pin, self._devices, self._licences = pin, devices, licences
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._edges: list[float] = []
        self._recording = False
        self._began = self._ended = 0.0
        threading.Thread(target=self._serve, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def commands(self) -> list[str]:
        return [request["cmd"] for request in self.requests]

    def _watch(self) -> None:
        seen = self._pin.edges()
        while self._listener.fileno() >= 0:
            while seen < self._pin.edges():
                seen += 1
                self._edges.append(time.monotonic())
            time.sleep(0.001)

    def _serve(self) -> None:
        try:
            line, _ = self._listener.accept()
        except OSError:
            return
        hello = {"type": "information", "info": "connected", "data": {"otii_version": "3.5.5"}}
        line.sendall(json.dumps(hello).encode() + b"\r\n")
        for text in line.makefile("r"):
            request = json.loads(text)
            self.requests.append(request)
            answer = {"type": "response", "cmd": request["cmd"], "trans_id": request["trans_id"]}
            answer["data"] = self._answer(request["cmd"], request.get("data", {}))
            line.sendall(json.dumps(answer).encode() + b"\r\n")

    def _answer(self, command: str, data: Mapping[str, Any]) -> dict[str, Any]:
        if command == "otii_is_logged_in":
            return {"logged_in": True}
        if command == "otii_get_licenses":
            one = {"id": 7, "type": "Automation", "available": True, "reserved_to": ""}
            return {"licenses": [one] * self._licences}
        if command == "otii_get_devices":
            arcs = [
                {"device_id": f"Arc{n}", "name": f"Arc {n}", "type": "Arc"}
                for n in range(self._devices)
            ]
            return {"devices": arcs}
        if command == "otii_create_project":
            return {"project_id": 1}
        if command == "project_start_recording":
            self._edges.clear()
            self._began = time.monotonic()
        elif command == "project_stop_recording":
            self._ended = time.monotonic()
        elif command == "project_get_last_recording":
            return {"recording_id": 3, "name": "Recording 1"}
        elif command == "recording_get_channel_data_count":
            return {"count": len(self._values(str(data["channel"])))}
        elif command == "recording_get_channel_data":
            return self._data(str(data["channel"]), int(data["index"]), int(data["count"]))
        return {}

    def _values(self, channel: str) -> list[Any]:
        rate = self.RATE_HZ if channel == "mc" else self.SLOW_HZ
        times = np.arange(int((self._ended - self._began) * rate)) / rate
        edges = np.array(self._edges) - self._began
        if channel == "mv":
            return [VOLTAGE_V] * len(times)
        if channel == "mc":
            active = np.searchsorted(edges, times, side="right") % 2 == 1
            milliwatts = np.where(active, ACTIVE_MW, IDLE_MW)
            return [float(x) for x in milliwatts / 1e3 / VOLTAGE_V]
        levels = [{"timestamp": 0.0, "value": True}]
        for edge in edges:
            levels.append({"timestamp": float(edge), "value": False})
            levels.append({"timestamp": float(edge) + 1e-5, "value": True})
        return levels

    def _data(self, channel: str, index: int, count: int) -> dict[str, Any]:
        values = self._values(channel)[index : index + count]
        if channel.startswith("i"):
            return {"data_type": "digital", "values": values}
        rate = self.RATE_HZ if channel == "mc" else self.SLOW_HZ
        return {"data_type": "analog", "timestamp": index / rate, "interval": 1 / rate,
                "values": values}  # fmt: skip


class JoulescopeDriver:
    """In the place of `pyjoulescope_driver.Driver`: publishes blocks as that does.

    The real one speaks USB through a C library, which cannot be given another end.
    """

    BLOCK = 512

    def __init__(self, pin: Pin, paths: tuple[str, ...] = ("u/js220/000123",)) -> None:
        self.published: list[tuple[str, Any]] = []
        self.open_paths: list[str] = []
        self.lose = False
        self._pin, self._paths = pin, paths
        self._subscribers: dict[str, Callable[[str, Any], None]] = {}
        self._rate = 1_000_000
        self._decimate = 1
        self._thread: threading.Thread | None = None

    def device_paths(self) -> list[str]:
        return list(self._paths)

    def open(self, path: str, mode: Any = None, timeout: float | None = None) -> None:
        self.open_paths.append(path)

    def close(self, path: str) -> None:
        self.open_paths.remove(path)

    def finalize(self) -> None:
        pass

    def publish(self, topic: str, value: Any, timeout: float | None = None) -> None:
        self.published.append((topic, value))
        if topic.endswith("h/fs"):
            self._decimate, self._rate = 1_000_000 // value, value
        if topic.endswith("/ctrl") and value == 1 and "gpi" in topic:
            self._thread = threading.Thread(target=self._stream, daemon=True)
            self._thread.start()

    def subscribe(self, topic: str, flags: Any, fn: Callable[[str, Any], None]) -> None:
        self._subscribers[topic] = fn

    def unsubscribe(self, topic: str, fn: Callable[[str, Any], None]) -> None:
        del self._subscribers[topic]
        if not self._subscribers and self._thread is not None:
            self._thread.join()

    def _stream(self) -> None:
        began, sent, seen = time.monotonic(), 0, self._pin.edges()
        while self._subscribers:
            if int((time.monotonic() - began) * self._rate) - sent < self.BLOCK:
                time.sleep(0.001)
                continue
            level = np.ones(self.BLOCK, np.uint8)
            if seen < (now := self._pin.edges()):
                level[0] = 0
                seen = now
            active = now % 2
            ampere = (ACTIVE_MW if active else IDLE_MW) / 1e3 / VOLTAGE_V
            values = {"s/i/!data": np.full(self.BLOCK, ampere, np.float32),
                      "s/v/!data": np.full(self.BLOCK, VOLTAGE_V, np.float32),
                      "/!data": level}  # fmt: skip
            for topic, fn in list(self._subscribers.items()):
                data = next(v for end, v in values.items() if topic.endswith(end))
                block = {"sample_id": sent * self._decimate, "sample_rate": 1_000_000,
                         "decimate_factor": self._decimate, "utc": 0, "data": data}  # fmt: skip
                fn(topic, block)
            sent += self.BLOCK * (2 if self.lose else 1)
