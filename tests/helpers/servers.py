"""Debian's PostgreSQL and an MLflow server with a proxied artifact store, on the loopback."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tinydeploy.registry.folder import ENVIRONMENT

START_SECONDS = 120.0


def postgres_programs() -> Path | None:
    """Folder with initdb and postgres of the newest version installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _as_user(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.getuid() != 0:
        return command
    return ["runuser", "-u", _unprivileged(), "--", *command]


def _unprivileged() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """A fresh database; its SQLAlchemy URI."""
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("PostgreSQL is not installed")
    folder.mkdir(parents=True)
    if os.getuid() == 0:
        shutil.chown(folder, _unprivileged())
    port, data = free_port(), folder / "data"
    subprocess.run(
        _as_user([str(programs / "initdb"), "-D", str(data), "-U", "mlflow", "-A", "trust",
                  "--no-sync", "-E", "UTF8", "--locale", "C"]),
        check=True, capture_output=True, cwd=folder,
    )  # fmt: skip
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-k", str(folder),
               "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]  # fmt: skip
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            _as_user(command), stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        ready = [str(programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
        until(
            lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0,
            process, folder / "log",
        )  # fmt: skip
        yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
    finally:
        stop(process)


class Server:
    """`mlflow server`, which can be stopped and started again on the same port."""

    def __init__(self, folder: Path, backend: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.backend, self.port = folder, backend, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
            "--port", str(self.port), "--workers", "1", "--backend-store-uri", self.backend,
            "--serve-artifacts", "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        log = self.folder / "server.log"
        with open(log, "ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=self.folder,
                env={**os.environ, **ENVIRONMENT}, start_new_session=True,
            )  # fmt: skip
        until(self._answers, self.process, log)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        if self.process:
            stop(self.process)
            self.process = None


@contextlib.contextmanager
def server(folder: Path, backend: str) -> Iterator[Server]:
    """A started server that ends with the block."""
    made = Server(folder, backend)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def until(ready: object, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while not ready():  # type: ignore[operator]
        if process.poll() is not None or time.monotonic() > give_up:
            raise RuntimeError(f"did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.1)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it and all that it started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
