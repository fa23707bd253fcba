"""What a crash report means: the place in the source, and the cause in words.

The firmware sends registers (`firmware/PROTOCOL.md`, ``!FAULT``). Names of functions come from the
build's ELF; source lines from the toolchain's `addr2line`, where it is there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.devices.elf import Elf
from tinydeploy.errors import FirmwareFaultError

TIMEOUT_S = 20.0

# Armv7-M Architecture Reference Manual, B3.2.15; bit 20 is Armv8-M's.
CFSR_BITS = {
    0: ("IACCVIOL", "instruction fetch where the MPU forbids it"),
    1: ("DACCVIOL", "access to memory that the MPU forbids"),
    3: ("MUNSTKERR", "MPU fault on return from an exception"),
    4: ("MSTKERR", "MPU fault on entry to an exception: the stack is full"),
    5: ("MLSPERR", "MPU fault while FPU state was saved"),
    8: ("IBUSERR", "instruction fetch from where no memory is"),
    9: ("PRECISERR", "access to an address where nothing is"),
    10: ("IMPRECISERR", "a write to where nothing is, some instructions ago"),
    11: ("UNSTKERR", "bus fault on return from an exception"),
    12: ("STKERR", "bus fault on entry to an exception: the stack is full"),
    13: ("LSPERR", "bus fault while FPU state was saved"),
    16: ("UNDEFINSTR", "an instruction that this core does not have"),
    17: ("INVSTATE", "a jump to an address without the Thumb bit"),
    18: ("INVPC", "a damaged return address of an exception"),
    19: ("NOCP", "the FPU is used and is off or absent"),
    20: ("STKOF", "the stack is full"),
    24: ("UNALIGNED", "an unaligned access"),
    25: ("DIVBYZERO", "a division by zero"),
}
# The RISC-V Instruction Set Manual, volume II, table "Machine cause register values".
MCAUSES = {
    0: "jump to a misaligned address",
    1: "instruction fetch from where no memory is",
    2: "an instruction that this core does not have",
    3: "breakpoint",
    4: "misaligned load",
    5: "load from an address where nothing is",
    6: "misaligned store",
    7: "store to an address where nothing is",
    11: "environment call",
}


@dataclass(frozen=True)
class Place:
    """Where an address lies; "" and None where that is unknown."""

    address: int
    function: str = ""
    file: str = ""
    line: int | None = None

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else ""
        words = (self.function, f"at {where}" if where else "", f"({self.address:#010x})")
        return " ".join(word for word in words if word)


def causes(registers: dict[str, int]) -> list[str]:
    """The cause in words, from `cfsr` (Cortex-M) or `mcause` (RISC-V); empty if unknown."""
    if "mcause" in registers:
        code = registers["mcause"]
        return [MCAUSES.get(code, f"mcause {code}")]
    cfsr = registers.get("cfsr", 0)
    return [f"{text} ({name})" for bit, (name, text) in CFSR_BITS.items() if cfsr >> bit & 1]


def place(address: int, elf: Elf, path: Path, toolchain_prefix: str) -> Place:
    """Function and source line of an address in the ELF file at `path`."""
    inside = (name for start, size, name in elf.functions() if start <= address < start + size)
    function = next(inside, "")
    if not function:
        return Place(address)
    file, line = _source(address, path, toolchain_prefix)
    return Place(address, function, file, line)


def explain(error: FirmwareFaultError, elf: Path, toolchain_prefix: str = "") -> FirmwareFaultError:
    """The same error with what its registers mean in the build at `elf`."""
    registers = error.registers
    parts = [error.message]
    code = Elf(elf)
    if "pc" in registers:
        pc = place(registers["pc"] & ~1, code, elf, toolchain_prefix)
        parts.append(f"in {pc}" if pc.function else f"outside of the program, at {pc}")
    if "lr" in registers:
        # It points behind the call; an odd value carries Thumb's bit.
        caller = place((registers["lr"] & ~1) - 2, code, elf, toolchain_prefix)
        if caller.function:
            parts.append(f"last call from {caller}")
    parts += causes(registers)
    return FirmwareFaultError(
        "; ".join(parts),
        hint="a stack that is too small looks like any of these: raise TD_STACK_BYTES in the "
        "board file's [defines]",
        registers=registers,
    )


def _source(address: int, path: Path, toolchain_prefix: str) -> tuple[str, int | None]:
    program = shutil.which(f"{toolchain_prefix}addr2line")
    if program is None:
        return "", None
    try:
        done = subprocess.run(
            [program, "-e", str(path), f"{address:#x}"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "", None
    match = re.match(r"(.+):([1-9][0-9]*)", done.stdout)
    return (Path(match[1]).name, int(match[2])) if match else ("", None)
