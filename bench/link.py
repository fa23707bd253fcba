"""Measuring sessions over a line that damages bytes: do they end with the right numbers?

    python bench/link.py --json OUT [--sessions 1000] [--rates 0,0.001,0.003,0.01,0.02]

Each session starts the firmware as a process (board `loopback`, whose clock and meter are
scripted), measures a few inferences through a `FaultyPort`, and compares everything with the
truth: outputs byte for byte with the host's, latency and energy of each inference with the script,
the arena with the build's. A session may end with an error that says so; one that ends with a
number that is not the truth is counted as wrong, and the program then exits with 1.

Rates are probabilities a byte and direction, a quarter each of flips, drops, duplicates and delays.
A second table is that of whole lines of several speeds (`--bauds`): inferences a second, and how
much of the time the line itself takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.cli import wiring
from tinydeploy.cli.arrays import random_inputs
from tinydeploy.cli.render import table
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.faulty import Damage, FaultyPort, SlowPort
from tinydeploy.devices.link import Link, SocketPort
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.devices.measure import measure
from tinydeploy.devices.session import Session
from tinydeploy.devices.streaming import seconds_on_the_line
from tinydeploy.errors import TinydeployError
from tinydeploy.store import write_json
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, DeviceProfile

MODEL = Path(__file__).resolve().parents[1] / "tests" / "models" / "dscnn_int8.tflite"
SAMPLES = 3
SPEED_S = 3.0
LATENCY_US = (1250.0, 1300.0, 1275.0)
ENERGY_UJ = (41.5, 42.75, 42.1)
SCRIPT = "latency_us=1250,1300,1275 energy_nj=41500,42750,42100"


@dataclasses.dataclass
class Ended:
    """What became of one session."""

    outcome: str
    seconds: float
    resends: int = 0
    received_bytes: int = 0
    injected: int = 0
    wrong: str = ""
    message: str = ""


def session(
    build: Build,
    device: DeviceProfile,
    inputs: list[np.ndarray],
    truth: list[np.ndarray],
    rate: float,
    seed: int,
) -> Ended:
    """One measuring session through a line of this rate of damage."""
    started = time.perf_counter()
    with NativeFirmware(build.elf, SCRIPT) as firmware:
        host, port = firmware.url.removeprefix("socket://").split(":")
        faulty = FaultyPort(SocketPort(host, int(port)), Damage.mixed(rate), seed)
        with Link(faulty, firmware.url) as link:
            talk = Session(link)
            try:
                outputs, result = measure(talk, build, device, inputs)
            except TinydeployError as e:
                outcome, wrong, message = type(e).__name__, "", e.message
            else:
                message = ""
                checks = {
                    "outputs": all(
                        o.tobytes() == t.tobytes() for o, t in zip(outputs, truth, strict=True)
                    ),
                    "latency": result.latency_us == LATENCY_US,
                    "energy": result.energy_uj == ENERGY_UJ,
                    "samples": result.samples == SAMPLES,
                    "arena": result.arena_bytes == build.footprint.arena_bytes,
                    "stack": result.stack_bytes is None,
                }
                wrong = ", ".join(name for name, right in checks.items() if not right)
                outcome = "wrong" if wrong else "right"
            seconds = time.perf_counter() - started
            injected = sum(faulty.injected.values())
            return Ended(
                outcome, seconds, talk.resends, link.received_bytes, injected, wrong, message
            )


def at_speed(
    build: Build, inputs: list[np.ndarray], truth: list[np.ndarray], baudrate: int
) -> dict[str, Any]:
    """Inferences over a line of this speed without damage."""
    row = b"".join(x[0].tobytes() for x in inputs)
    expected = tuple(t[0].tobytes() for t in truth)
    with NativeFirmware(build.elf, SCRIPT) as firmware:
        host, port = firmware.url.removeprefix("socket://").split(":")
        slow = SlowPort(SocketPort(host, int(port)), baudrate)
        with Link(slow, firmware.url, baudrate) as link:
            talk = Session(link)
            identity = talk.identify()
            count, started = 0, time.perf_counter()
            while count < 3 or time.perf_counter() - started < SPEED_S:
                if talk.infer(row).outputs != expected:
                    raise SystemExit(f"a wrong output at {baudrate} baud")
                count += 1
            seconds = time.perf_counter() - started
    return {
        "baud": baudrate,
        "inferences_per_s": count / seconds,
        "of_the_line": seconds_on_the_line(identity, count, baudrate) / seconds,
        "resends": talk.resends,
    }


def judge(rate: float, sessions: list[Ended]) -> dict[str, Any]:
    """The figures of one rate."""
    outcomes = Counter(s.outcome for s in sessions)
    right = [s.seconds for s in sessions if s.outcome == "right"]
    seconds = sorted(s.seconds for s in sessions)
    errors = {k: v for k, v in outcomes.items() if k not in ("right", "wrong")}
    return {
        "damage_per_byte": rate,
        "sessions": len(sessions),
        "right": outcomes["right"],
        "errors": errors,
        "error_messages": Counter(s.message[:100] for s in sessions if s.message).most_common(5),
        "wrong": outcomes["wrong"],
        "wrong_what": [s.wrong for s in sessions if s.wrong],
        "injected": sum(s.injected for s in sessions),
        "resends_a_session": statistics.fmean(s.resends for s in sessions),
        "median_s": statistics.median(seconds),
        "p99_s": seconds[len(seconds) * 99 // 100],
        "inferences_per_s": SAMPLES * len(right) / sum(right) if right else 0.0,
        "received_bytes_a_session": statistics.fmean(s.received_bytes for s in sessions),
    }


def main() -> int:
    """Run all rates; 1 if a wrong number appeared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--rates", default="0,0.001,0.003,0.01,0.02")
    parser.add_argument("--bauds", default="9600,38400,115200,460800,921600")
    parser.add_argument("--jobs", type=int, default=4, help="sessions at once")
    parser.add_argument("--model", type=Path, default=MODEL)
    options = parser.parse_args()
    device = find("loopback")
    inputs = random_inputs(read_graph(options.model), SAMPLES)
    host = wiring.compiler().native(options.model)
    truth = host.predict(inputs)
    host.close()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        build = wiring.build_firmware(
            options.model, device, Path(scratch, "build"), engine="aot", optimize="balanced"
        )
        for rate in map(float, options.rates.split(",")):
            # Sessions mostly wait, so that several at once do not disturb each other.
            with ThreadPoolExecutor(options.jobs) as pool:
                one = functools.partial(session, build, device, inputs, truth, rate)
                ended = []
                for done in pool.map(one, range(options.sessions)):
                    ended.append(done)
                    if len(ended) % 100 == 0:
                        print(f"damage {rate:g}: {len(ended)} sessions", file=sys.stderr)
            rows.append(judge(rate, ended))
            write_json(options.json, {"model": options.model.name, "rates": rows})
        speeds = [
            at_speed(build, inputs, truth, int(baud)) for baud in options.bauds.split(",") if baud
        ]
    write_json(options.json, {"model": options.model.name, "rates": rows, "speeds": speeds})
    shown = [
        (
            f"{row['damage_per_byte']:.1%}",
            row["sessions"],
            row["right"],
            sum(row["errors"].values()),
            row["wrong"],
            row["injected"],
            f"{row['resends_a_session']:.1f}",
            f"{row['median_s']:.3f}",
            f"{row['p99_s']:.3f}",
            f"{row['inferences_per_s']:.1f}",
        )
        for row in rows
    ]
    head = ("damage", "sessions", "right", "errors", "wrong", "injected", "resends", "median s",
            "p99 s", "inferences/s")  # fmt: skip
    print(table(head, shown))
    speed_rows = [
        (s["baud"], f"{s['inferences_per_s']:.1f}", f"{s['of_the_line']:.0%}", s["resends"])
        for s in speeds
    ]
    print(table(("baud", "inferences/s", "of the line", "resends"), speed_rows))
    return 1 if any(row["wrong"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
