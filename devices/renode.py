"""Boards in Renode: platform and script files from the profile, and a runner that speaks to them.

Renode is looked for on PATH. It gives virtual time and no counts: outputs are compared, nothing is
measured. The generated files follow the platform descriptions that Renode brings along for the same
chips; they have not been run where this was written (untested).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tinydeploy.devices.link import Link, open_link
from tinydeploy.devices.measure import measure
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Session, infer_timeout_s
from tinydeploy.errors import DeviceError, LinkError, ToolMissingError, UsageError
from tinydeploy.ports import Meter
from tinydeploy.types import Build, DeviceProfile, Measurement, Profile

START_TIMEOUT_S = 60.0
POLL_S = 0.2
INSTALL = "install Renode (renode.io) and put its folder on PATH; QEMU's boards need no Renode"

# Renode's model of each UART, with the registers that its port drives.
_UARTS = {
    "nrf52840": "UART.NRF52840_UART",
    "stm32": "UART.STM32_UART",
    "stm32f7": "UART.STM32F7_USART",
    "sam": "UART.SAM_USART",
    "sifive": "UART.SiFive_UART",
}
_RISCV = ("rv32imac",)
_CPU_TYPES = {"cortex-m4": "cortex-m4f"}  # with its FPU


def platform_description(device: DeviceProfile) -> str:
    """The .repl file: core, memories of exactly the board's sizes, UART and clock."""
    emulator = device.emulator
    memories = "".join(
        f"{name}: Memory.MappedMemory @ sysbus {origin:#010x}\n    size: {size:#x}\n\n"
        for name, origin, size in (
            ("flash", device.flash_origin, _pages(device.flash_bytes)),
            ("ram", device.ram_origin, _pages(device.ram_bytes)),
        )
    )
    if device.core in _RISCV:
        core = (
            "cpu: CPU.RiscV32 @ sysbus\n"
            '    cpuType: "rv32imac_zicsr_zifencei"\n'
            "    timeProvider: clint\n\n"
            "clint: IRQControllers.CoreLevelInterruptor @ sysbus 0x02000000\n"
            "    [0, 1] -> cpu@[3, 7]\n"
            f"    frequency: {device.clock_hz}\n\n"
        )
    else:
        core = (
            "nvic: IRQControllers.NVIC @ sysbus 0xE000E000\n"
            f"    systickFrequency: {emulator.get('systick_hz', device.clock_hz)}\n"
            "    IRQ -> cpu@0\n\n"
            "cpu: CPU.CortexM @ sysbus\n"
            f'    cpuType: "{_CPU_TYPES.get(device.core, device.core)}"\n'
            "    nvic: nvic\n\n"
        )
    return (
        f"// {device.description}. Made by tinydeploy.\n" + core + memories + _peripherals(device)
    )


def script(device: DeviceProfile, elf: Path, description: Path, port: int) -> str:
    """The .resc file: a machine with the firmware, its UART behind a TCP port of this machine.

    Raises UsageError for paths that Renode's monitor cannot take.
    """
    for path in (elf, description):
        if any(c.isspace() or c in "\"'@#" for c in str(path)):
            raise UsageError(f"Renode cannot take the path {path}", hint="use one without spaces")
    return "\n".join(
        [
            f'mach create "{device.name}"',
            f"machine LoadPlatformDescription @{description}",
            f'emulation CreateServerSocketTerminal {port} "line" false',
            "connector Connect sysbus.uart line",
            f"sysbus LoadELF @{elf}",
            *([f"cpu PC {device.flash_origin:#x}"] if device.core in _RISCV else []),
            "start",
            "",
        ]
    )


