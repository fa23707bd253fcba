"""The line to a server, which can be cut at a chosen moment and mended: an HTTP proxy."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import threading
from collections.abc import Iterator
from typing import Any

_READS = ("/search", "/get-latest-versions")


class Line(http.server.ThreadingHTTPServer):
    """Passes everything on to the server at `port`, until it is cut.

    `cut(n)` cuts it at the n-th request from now on that changes something: before the server has
    it, or with `answered` after the server has carried it out, so that only the answer is lost.
    """

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = port
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._lock = threading.Lock()
        self.mend()

    def cut(self, after: int, *, answered: bool = False) -> None:
        self.left, self.answered, self.is_cut = after, answered, False

    def mend(self) -> None:
        self.left, self.answered, self.is_cut = -1, False, False

    def passes(self, changes: bool) -> tuple[bool, bool]:
        """Whether a request reaches the server, and whether its answer comes back."""
        with self._lock:
            if self.is_cut:
                return False, False
            if changes and self.left > 0:
                self.left -= 1
                if self.left == 0:
                    self.is_cut = True
                    return self.answered, False
            return True, True


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Line

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        changes = self.command != "GET" and not self.path.endswith(_READS)
        sent, answered = self.server.passes(changes)
        if sent:
            there = http.client.HTTPConnection("127.0.0.1", self.server.port)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            content = answer.read()
            there.close()
        if not (sent and answered):
            self.close_connection = True
            return
        self.send_response(answer.status)
        for key, value in answer.getheaders():
            if key.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def line(port: int) -> Iterator[Line]:
    """A line that ends with the block."""
    made = Line(port)
    thread = threading.Thread(target=made.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join()
        made.server_close()
