"""Emulated boards: outputs, exact counts, faults, and that no process is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL, Small, build_injected, build_small

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import counter, emulator, toolchain
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import Emulator, QemuRunner
from tinydeploy.devices.link import open_link
from tinydeploy.devices.session import Session
from tinydeploy.errors import (
    DeviceError,
    FirmwareFaultError,
    LinkError,
    ToolMissingError,
    WrongFirmwareError,
)
from tinydeploy.tflite import read_graph
from tinydeploy.types import DeviceProfile

pytestmark = pytest.mark.qemu

CORTEX_M4 = "qemu-cortex-m4"
RV32 = "qemu-rv32"


def inputs(samples: int) -> list[np.ndarray]:
    shape = read_graph(SMALL_MODEL).tensors[read_graph(SMALL_MODEL).inputs[0]].shape[1:]
    rng = np.random.default_rng(3)
    return [rng.integers(-128, 128, (samples, *shape), dtype=np.int8)]


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


# ---------------------------------------------------------------- the path of every day
@pytest.mark.parametrize("board", [CORTEX_M4, RV32])
def test_runs_and_counts_alike_twice(board: str, small: Small) -> None:
    device, x = find(board), inputs(3)
    build = small(board)
    expected = AotCompiler().native(SMALL_MODEL).predict(x)
    outputs, first = QemuRunner().run(build, device, x)
    _, second = QemuRunner().run(build, device, x)
    assert [o.tobytes() for o in outputs] == [e.tobytes() for e in expected]
    assert first.instructions == second.instructions
    assert first.instructions is not None and len(first.instructions) == 3
    assert first.cycles_model == second.cycles_model
    assert first.cycles_model is not None and first.cycles_model > min(first.instructions)
    assert first.origin == {"instructions": "emulated", "cycles_model": "estimated"}
    assert first.latency_us is None and first.energy_uj is None
    assert first.arena_bytes == build.footprint.arena_bytes
    assert first.stack_bytes is not None and 100 < first.stack_bytes < 2048


@pytest.mark.parametrize(
    "board", ["qemu-cortex-m3", "qemu-cortex-m7", "qemu-cortex-m33", "qemu-cortex-m55"]
)
def test_the_other_boards_compute_the_same(board: str, small: Small) -> None:
    device, x = find(board), inputs(2)
    outputs, result = QemuRunner().run(small(board), device, x)
    expected = AotCompiler().native(SMALL_MODEL).predict(x)
    assert [o.tobytes() for o in outputs] == [e.tobytes() for e in expected]
    assert result.instructions is not None and min(result.instructions) > 10_000
    assert (result.cycles_model is None) == ("cycles" not in device.emulator)


def test_a_board_that_counts_nothing(small: Small) -> None:
    """A board file of the user may leave `counts_instructions` out."""
    device, x = replace(find(CORTEX_M4), counts_instructions=False), inputs(1)
    outputs, result = QemuRunner().run(small(CORTEX_M4), device, x)
    assert [o.tobytes() for o in outputs] == [
        e.tobytes() for e in AotCompiler().native(SMALL_MODEL).predict(x)
    ]
    assert result.instructions is None and result.cycles_model is None and not result.origin


def test_paths_may_hold_commas_and_spaces(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "a, b"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    _, result = QemuRunner().run(small(CORTEX_M4), find(CORTEX_M4), inputs(1))
    assert result.instructions is not None
    assert not [*scratch.iterdir()]


# ---------------------------------------------------------------- exact counts
LOOP = '__asm volatile("mov r0, {n}\\n1: subs r0, #1\\nbne 1b" ::: "r0", "cc");'
LOOP_RV32 = '__asm volatile("li t0, {n}\\n1: addi t0, t0, -1\\nbnez t0, 1b" ::: "t0");'


@pytest.mark.parametrize(
    ("board", "loop"), [(CORTEX_M4, LOOP), (RV32, LOOP_RV32)], ids=[CORTEX_M4, RV32]
)
def test_counts_every_instruction(board: str, loop: str, small: Small, tmp_path: Path) -> None:
    device, x = find(board), inputs(1)
    counts = {}
    for turns in (100, 200):
        build = build_injected(loop.replace("{n}", str(turns)), board, tmp_path / str(turns))
        _, result = QemuRunner().run(build, device, x)
        assert result.instructions is not None
        counts[turns] = result.instructions[0]
    _, plain = QemuRunner().run(small(board), device, x)
    assert plain.instructions is not None
    assert counts[200] - counts[100] == 2 * 100
    assert counts[100] - plain.instructions[0] == 1 + 2 * 100


def test_the_markers_cost_nothing() -> None:
    report = [
        counter.Region(2, 5, {"call": 2, "alu": 0}),
        counter.Region(12, 30, {"call": 4, "alu": 8}),
    ]
    assert counter.inferences(report) == [counter.Region(10, 25, {"call": 2, "alu": 8})]
    assert counter.inferences([]) == []


@pytest.mark.parametrize(
    "text",
    [
        "region=0 instructions=3 alu=2 classified=2\n",  # counter and decoder disagree
        "region=0 instructions=x alu=2 classified=2\n",
        "region=0\n",
        "what?\n",
    ],
)
def test_refuses_a_report_that_makes_no_sense(text: str, tmp_path: Path) -> None:
    report = tmp_path / "regions.txt"
    report.write_text(text)
    with pytest.raises(DeviceError, match="makes no sense"):
        counter.read_regions(report)


def test_a_line_that_is_still_written_does_not_count(tmp_path: Path) -> None:
    report = tmp_path / "regions.txt"
    report.write_text("region=0 instructions=2 alu=2 classified=2\nregion=1 instr")
    assert [r.instructions for r in counter.read_regions(report)] == [2]


# ---------------------------------------------------------------- the stack
def test_reports_how_deep_the_stack_went(tmp_path: Path) -> None:
    code = "volatile uint8_t deep[5000]; deep[0] = 1; deep[4999] = deep[0];"
    build = build_injected(code, CORTEX_M4, tmp_path)
    _, result = QemuRunner().run(build, find(CORTEX_M4), inputs(1))
    assert result.stack_bytes is not None and 5000 < result.stack_bytes < 6000


# ---------------------------------------------------------------- what goes wrong
@pytest.mark.parametrize(
    ("board", "code", "registers"),
    [
        ("qemu-cortex-m0", '__asm volatile("udf #0");', {"pc", "lr"}),
        (CORTEX_M4, '__asm volatile("udf #0");', {"pc", "lr", "cfsr", "hfsr"}),
        (RV32, '__asm volatile("unimp");', {"pc", "lr", "mcause", "mtval"}),
    ],
)
def test_a_fault_says_where(board: str, code: str, registers: set[str], tmp_path: Path) -> None:
    build = build_injected(code, board, tmp_path)
    with pytest.raises(FirmwareFaultError) as caught:
        QemuRunner().run(build, find(board), inputs(1))
    assert set(caught.value.registers) == registers
    lines = (tmp_path / "source" / "td_model.c").read_text().splitlines()
    place = f"in td_model_invoke at td_model.c:{lines.index(code) + 1} "
    assert place in caught.value.message
    if board != "qemu-cortex-m0":  # Armv6-M does not say why
        assert "an instruction that this core does not have" in caught.value.message
    prefix = find(board).toolchain_prefix
    place = subprocess.run(
        [f"{prefix}addr2line", "-f", "-e", build.elf, hex(caught.value.registers["pc"])],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert place.startswith("td_model_invoke\n")
    with Emulator(build.elf, find(board)) as emulator, open_link(emulator.url) as link:
        with pytest.raises(FirmwareFaultError):
            Session(link).infer(inputs(1)[0].tobytes())
        with pytest.raises(FirmwareFaultError) as late:  # a host that comes later hears it too
            Session(link).identify()
    assert late.value.registers == caught.value.registers


def test_firmware_that_hangs_ends_in_time(tmp_path: Path) -> None:
    device = find(CORTEX_M4)
    impatient = replace(device, emulator={**device.emulator, "infer_timeout_s": "1"})
    build = build_injected("volatile int on = 1; while (on) { }", CORTEX_M4, tmp_path)
    with pytest.raises(LinkError, match="did not answer"):
        QemuRunner().run(build, impatient, inputs(1))


def test_refuses_another_build(small: Small) -> None:
    build = small(CORTEX_M4)
    with pytest.raises(WrongFirmwareError):
        QemuRunner().run(replace(build, build_id="0" * 64), find(CORTEX_M4), inputs(1))


def test_identifies_a_build(small: Small) -> None:
    build = small(CORTEX_M4)
    identity = QemuRunner().identify(build, find(CORTEX_M4))
    assert (identity.board, identity.build_id) == (CORTEX_M4, build.build_id)


def test_says_what_qemu_says(small: Small) -> None:
    device = find(CORTEX_M4)
    unknown = replace(device, emulator={**device.emulator, "machine": "no-such-machine"})
    build = small(CORTEX_M4)
    with pytest.raises(DeviceError, match="unsupported machine type"):
        QemuRunner().run(build, unknown, inputs(1))


def test_missing_qemu_names_the_package(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = small(CORTEX_M4)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolMissingError, match="qemu-system-arm is not on PATH") as caught:
        QemuRunner().run(build, find(CORTEX_M4), inputs(1))
    assert toolchain.PACKAGES["qemu-system-arm"] in caught.value.hint


# ---------------------------------------------------------------- no process is left behind
def test_ends_with_the_block(small: Small) -> None:
    build = small(CORTEX_M4)
    with pytest.raises(ZeroDivisionError), Emulator(build.elf, find(CORTEX_M4)) as running:
        pid = running.pid
        assert not is_gone(pid)
        raise ZeroDivisionError
    assert is_gone(pid)


STARTS_AND_WAITS = """
import sys, time
from pathlib import Path
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import Emulator
with Emulator(Path(sys.argv[1]), find("qemu-cortex-m4")) as running:
    print(running.pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_dies_with_whoever_started_it(how: signal.Signals, small: Small) -> None:
    build = small(CORTEX_M4)
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, str(build.elf)], stdout=subprocess.PIPE
    )
    assert starter.stdout is not None
    pid = int(starter.stdout.readline())
    assert not is_gone(pid)
    starter.send_signal(how)
    starter.communicate()
    assert soon(lambda: is_gone(pid))


