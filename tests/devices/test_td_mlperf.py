"""The firmware as MLPerf Tiny's runner sees it: what that sends, byte for byte, and its traps."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from toy import INPUT_BYTES, compile_toy, toy_inputs, toy_outputs

PERFORMANCE = ["m-timestamp-mode-performance", "m-lap-us-0", "m-init-done", "m-ready"]
ENERGY = ["m-timestamp-mode-energy", "m-init-done", "m-ready"]
DATA = b"".join(x.tobytes() for x in toy_inputs(1, 1))


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware")


@pytest.fixture(scope="module")
def energy_elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("energy") / "firmware"
    return compile_toy(out, "-DTD_PORT_HAS_TIMESTAMP_PIN", "-DTD_ENERGY_MODE=1")


def talk(elf: Path, data: str, script: str = "latency_us=1250") -> list[str]:
    """All lines that the firmware answers, its greeting included."""
    done = subprocess.run(
        [elf], input=data.encode(), env={"TD_NATIVE": script}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().split("\r\n")[:-1]


def load(chunk: int, data: bytes = DATA) -> str:
    """What the runner sends to load an input."""
    parts = (data[at : at + chunk].hex() for at in range(0, len(data), chunk))
    return f"db load {len(data)}%" + "".join(f"db {part}%" for part in parts)


def laps(lines: list[str]) -> list[int]:
    return [int(m[1]) for line in lines if (m := re.fullmatch(r"m-lap-us-(\d+)", line))]


def result() -> str:
    """The toy model's first output has no scale: integers as they are."""
    return f"m-results-[{','.join(map(str, toy_outputs(toy_inputs(1, 1))[0].ravel()))}]"


@pytest.mark.parametrize("chunk", [31, 26], ids=["performance", "energy"])
def test_the_runners_chunks(elf: Path, chunk: int) -> None:
    """The runner sends 31 bytes a command, 26 with a power monitor; the last one is shorter."""
    got = talk(elf, load(chunk) + "infer 1 0%")[len(PERFORMANCE) :]
    commands = -(-INPUT_BYTES // chunk)
    assert got[: 1 + commands] == [f"m-[Expecting {INPUT_BYTES} bytes]", *["m-ready"] * commands]
    assert got[1 + commands :] == [
        "m-load-done", "m-ready",
        "m-warmup-start-0", "m-warmup-done", "m-infer-start-1", "m-lap-us-0", "m-lap-us-1250",
        "m-infer-done", result(), "m-ready",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "warmups", "n"),
    [("infer 3", 10, 3), ("infer", 10, 1), ("infer 5 2", 2, 5), ("infer 2 0", 0, 2)],
)
def test_warmups_are_ten_unless_said_and_not_timed(
    elf: Path, command: str, warmups: int, n: int
) -> None:
    got = talk(elf, load(31) + command + "%")
    assert f"m-warmup-start-{warmups}" in got
    assert f"m-infer-start-{n}" in got
    greeting, start, end = laps(got)
    assert (greeting, start, end - start) == (0, 1250 * warmups, 1250 * n)


def test_no_window_spans_the_clocks_wrap(elf: Path) -> None:
    """Three windows of 2,200 s on a clock that wraps after 4,295 s: the runner subtracts as is."""
    got = talk(elf, 3 * (load(31) + "infer 1 0%") + "timestamp%", "latency_us=2200000000")
    _, *pairs, last = laps(got)
    assert [end - start for start, end in zip(pairs[::2], pairs[1::2], strict=True)] == (
        [2_200_000_000] * 3
    )
    assert last == pairs[-1]


def test_commands_that_come_while_it_is_busy_wait_their_turn(elf: Path) -> None:
    """A runner that gave up on an answer asks on: each command has its own, in order."""
    got = talk(elf, load(31) + "infer 50 0%name%%profile%")
    assert got[-8:] == [
        result(), "m-ready", "m-name-dut-[loopback]", "m-ready", "m-ready",
        "m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[toy]", "m-ready",
    ]  # fmt: skip


def test_no_line_but_the_last_contains_what_ends_an_answer(elf: Path) -> None:
    """The runner reads until a line that contains m-ready."""
    for command in ("name%", "profile%", "help%", "timestamp%", "results%", "nonsense%", "db 00%"):
        *lines, last = talk(elf, command)[len(PERFORMANCE) :]
        assert last == "m-ready"
        assert lines and not any("m-ready" in line for line in lines)


def test_energy_mode_tells_the_time_by_the_pin(energy_elf: Path, tmp_path: Path) -> None:
    """One pulse after start, two around the inferences, none around the warm-ups."""
    pin = tmp_path / "pin"
    got = talk(energy_elf, load(26) + "infer 70 10%", f"latency_us=1250 pin={pin}")
    assert got[: len(ENERGY)] == ENERGY
    assert got[-6:] == [
        "m-warmup-start-10", "m-warmup-done", "m-infer-start-70", "m-infer-done", result(),
        "m-ready",
    ]  # fmt: skip
    assert laps(got) == []
    assert pin.read_bytes() == b"\n" * 3
    talk(energy_elf, "timestamp%timestamp%", f"latency_us=1250 pin={pin}")
    assert pin.read_bytes() == b"\n" * 3


def test_energy_mode_needs_the_pin(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        compile_toy(tmp_path / "firmware", "-DTD_ENERGY_MODE=1")
    assert "TD_PORT_HAS_TIMESTAMP_PIN" in capfd.readouterr().err