def _peripherals(device: DeviceProfile) -> str:
    emulator = device.emulator
    kind = emulator["uart_type"]
    if kind not in _UARTS:
        raise UsageError(
            f"{device.source or device.name}: Renode's UART {kind!r} has no port here",
            hint=f"known: {', '.join(sorted(_UARTS))}",
        )
    at = emulator["uart"]
    where = f"<{at}, +0x100>" if kind == "stm32" else at
    settings = {
        "nrf52840": "    easyDMA: false\n",
        "stm32f7": f"    frequency: {device.clock_hz}\n",
    }.get(kind, "")
    text = f"uart: {_UARTS[kind]} @ sysbus {where}\n{settings}"
    if kind == "nrf52840":
        text += (
            "\nclock: Miscellaneous.NRF_CLOCK @ sysbus 0x40000000\n    -> nvic@0\n"
            "\ntimer0: Timers.NRF52840_Timer @ sysbus 0x40008000\n    numberOfEvents: 4\n"
            "\nnvmc: Memory.MappedMemory @ sysbus 0x4001E000\n    size: 0x1000\n"
        )
    elif kind.startswith("stm32"):
        text += (
            "\ntimer2: Timers.STM32_Timer @ sysbus 0x40000000\n"
            f"    frequency: {device.clock_hz}\n    initialLimit: 0xFFFFFFFF\n"
        )
    elif kind == "sifive":
        text += (
            "\nsysbus:\n    init:\n"
            '        Tag <0x10008004 4> "PRCI_HFXOSCCFG" 0xFFFFFFFF\n'
            '        Tag <0x10008008 4> "PRCI_PLLCFG" 0xFFFFFFFF\n'
            '        Tag <0x10012038 8> "GPIO_IOF" 0x0\n'
        )
    return text


def _pages(size: int) -> int:
    """Renode maps whole pages: the board's size, rounded up to 4 KiB."""
    return -(-size // 0x1000) * 0x1000


class RenodeRunner:
    """Runs builds on boards of the platform "renode": implements `tinydeploy.ports.Runner`."""

    def __init__(self, *, meter: Meter | None = None) -> None:
        self._meter = meter

    def run(
        self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Measurement]:
        """See `tinydeploy.ports.Runner`. Raises ToolMissingError without Renode."""
        with _talk(build, device) as session:
            return measure(session, build, device, inputs, meter=self._meter)

    def profile(self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]) -> Profile:
        """Raises UsageError: Renode neither counts nor has a clock of its own."""
        raise UsageError(
            f"{device.name}: Renode does not count by layer", hint="profile on a board of QEMU's"
        )

    def identify(self, build: Build, device: DeviceProfile) -> Identity:
        """Start `build`, ask the firmware who it is, stop."""
        with _talk(build, device) as session:
            return session.require(build)


@contextmanager
def _talk(build: Build, device: DeviceProfile) -> Iterator[Session]:
    renode = shutil.which("renode")
    if renode is None:
        raise ToolMissingError("renode is not on PATH", hint=INSTALL)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        port = _free_port()
        description, resc = Path(scratch, "board.repl"), Path(scratch, "board.resc")
        description.write_text(platform_description(device))
        elf = shutil.copyfile(build.elf, Path(scratch, "firmware.elf"))
        resc.write_text(script(device, elf, description, port))
        said = Path(scratch, "said.txt")
        with open(said, "wb") as log:
            process = subprocess.Popen(
                [renode, "--disable-xwt", "--plain", "--port", "-1", str(resc)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            link = _connected(process, port, said)
            try:
                yield Session(link, infer_timeout_s=infer_timeout_s(device))
            finally:
                link.close()
        finally:
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _connected(process: subprocess.Popen[bytes], port: int, said: Path) -> Link:
    """The line, once Renode has opened it. Raises DeviceError with its words if it ends before."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            return open_link(f"socket://127.0.0.1:{port}", timeout_s=POLL_S)
        except LinkError:
            ended = process.poll() is not None
            if ended or time.monotonic() > deadline:
                words = said.read_text(errors="replace").strip()[-2000:]
                raise DeviceError(
                    f"Renode opened no serial line: {words}", hint="is it version 1.15 or later?"
                ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