def project_of(build_folder: Path, device: DeviceProfile) -> Path:
    """The board's project in the cache, with the model that was built last."""
    from tinydeploy.devices import project

    with project.opened(device, "balanced") as held:
        copy = build_folder / "project"
        subprocess.run(["cp", "-r", str(held.folder), str(copy)], check=True)
    return copy


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_pio_upload_starts_the_emulator(how: signal.Signals, tmp_path: Path) -> None:
    device = find(CORTEX_M4)
    build_small(SMALL_MODEL, CORTEX_M4, tmp_path)
    folder = project_of(tmp_path, device)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PLATFORMIO_")}
    pio = subprocess.Popen(
        [sys.executable, "-m", "platformio", "run", "-t", "upload"],
        cwd=folder,
        env=environment | {"CI": "true", "PLATFORMIO_DISABLE_UPGRADE_CHECK": "true"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert pio.stdout is not None
    url, pid = "", 0
    for line in pio.stdout:
        if emulator.RUNS in line:
            url, pid = line.split()[-1], int(line.split()[-3])
            break
    assert url, "the emulator did not start"
    try:
        with open_link(url) as link:
            assert Session(link).identify().board == CORTEX_M4
        assert not is_gone(pid)
    finally:
        os.killpg(pio.pid, how) if how == signal.SIGINT else pio.kill()
        pio.stdout.close()
        pio.wait(timeout=30)
    assert soon(lambda: is_gone(pid))
