"""MLPerf Tiny's serial protocol from the host's side: says and expects what MLCommons' runner does.

The commands are those of `firmware/PROTOCOL.md`. Behind an interface board ("IO manager") every
command is passed through: `dut COMMAND%` is acknowledged by the board itself, then the device's
lines follow, each with `[dut]: ` in front.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from tinydeploy.devices.link import Link
from tinydeploy.errors import DeviceError, LinkError

CHUNK_BYTES = 31
"""Bytes of one `db` command when the runner is alone with the device."""
CHUNK_BYTES_METERED = 26
"""The same with a power monitor."""
READY = "m-ready"
CLOCK_WRAP_US = 1 << 32
_PREFIX = "[dut]: "


@dataclass(frozen=True)
class DeviceName:
    """What `name` and `profile` say: board, model id (kws01, ...), the protocol's own version."""

    board: str
    model: str
    profile: str


@dataclass(frozen=True)
class Infer:
    """One `infer`: `elapsed_us` for all inferences, None in the energy mode.

    Timestamps as they came; `results` in real units, three decimals.
    """

    iterations: int
    warmups: int
    start_us: int | None
    end_us: int | None
    elapsed_us: int | None
    results: tuple[float, ...]


@dataclass
class MlperfClient:
    """Speaks to one device over an open link, which it does not close.

    `transcript` collects all lines: `> ` sent, `< ` received. `timeout_s` limits the wait for any
    line, `infer_timeout_s` that for those of an inference.
    """

    link: Link
    chunk_bytes: int = CHUNK_BYTES
    io_manager: bool = False
    timeout_s: float = 5.0
    infer_timeout_s: float = 600.0
    transcript: list[str] = field(default_factory=list)

    def identify(self) -> DeviceName:
        """Ask who it is, whatever an earlier host left in its line. Raises LinkError."""
        self._send("")  # ends what stands in the device's line; its answer, or a greeting, may come
        board = self._find(r"m-name-dut-\[([^]]+)\]", self._until("name", "m-name-"))
        lines = self.command("profile")
        model = self._find(r"m-model-\[([^]]+)\]", lines)
        return DeviceName(board, model, self._find(r"m-profile-\[([^]]+)\]", lines))

    def command(self, text: str, timeout_s: float | None = None) -> list[str]:
        """The lines that answer a command, without the last, `m-ready`.

        Raises DeviceError for a refusal (`e-[...]`), LinkError for silence.
        """
        self._send(text)
        return self._answer(text, self.timeout_s if timeout_s is None else timeout_s)

    def set_baud(self, baud: int) -> None:
        """Tell an IO manager how fast its side of the device's line is."""
        self._write(f"setbaud {baud}")
        self._read_until_ready("setbaud", self.timeout_s)

    def load(self, data: bytes) -> None:
        """Send one input, in as many commands as the runner uses. Raises as `command` does."""
        lines = self.command(f"db load {len(data)}")
        for at in range(0, len(data), self.chunk_bytes):
            lines = self.command(f"db {data[at : at + self.chunk_bytes].hex()}")
        if "m-load-done" not in lines:
            raise LinkError(
                f"the device does not confirm the {len(data)} bytes of its input",
                hint="bytes got lost: check cable and baud rate",
            )

    def infer(self, iterations: int, warmups: int) -> Infer:
        """Run the loaded input; `warmups` before the clock starts. Raises as `command` does.

        The number of warm-ups is always sent: a device takes 10 where it is not.
        """
        lines = self.command(f"infer {iterations} {warmups}", self.infer_timeout_s)
        laps = [int(m[1]) for line in lines if (m := re.fullmatch(r"m-lap-us-(\d+)", line))]
        results = self._find(r"m-results-\[([^]]*)\]", lines)
        if len(laps) not in (0, 2):
            raise LinkError(f"`infer` gave {len(laps)} timestamps", hint="two, or none, are due")
        start, end = laps if laps else (None, None)
        # The clocks of most devices are 32 bits wide.
        elapsed = (end - start) % CLOCK_WRAP_US if start is not None and end is not None else None
        try:
            values = tuple(float(text) for text in results.split(",") if text.strip())
        except ValueError as e:
            raise LinkError(f"results that are no numbers: {results[:60]!r}", hint=str(e)) from e
        return Infer(iterations, warmups, start, end, elapsed, values)

    # ------------------------------------------------------------ lines
    def _write(self, text: str) -> None:
        self.transcript.append(f"> {text}%")
        self.link.write(f"{text}%".encode())

    def _send(self, text: str) -> None:
        if not self.io_manager:
            self._write(text)
        elif text:
            self._write(f"dut {text}")
            self._read_until_ready(text, self.timeout_s)

    def _answer(self, text: str, timeout_s: float) -> list[str]:
        lines = self._read_until_ready(text, timeout_s, _PREFIX if self.io_manager else "")
        if refused := [line for line in lines if line.startswith("e-[")]:
            raise DeviceError(
                f"the device refuses {text[:40]!r}: {refused[0]}",
                hint="is it the firmware of this model?",
            )
        return lines

    def _until(self, text: str, wanted: str) -> list[str]:
        """The answer that holds a wanted line: those to earlier commands are passed over."""
        self._send(text)
        for _ in range(8):
            lines = self._answer(text, self.timeout_s)
            if any(line.startswith(wanted) for line in lines):
                return lines
        raise LinkError(f"the device does not answer {text!r}", hint="is it MLPerf firmware?")

    def _read_until_ready(self, text: str, timeout_s: float, prefix: str = "") -> list[str]:
        lines: list[str] = []
        while True:
            raw = self.link.read_line(time.monotonic() + timeout_s)
            if raw is None:
                raise LinkError(
                    f"no answer to {text[:40]!r} within {timeout_s:g} s on {self.link.name}",
                    hint="is the port right, the board powered, the baud rate that of its mode?",
                )
            line = raw.decode("ascii", errors="replace").strip("\r\n\0")
            self.transcript.append(f"< {line}")
            line = line.removeprefix(prefix)
            if line == READY:
                return lines
            if line:
                lines.append(line)

    @staticmethod
    def _find(pattern: str, lines: list[str]) -> str:
        for line in lines:
            if match := re.fullmatch(pattern, line):
                return match[1]
        raise LinkError(
            f"no line {pattern.split('-')[1]!r} in the answer {lines[:3]}",
            hint="another firmware, or bytes got lost",
        )
