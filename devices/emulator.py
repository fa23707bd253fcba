"""Boards in QEMU: starts the emulator, speaks to the firmware in it, counts its instructions.

`python -m tinydeploy.devices.emulator BOARD.json FIRMWARE.elf` keeps one running in the
foreground; that is what `pio run -t upload` does in a board's project.
"""

from __future__ import annotations

import dataclasses
import json
import re
import select
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from tinydeploy.devices import counter, profile
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.fault import explain
from tinydeploy.devices.link import open_link
from tinydeploy.devices.measure import measure
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Session, infer_timeout_s
from tinydeploy.devices.toolchain import require
from tinydeploy.errors import (
    DeviceError,
    FirmwareFaultError,
    LinkError,
    TinydeployError,
    UsageError,
)
from tinydeploy.ports import Meter
from tinydeploy.types import Build, DeviceProfile, Measurement, Profile, from_json

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 2.0
POLL_S = 0.005
WATCH_MS = 500
RUNS = "serial line of process"
MAX_SAID_BYTES = 2000

_WAITING = re.compile(r"waiting for connection on: .*?:127\.0\.0\.1:(\d+)")


class Emulator:
    """A running QEMU that waits for one host on its serial line. Ends with the `with` block.

    `url` is where the line listens: QEMU itself takes a free port, and lets the firmware start
    when a host has connected.
    """

    def __init__(self, elf: Path, device: DeviceProfile, *, counts: bool = False) -> None:
        """Start `elf` on the emulated board; `counts` loads the instruction counter.

        Raises ToolMissingError without QEMU, DeviceError with QEMU's own words if it gives up.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="tinydeploy-")
        self._report = Path(self._folder.name, "regions.txt")
        self._said = Path(self._folder.name, "stderr.txt")
        try:
            command = _command(elf, device, self._report if counts else None)
            with open(self._said, "wb") as said:
                self._process = subprocess.Popen(
                    [*_dying_with_us(), *command],
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                )
        except BaseException:
            self._folder.cleanup()
            raise
        try:
            self.url = f"socket://127.0.0.1:{self._port()}"
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """QEMU's process."""
        return self._process.pid

    def regions(self) -> list[counter.Region]:
        """What the counter has reported so far, one an inference, without the markers' cost."""
        return counter.inferences(counter.read_regions(self._report))

    def counts(self) -> list[int]:
        """Instructions of each inference so far."""
        return [region.instructions for region in self.regions()]

    def layers(self) -> counter.Layers:
        """How the last inference splits up, in firmware that marks its layers."""
        return counter.read_layers(self._report)

    def ended(self) -> str | None:
        """None while QEMU runs, otherwise what it said at the end."""
        code = self._process.poll()
        return None if code is None else self.said() or f"exit status {code}"

    def said(self) -> str:
        """The end of QEMU's own messages."""
        lines = self._said.read_text(errors="replace").splitlines()
        kept = [line for line in lines if line.strip() and not _WAITING.search(line)]
        return "\n".join(kept)[-MAX_SAID_BYTES:]

    def close(self) -> None:
        """End QEMU, gently if it can."""
        self._process.terminate()
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _port(self) -> int:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            ended = self._process.poll() is not None
            if match := _WAITING.search(self._said.read_text(errors="replace")):
                return int(match[1])
            if ended:
                raise DeviceError(
                    f"QEMU ended at once: {self.ended()}",
                    hint="`tinydeploy devices show` says what is started; is QEMU 7 or 8 there?",
                )
            time.sleep(POLL_S)
        raise DeviceError(
            f"QEMU did not open its serial port within {START_TIMEOUT_S:g} s. {self.said()}",
            hint="the machine is very busy, or QEMU is not installed completely",
        )


