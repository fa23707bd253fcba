"""A labelled set through a board: one sample after the other, each result kept as it comes.

What has been computed lies in a journal, so that a run that was killed, or a board that was
unplugged, goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.devices import protocol
from tinydeploy.devices.link import BITS_A_BYTE
from tinydeploy.devices.measure import outputs_of, rows_of
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Inference, Session
from tinydeploy.errors import DeviceError, LinkError, UsageError
from tinydeploy.store import sha256_bytes
from tinydeploy.types import Build

RECONNECT_S = 30.0
RETRY_S = 0.5
ANSWER_BYTES = 80  # of `load` and `infer` together, without the outputs

Connect = Callable[[], AbstractContextManager[Session]]
Progress = Callable[[int, int], None]


class Journal:
    """Results of a run, one a line: its number, the device's microseconds, the outputs in hex.

    The first line says what they belong to. A line that was torn when the program was killed is
    dropped. Close it; `remove` when nothing is left to do.
    """

    def __init__(self, path: Path, belongs_to: dict[str, Any]) -> None:
        """Open or begin the journal. Raises UsageError if it belongs to something else."""
        self.path = path
        self.results: dict[int, Inference] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "ab+")  # noqa: SIM115  closed by `close`
        try:
            self._file.seek(0)
            self._read(self._file.read(), belongs_to)
        except BaseException:
            self._file.close()
            raise

    def add(self, index: int, result: Inference) -> None:
        """Keep one result; a killed program has it as well."""
        outputs = [output.hex() for output in result.outputs]
        self._write([index, result.device_us, *outputs])
        self.results[index] = result

    def close(self) -> None:
        """Close the file; it stays."""
        self._file.close()

    def remove(self) -> None:
        """Close and delete it."""
        self._file.close()
        self.path.unlink(missing_ok=True)

    def _read(self, data: bytes, belongs_to: dict[str, Any]) -> None:
        whole = 0
        for number, line in enumerate(data.splitlines(keepends=True)):
            try:
                value = json.loads(line) if line.endswith(b"\n") else None
                if number == 0:
                    if value is not None and value != belongs_to:
                        raise self._another(value, belongs_to)
                elif value is not None:
                    index, us, *outputs = value
                    kept = tuple(bytes.fromhex(output) for output in outputs)
                    self.results[int(index)] = Inference(kept, int(us), None)
            except (ValueError, TypeError):
                value = None
            if value is None:
                break
            whole += len(line)
        self._file.truncate(whole)
        if whole == 0:
            self._write(belongs_to)

    def _another(self, value: Any, belongs_to: dict[str, Any]) -> UsageError:
        differs = [
            k for k, v in belongs_to.items() if not isinstance(value, dict) or value.get(k) != v
        ]
        return UsageError(
            f"{self.path} holds the results of another run: {', '.join(differs)} differ",
            hint="remove the file to begin anew",
        )

    def _write(self, value: Any) -> None:
        self._file.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")
        self._file.flush()


@dataclass
class DevicePredictor:
    """A board as a `tinydeploy.ports.Predictor`.

    `connect` opens a session; a connection that breaks is opened again for up to `reconnect_s`,
    unless the model keeps state between inferences (`stateful`): that would be lost. `progress` is
    told how many samples are done, of how many. Afterwards `resumed` says how many results were in
    the journal already, `latency_us` what the board's clock says, None where it has no real one.
    """

    connect: Connect
    build: Build
    journal_path: Path
    progress: Progress = lambda done, total: None
    reconnect_s: float = RECONNECT_S
    stateful: bool = False
    resumed: int = 0
    latency_us: tuple[float, ...] | None = None
    identity: Identity | None = None

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """See `tinydeploy.ports.Predictor`.

        Raises WrongFirmwareError, LinkError, FirmwareFaultError, DeviceError, and UsageError for
        inputs that are not the model's.
        """
        journal: Journal | None = None
        broken_since: float | None = None
        try:
            while True:
                done = len(journal.results) if journal else 0
                try:
                    with self.connect() as session:
                        self.identity = session.require(self.build)
                        rows = rows_of(self.identity, inputs)
                        journal = journal or self._journal(rows)
                        self._run(session, rows, journal)
                        break
                except LinkError:
                    advanced = journal is not None and len(journal.results) > done
                    if journal is None or (self.stateful and journal.results):
                        raise  # it never began, or cannot go on
                    now = time.monotonic()
                    broken_since = now if advanced or broken_since is None else broken_since
                    if now > broken_since + self.reconnect_s:
                        raise
                    time.sleep(RETRY_S)
            runs = [journal.results[index] for index in range(len(rows))]
        except BaseException:
            if journal is not None:
                journal.close()
            raise
        journal.remove()
        if "time" in self.identity.capabilities:
            self.latency_us = tuple(float(run.device_us) for run in runs)
        return outputs_of(self.identity, self.build, runs)

    def close(self) -> None:
        """Nothing is held between calls."""

    def _journal(self, rows: Sequence[bytes]) -> Journal:
        journal = Journal(
            self.journal_path,
            {
                "build_id": self.build.build_id,
                "board": self.build.board,
                "inputs_sha256": sha256_bytes(b"".join(rows)),
                "samples": len(rows),
            },
        )
        if self.stateful and journal.results:
            journal.remove()
            return self._journal(rows)
        self.resumed = len(journal.results)
        return journal

    def _run(self, session: Session, rows: Sequence[bytes], journal: Journal) -> None:
        """What is left to do, over one connection."""
        session.reset()
        started, ordered = session.counters()["inferences"], session.inferences
        self.progress(len(journal.results), len(rows))
        for index, row in enumerate(rows):
            if index not in journal.results:
                journal.add(index, session.infer(row))
                self.progress(len(journal.results), len(rows))
        expected = started + session.inferences - ordered
        if self.stateful and session.counters()["inferences"] != expected:
            raise DeviceError(
                "the board restarted in between, and the model's state is lost",
                hint="check power, watchdog and stack size",
            )


def seconds_on_the_line(identity: Identity, samples: int, baudrate: int) -> float:
    """How long a serial line of this speed takes for inputs and answers, without inferences.

    Of random bytes 7 in 256 is sent as two.
    """
    loads = protocol.split_for_lines(bytes(identity.input_bytes), identity.line_bytes)
    sent = identity.input_bytes * (1 + 7 / 256) + ANSWER_BYTES * (len(loads) + 1)
    return samples * (sent + 2 * identity.output_bytes) * BITS_A_BYTE / baudrate


def journal_path(build: Build, name: str) -> Path:
    """Where the journal of a data set lies: in the build's folder."""
    safe = "".join(c if c.isalnum() else "-" for c in name)
    return Path(os.fspath(build.directory), f"accuracy-{safe}.jsonl")
