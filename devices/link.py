"""A serial line as a stream of lines: deadlines, bounded memory, errors translated.

`open_link` takes what pyserial's `serial_for_url` takes: a device (`/dev/ttyACM0`, `COM3`), or a
URL. `socket://HOST:PORT` (an emulator, the native firmware) is opened directly: pyserial reads
sockets byte by byte, leaves Nagle's algorithm on and pauses 0.3 s on closing.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from tinydeploy.errors import LinkError, UsageError

MAX_LINE_BYTES = 65536
READ_BYTES = 65536
WRITE_TIMEOUT_S = 10.0
BITS_A_BYTE = 10  # start, eight of data, stop


class Port(Protocol):
    """What a link needs of a transport. All methods raise OSError when the line breaks."""

    def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting up to `timeout_s` for a first byte; b"" if none came."""

    def write(self, data: bytes) -> None:
        """Send everything."""

    def close(self) -> None:
        """Release the line."""


class SerialPort:
    """A port that pyserial opened."""

    def __init__(self, url: str, baudrate: int) -> None:
        import serial

        try:
            self._serial = serial.serial_for_url(
                url,
                baudrate=baudrate,
                timeout=0,
                write_timeout=WRITE_TIMEOUT_S,
                exclusive=None if "://" in url else True,
            )
        except ValueError as e:
            raise UsageError(
                f"{url!r} is no serial port: {e}", hint="a device such as /dev/ttyACM0, or a URL"
            ) from e

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        self._serial.timeout = timeout_s
        return bytes(self._serial.read(max(1, self._serial.in_waiting)))

    def write(self, data: bytes) -> None:
        """See Port."""
        self._serial.write(data)

    def close(self) -> None:
        """See Port."""
        self._serial.close()


class SocketPort:
    """A TCP connection."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), timeout=WRITE_TIMEOUT_S)
        # Without it a short command waits for the acknowledgement of the one before: 40 ms.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, timeout_s: float) -> bytes:
        """See Port."""
        ready, _, _ = select.select([self._socket], [], [], timeout_s)
        if not ready:
            return b""
        data = self._socket.recv(READ_BYTES)
        if not data:
            raise OSError(errno.ECONNRESET, "the other end closed the connection")
        return data

    def write(self, data: bytes) -> None:
        """See Port."""
        self._socket.sendall(data)

    def close(self) -> None:
        """See Port."""
        self._socket.close()


class Link:
    """Lines in, bytes out. A line that is too long is dropped; `discarded_bytes` counts it.

    `sent_by` is when (time.monotonic) the last byte that was written has left a line of this speed.
    """

    def __init__(self, port: Port, name: str, baudrate: int | None = None) -> None:
        """`baudrate` is None where the line has no speed of its own (a socket)."""
        self._port = port
        self._bytes_per_s = baudrate / BITS_A_BYTE if baudrate else None
        self.name = name
        self.sent_by = 0.0
        self._buffer = bytearray()
        self._searched = 0
        self.received_bytes = 0
        self.discarded_bytes = 0

    def write(self, data: bytes) -> None:
        """Send bytes. Raises LinkError when the line is gone."""
        try:
            self._port.write(data)
        except OSError as e:
            raise self._broken(e) from e
        self.sent_by = max(self.sent_by, time.monotonic()) + self.seconds_for(len(data))

    def seconds_for(self, count: int) -> float:
        """How long the line takes for so many bytes."""
        return count / self._bytes_per_s if self._bytes_per_s else 0.0

    def read_line(self, deadline: float) -> bytes | None:
        """The next line without its end, or None when `deadline` (time.monotonic) has passed.

        What has already arrived is returned even after the deadline: a host that was held up must
        not take an answer for missing. Raises LinkError when the line is gone.
        """
        late = False
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                return line.strip(b"\r")
            self._drop_if_too_long()
            self._searched = len(self._buffer)
            if late:
                return None
            left = deadline - time.monotonic()
            late = left <= 0
            self._fill(max(0.0, left))

    @property
    def partial(self) -> bytes:
        """What has arrived of a line whose end has not."""
        return bytes(self._buffer)

    def close(self) -> None:
        """Release the line."""
        with contextlib.suppress(OSError):
            self._port.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _fill(self, timeout_s: float) -> None:
        try:
            data = self._port.read(timeout_s)
        except OSError as e:
            raise self._broken(e) from e
        self.received_bytes += len(data)
        self._buffer += data

    def _drop_if_too_long(self) -> None:
        if len(self._buffer) > MAX_LINE_BYTES:
            self.discarded_bytes += len(self._buffer)
            self._buffer.clear()

    def _broken(self, error: OSError) -> LinkError:
        return LinkError(
            f"the connection to {self.name} broke: {error}",
            hint="the board was unplugged, or the emulator or native firmware has ended",
        )


def open_link(url: str, *, baudrate: int = 115200, timeout_s: float = 5.0) -> Link:
    """Open a serial line, trying again until `timeout_s` while nobody listens yet.

    Raises LinkError with a hint, UsageError for a URL that makes no sense.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            speed = None if url.startswith("socket://") else baudrate
            return Link(_open_port(url, baudrate), url, speed)
        except OSError as e:  # serial.SerialException is one
            if e.errno != errno.ECONNREFUSED or time.monotonic() > deadline:
                raise _cannot_open(url, e) from e
            time.sleep(0.02)


def _open_port(url: str, baudrate: int) -> Port:
    if not url.startswith("socket://"):
        return SerialPort(url, baudrate)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port:
        raise UsageError(f"{url!r} is no address", hint="socket://HOST:PORT")
    return SocketPort(host, port)


def _group(path: str) -> str:
    """The group that may use a port; Debian's where that cannot be told."""
    try:
        return Path(path).group()
    except (OSError, KeyError):
        return "dialout"


def _cannot_open(url: str, error: OSError) -> LinkError:
    text = str(error)
    if error.errno in (errno.EACCES, errno.EPERM) or "Permission denied" in text:
        group = _group(url)
        hint = (
            f"add yourself to the group that owns it: sudo usermod -aG {group} $USER, log in anew"
        )
    elif error.errno == errno.ENOENT or "No such file" in text:
        hint = "is the board plugged in? `python -m serial.tools.list_ports` lists what is there"
    elif error.errno == errno.EBUSY or "busy" in text.lower() or "exclusively" in text:
        hint = "another program has it open: close serial monitors"
    elif error.errno == errno.ECONNREFUSED:
        hint = "nobody listens there: the emulator or native firmware has not started"
    else:
        hint = "check the port's name, the cable and the board's power"
    return LinkError(f"cannot open {url}: {text}", hint=hint)