class QemuRunner:
    """Runs builds on the boards of the platform "qemu": implements `tinydeploy.ports.Runner`.

    `infer_timeout_s` in the profile's `emulator` table limits a single inference.
    """

    def __init__(self, *, meter: Meter | None = None) -> None:
        self._meter = meter

    def run(
        self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Measurement]:
        """See `tinydeploy.ports.Runner`. QEMU never outlives the call, whatever happens."""
        with _talk(build, device) as (emulator, session):
            counts = emulator.counts if device.counts_instructions else None
            outputs, result = measure(
                session, build, device, inputs, counter=counts, meter=self._meter
            )
            regions = emulator.regions() if counts else []
            cycles = [r.cycles for r in regions if r.cycles is not None]
        if cycles:
            result = dataclasses.replace(
                result,
                cycles_model=statistics.median_low(cycles),
                origin={**result.origin, "cycles_model": "estimated"},
            )
        return outputs, result

    def profile(self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]) -> Profile:
        """See `tinydeploy.ports.Runner`; one inference, of the first sample."""
        profile.marked_layers(Elf(build.elf))
        if not device.counts_instructions:
            raise UsageError(
                f"{device.name} counts no instructions",
                hint="counts_instructions in its board file",
            )
        with _talk(build, device) as (emulator, session):
            measure(session, build, device, [x[:1] for x in inputs], counter=emulator.counts)
            return profile.counted(build, device, emulator.regions()[-1], emulator.layers())

    @contextmanager
    def session(self, build: Build, device: DeviceProfile) -> Iterator[Session]:
        """A session with the firmware in QEMU, which counts nothing; raises as `run` does."""
        with _talk(build, dataclasses.replace(device, counts_instructions=False)) as (_, session):
            yield session

    def identify(self, build: Build, device: DeviceProfile) -> Identity:
        """Start `build`, ask the firmware who it is, stop. Raises as `run` does."""
        with _talk(build, device) as (_, session):
            return session.require(build)


@contextmanager
def _talk(build: Build, device: DeviceProfile) -> Iterator[tuple[Emulator, Session]]:
    """A running emulator and a session with it; says so when it was QEMU that failed."""
    limit_s = infer_timeout_s(device)
    with Emulator(build.elf, device, counts=device.counts_instructions) as emulator:
        try:
            with open_link(emulator.url) as link:
                yield emulator, Session(link, infer_timeout_s=limit_s)
        except FirmwareFaultError as e:
            raise explain(e, build.elf, device.toolchain_prefix) from e
        except LinkError as e:
            if (said := emulator.ended()) is not None:
                raise DeviceError(
                    f"QEMU ended while the firmware ran: {said}",
                    hint="the firmware left the emulated board in a state that QEMU refuses",
                ) from e
            raise


def _command(elf: Path, device: DeviceProfile, report: Path | None) -> list[str]:
    emulator = device.emulator
    command = [
        require(emulator["system"]),
        *("-M", emulator["machine"]),
        *shlex.split(emulator.get("args", "")),
        *("-display", "none", "-monitor", "none", "-nic", "none", "-no-reboot"),
        # nodelay: without it every answer waits for an acknowledgement, 40 ms.
        "-chardev",
        "socket,id=line,host=127.0.0.1,port=0,server=on,wait=on,nodelay=on",
        *("-serial", "chardev:line", "-kernel", str(elf)),
    ]
    if report is not None:
        addresses = Elf(elf)
        begin, end = addresses.address("td_mark_begin"), addresses.address("td_mark_end")
        files = [str(counter.plugin()), f"out={report}"]
        # QEMU splits at commas; two of them stand for one.
        options = [name.replace(",", ",,") for name in files]
        options += [f"from={begin:#x}", f"to={end:#x}"]
        if table := emulator.get("cycles"):
            options.append(f"core={table}")
        for option, symbol in (("mark", profile.MARK), ("layers", profile.LAYERS)):
            if extent := addresses.extent(symbol):
                options.append(f"{option}={extent[0]:#x}:{extent[1]}")
        command += ["-plugin", ",".join(options)]
    return command


def _dying_with_us() -> list[str]:
    """What makes a child die when the thread that started it does, where the system can do that.

    util-linux's `setpriv` asks the kernel for it (PR_SET_PDEATHSIG) and then becomes the program.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def main(arguments: Sequence[str]) -> int:
    """Keep a firmware running until Ctrl-C, or until nobody reads the standard output any more."""
    board, elf = arguments
    try:
        device = from_json(DeviceProfile, json.loads(Path(board).read_text("utf-8")))
        with Emulator(Path(elf), device) as running:
            print(f"{device.name} runs; Ctrl-C ends it")
            print(f"{RUNS} {running.pid} at {running.url}", flush=True)
            watch = select.poll()
            watch.register(sys.stdout, 0)  # asked for nothing, poll still tells of a closed pipe
            while running.ended() is None and not watch.poll(WATCH_MS):
                pass
    except KeyboardInterrupt:
        return 0
    except TinydeployError as e:
        print(f"{e.message}\n{e.hint}", file=sys.stderr)
        return e.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
