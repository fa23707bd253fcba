"""A pseudo terminal in front of a firmware that listens on a socket: a USB serial port to plug."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import tty
from pathlib import Path
from types import TracebackType
from typing import Self


class PluggedLine:
    """`path` is the port's name while it is plugged in; the firmware runs on without it."""

    def __init__(self, url: str, path: Path) -> None:
        host, port = url.removeprefix("socket://").split(":")
        self.path = path
        self._board = socket.create_connection((host, int(port)))
        self._board.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.plug()

    def plug(self) -> None:
        """A new terminal under the same name."""
        master, slave = os.openpty()
        tty.setraw(slave)
        self.path.symlink_to(os.ttyname(slave))
        self._stop.clear()
        self._thread = threading.Thread(target=self._carry, args=(master, slave), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """The terminal goes, with all that was on its way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self.path.unlink(missing_ok=True)

    def _carry(self, master: int, slave: int) -> None:
        with contextlib.suppress(OSError):
            while not self._stop.is_set():
                ready, _, _ = select.select([master, self._board], [], [], 0.02)
                if master in ready:
                    self._board.sendall(os.read(master, 4096))
                if self._board in ready:
                    os.write(master, self._board.recv(4096))
        os.close(master)
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.unplug()
        self._board.close()
