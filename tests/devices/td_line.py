"""Talking to the toy firmware's process: what the tests of the firmware's end of the line share."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
from toy import LINE_BYTES, toy_inputs, toy_outputs

from tinydeploy.devices import protocol
from tinydeploy.devices.protocol import Answer, command, crc32, decode_answer

SCRIPT = {"TD_NATIVE": "latency_us=1250 energy_nj=41500"}
BANNER = ["m-timestamp-mode-performance", "m-lap-us-0", "m-init-done", "m-ready"]
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")


def talk(elf: Path, data: bytes) -> list[bytes]:
    """All lines that the firmware answers to `data`, without the banner."""
    done = subprocess.run([elf], input=data, env=SCRIPT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr
    lines = done.stdout.split(b"\r\n")
    assert [line.decode() for line in lines[: len(BANNER)]] == BANNER
    assert lines[-1] == b""
    return lines[len(BANNER) : -1]


def answers(elf: Path, data: bytes) -> list[Answer]:
    """The answers to `td` commands."""
    decoded = [decode_answer(line) for line in talk(elf, data)]
    return [answer for answer in decoded if answer is not None]


def load(data: bytes, seq: int = 1) -> bytes:
    parts = protocol.split_for_lines(data, LINE_BYTES)
    return b"".join(command(seq, "load", at, part) for at, part in parts)


def infer(seq: int, data: bytes, n: int = 1) -> bytes:
    return command(seq, "infer", n, f"{crc32(data):08x}")


def row(seed: int) -> tuple[bytes, list[np.ndarray]]:
    inputs = toy_inputs(1, seed)
    return b"".join(x.tobytes() for x in inputs), toy_outputs(inputs)


def db(data: bytes) -> bytes:
    """MLPerf Tiny's commands that load an input."""
    parts = [data[at : at + 31] for at in range(0, len(data), 31)]
    return b"db load %d%%" % len(data) + b"".join(b"db %s%%" % p.hex().encode() for p in parts)
