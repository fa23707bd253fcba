"""The firmware as a process of the host: boards of the platform "native".

The process is the real firmware (protocol, engine, model) with `firmware/ports/native.c` as its
board. Its clock and energy meter can be scripted, which proves the path of a real board (latency
and energy samples over the serial protocol) without one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tinydeploy.devices import profile
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.fault import explain
from tinydeploy.devices.link import open_link
from tinydeploy.devices.measure import measure, timed_layers
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Session, infer_timeout_s
from tinydeploy.errors import DeviceError, FirmwareFaultError, LinkError
from tinydeploy.ports import Meter
from tinydeploy.types import Build, DeviceProfile, Measurement, Profile

START_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0
FLASH_FILE = "flash.bin"
SCRIPT_KEYS = ("latency_us", "energy_nj", "pin", "fault", "damage_in", "damage_out")


class NativeFirmware:
    """A running native firmware; `url` is where it listens. Ends with the `with` block."""

    def __init__(self, elf: Path, script: str = "", flash: Path | None = None) -> None:
        """Start `elf`. `script` holds further words of TD_NATIVE (see firmware/ports/native.c).

        `flash` is the file that an updatable firmware keeps its flash in.

        Raises DeviceError if it cannot be started or does not open its port.
        """
        environment = {**os.environ, "TD_NATIVE": f"tcp {script}".strip()}
        if flash is not None:
            environment["TD_NATIVE_FLASH"] = str(flash)
        try:
            if not os.access(elf, os.X_OK):  # archives and artifact stores keep no permissions
                elf.chmod(elf.stat().st_mode | 0o100)
            self._process = subprocess.Popen(
                [str(elf)],
                env=environment,
                stdin=subprocess.PIPE,  # closing it, also by dying, ends a firmware without a host
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as e:
            raise DeviceError(
                f"cannot start the native firmware {elf}: {e}", hint="build it again"
            ) from e
        try:
            self.url = f"socket://127.0.0.1:{self._read_port()}"
        except BaseException:
            self.close()
            raise

    def ended(self) -> str | None:
        """None while the process runs, otherwise its exit status and what it said."""
        try:
            status = self._process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            return None
        said = self._process.stderr.read() if self._process.stderr else b""
        return f"exit status {status}. {said.decode(errors='replace')[-2000:]}".strip()

    def close(self) -> None:
        """End the process, gently if it can."""
        process = self._process
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
        try:
            process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_port(self) -> int:
        stdout = self._process.stdout
        deadline = time.monotonic() + START_TIMEOUT_S
        text = b""
        with selectors.DefaultSelector() as selector:
            if stdout is not None:
                selector.register(stdout, selectors.EVENT_READ)
            while stdout is not None and time.monotonic() < deadline:
                if not selector.select(0.1):
                    continue
                data = os.read(stdout.fileno(), 64)
                text += data
                if match := re.match(rb"port ([0-9]{1,5})\n", text):
                    return int(match[1])
                if not data or len(text) > 64:
                    break
        self._process.kill()
        raise DeviceError(
            f"the native firmware did not open its port: {text!r}, {self.ended()}",
            hint="build it again; it needs a free port on 127.0.0.1",
        )


class LoopbackRunner:
    """Runs builds for boards of the platform "native".

    The profile's `emulator` table may hold `latency_us` and `energy_nj`: comma-separated values of
    the scripted clock and meter, one an inference, repeated from the start; and the faults of
    `firmware/ports/native.c`. `infer_timeout_s` there limits a single inference.
    """

    def __init__(self, *, meter: Meter | None = None) -> None:
        self._meter = meter

    def run(
        self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Measurement]:
        """See `tinydeploy.ports.Runner`. No process is left behind, whatever happens."""
        method = _method(device, inputs)
        with _talk(build, device) as session:
            outputs, result = measure(
                session, build, device, inputs, meter=self._meter, method=method
            )
        origin = dict(result.origin)
        for figure, words in (("latency_us", "latency_us"), ("energy_uj", "energy_nj")):
            own = figure != "energy_uj" or self._meter is None
            if figure in origin and own and device.emulator.get(words):
                origin[figure] = "emulated"  # the script's, not measured on anything
        return outputs, dataclasses.replace(result, origin=origin)

    def profile(self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]) -> Profile:
        """See `tinydeploy.ports.Runner`; one inference, of the first sample."""
        profile.marked_layers(Elf(build.elf))
        with _talk(build, device) as session:
            return timed_layers(session, build, device, inputs)

    def session(self, build: Build, device: DeviceProfile) -> AbstractContextManager[Session]:
        """A session with the running firmware of `build`; raises as `run` does."""
        return _talk(build, device)

    def identify(self, build: Build, device: DeviceProfile) -> Identity:
        """Start `build`, ask the firmware who it is, stop. Raises as `run` does."""
        with _talk(build, device) as session:
            return session.require(build)


@contextlib.contextmanager
def _talk(build: Build, device: DeviceProfile) -> Iterator[Session]:
    """A session with the running firmware of `build`."""
    words = [f"{k}={device.emulator[k]}" for k in SCRIPT_KEYS if device.emulator.get(k)]
    limit_s = infer_timeout_s(device)
    flash = build.directory / FLASH_FILE if build.layout else None
    with (
        NativeFirmware(build.elf, " ".join(words), flash) as firmware,
        open_link(firmware.url) as link,
    ):
        try:
            yield Session(link, timeout_s=ANSWER_TIMEOUT_S, infer_timeout_s=limit_s)
        except FirmwareFaultError as e:
            raise explain(e, build.elf) from e
        except LinkError as e:
            if (ended := firmware.ended()) is not None:
                raise DeviceError(
                    f"the native firmware ended: {ended}", hint="the program itself is at fault"
                ) from e
            raise


def _method(device: DeviceProfile, inputs: Sequence[np.ndarray]) -> str:
    scripted = [name for key, name in _SCRIPTED.items() if device.emulator.get(key)]
    what = f"{len(inputs[0]) if inputs else 0} inputs over the serial protocol"
    return f"{what}; scripted {' and '.join(scripted)}" if scripted else what


_SCRIPTED = {"latency_us": "clock", "energy_nj": "energy meter"}
