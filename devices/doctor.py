"""What has to be installed, from training to measuring: checked, nothing printed."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import re
import shutil
from dataclasses import dataclass

from tinydeploy.devices.toolchain import install_hint, version_line
from tinydeploy.errors import DeviceError

_PACKAGES = ("platformio", "scons", "pyserial")
# QEMU 9 dropped version 1 of the plugin API, which the instruction counter speaks.
_COUNTING_QEMU = range(4, 9)


@dataclass(frozen=True)
class Check:
    """One thing that is there or missing. `hint` says what to do, "" where all is well;
    an `optional` one is missed only by those who use it."""

    name: str
    ok: bool
    detail: str
    hint: str = ""
    optional: bool = False


def checks() -> list[Check]:
    """All checks, in the order in which a user would install things."""
    return [
        _program("gcc", "the host's compiler: native builds, the instruction counter"),
        _program("arm-none-eabi-gcc", "the compiler of Cortex-M boards"),
        _program("riscv64-unknown-elf-gcc", "the compiler of RISC-V boards"),
        _emulator("qemu-system-arm", "the emulator of Cortex-M boards"),
        _emulator("qemu-system-riscv32", "the emulator of RISC-V boards"),
        *(_package(name) for name in _PACKAGES),
        _optional("openocd", "uploads to boards with a debug probe"),
        _optional("dfu-util", "uploads to boards with a DFU boot loader"),
        _optional_package(
            "tensorflow-model-optimization", "the recipe int8-qat trains with it", "tinydeploy[qat]"
        ),
    ]


def _optional(name: str, purpose: str) -> Check:
    return dataclasses.replace(_program(name, purpose), optional=True)


def _program(name: str, purpose: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, f"not on PATH; {purpose}", install_hint(name))
    try:
        return Check(name, True, version_line(path))
    except DeviceError as e:
        return Check(name, False, e.message, e.hint)


def _emulator(name: str, purpose: str) -> Check:
    check = _program(name, purpose)
    version = re.search(r"version (\d+)\.", check.detail)
    if check.ok and version and int(version[1]) not in _COUNTING_QEMU:
        return Check(
            name,
            False,
            f"{check.detail}: too new or too old to count instructions",
            f"install QEMU {_COUNTING_QEMU.start} to {_COUNTING_QEMU.stop - 1}",
        )
    return check


def _optional_package(name: str, purpose: str, extra: str) -> Check:
    check = dataclasses.replace(_package(name), optional=True)
    if check.ok:
        return check
    return dataclasses.replace(
        check, detail=f"not installed; {purpose}", hint=f"pip install '{extra}'"
    )


def _package(name: str) -> Check:
    try:
        return Check(name, True, f"version {importlib.metadata.version(name)}")
    except importlib.metadata.PackageNotFoundError:
        return Check(name, False, "not installed in this Python", f"pip install {name}")
