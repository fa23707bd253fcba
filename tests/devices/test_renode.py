"""Renode: generated files against its syntax, the ports in QEMU, and a run if it is there."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL, compile_small

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find, load_all
from tinydeploy.devices.emulator import Emulator
from tinydeploy.devices.link import open_link
from tinydeploy.devices.measure import measure
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.devices.renode import RenodeRunner, platform_description, script
from tinydeploy.devices.session import Session
from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.types import Build, DeviceProfile

BOARDS = [name for name, board in load_all().items() if board.platform == "renode"]


def build(device: DeviceProfile, folder: Path) -> Build:
    compiled = compile_small(SMALL_MODEL, device, folder)
    return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "out")


def inputs() -> list[np.ndarray]:
    return [np.random.default_rng(0).integers(-128, 128, (2, 20, 10, 1)).astype(np.int8)]


def expected() -> list[bytes]:
    return [o.tobytes() for o in AotCompiler().native(SMALL_MODEL).predict(inputs())]


@pytest.mark.parametrize("name", BOARDS)
def test_platform_descriptions(name: str) -> None:
    """Names at the margin with class and place, settings four columns in, as in .repl files."""
    device = find(name)
    text = platform_description(device)
    declared = []
    for line in text.splitlines():
        if not line or line.startswith("//"):
            continue
        if not line.startswith(" "):
            entry = re.fullmatch(r"(\w+):( [A-Z]\w+\.\w+ @ (sysbus|cpu)( \S+(, \S+)?)?)?", line)
            assert entry, line
            declared.append(entry[1])
        else:
            assert re.match(r"    (\w+: \S+|.*-> (cpu|nvic)@|    Tag <)|    init:", line), line
    assert {"cpu", "flash", "ram", "uart"} <= set(declared)
    for memory in ("flash", "ram"):
        origin, size = getattr(device, f"{memory}_origin"), getattr(device, f"{memory}_bytes")
        assert f"{memory}: Memory.MappedMemory @ sysbus {origin:#010x}\n    size: {size:#x}" in text
    for user in re.findall(r"-> (\w+)@", text):
        assert user in declared


def test_scripts() -> None:
    text = script(find("renode-fe310"), Path("/a/f.elf"), Path("/a/board.repl"), 4321)
    assert text.splitlines() == [
        'mach create "renode-fe310"',
        "machine LoadPlatformDescription @/a/board.repl",
        'emulation CreateServerSocketTerminal 4321 "line" false',
        "connector Connect sysbus.uart line",
        "sysbus LoadELF @/a/f.elf",
        "cpu PC 0x20400000",
        "start",
    ]
    with pytest.raises(UsageError, match="cannot take the path"):
        script(find("renode-fe310"), Path("/a b/f.elf"), Path("/a/board.repl"), 1)
    device = replace(find("renode-fe310"), emulator={"uart": "0x0", "uart_type": "pl011"})
    with pytest.raises(UsageError, match="'pl011' has no port here"):
        platform_description(device)


def test_without_renode(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = find("renode-stm32f746")
    built = build(device, tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolMissingError, match="renode is not on PATH"):
        RenodeRunner().identify(built, device)
    with pytest.raises(UsageError, match="does not count by layer"):
        RenodeRunner().profile(built, device, inputs())


@pytest.mark.skipif(shutil.which("renode") is None, reason="needs renode")
@pytest.mark.parametrize("name", BOARDS)
def test_renode_computes_what_the_host_computes(name: str, tmp_path: Path) -> None:
    device = find(name)
    outputs, result = RenodeRunner().run(build(device, tmp_path), device, inputs())
    assert [o.tobytes() for o in outputs] == expected()
    assert result.latency_us is None and result.instructions is None


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("name", "machine", "system"),
    [
        ("renode-stm32f4", "netduinoplus2", "qemu-system-arm"),
        ("renode-fe310", "sifive_e", "qemu-system-riscv32"),
    ],
)
def test_the_ports_of_these_chips_in_qemu(
    name: str, machine: str, system: str, tmp_path: Path
) -> None:
    """QEMU has two of the chips: the same firmware runs there."""
    device = replace(find(name), platform="qemu", emulator={"system": system, "machine": machine})
    built = build(device, tmp_path)
    with Emulator(built.elf, device) as emulator, open_link(emulator.url) as link:
        outputs, _ = measure(Session(link, infer_timeout_s=60), built, device, inputs())
    assert [o.tobytes() for o in outputs] == expected()
