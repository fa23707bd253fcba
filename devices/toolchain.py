"""Compilers and emulators: where they are, which version, how to get them."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess

from tinydeploy.errors import DeviceError, ToolMissingError

# Debian's package of each program; other systems name theirs alike.
PACKAGES = {
    "gcc": "gcc libc6-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "dfu-util": "dfu-util",
    "openocd": "openocd",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
}
TIMEOUT_S = 30.0


def install_hint(program: str) -> str:
    """How to get a program that is missing."""
    if package := PACKAGES.get(program):
        return f"install it: sudo apt-get install {package}"
    return f"install {program}, or put its folder on PATH"


def require(program: str) -> str:
    """The path of a program on PATH. Raises ToolMissingError, with the package to install."""
    if path := shutil.which(program):
        return path
    raise ToolMissingError(f"{program} is not on PATH", hint=install_hint(program))


def compiler_version(prefix: str) -> str:
    """Name and version of the compiler `prefix`gcc, as in "arm-none-eabi-gcc 12.2.1 20221205".

    Raises ToolMissingError.
    """
    return _compiler_version(require(f"{prefix}gcc"), f"{prefix}gcc")


@functools.cache
def _compiler_version(path: str, name: str) -> str:
    first_line = version_line(path)
    match = re.search(r"\) (\d+\.\d+.*)$", first_line)
    return f"{name} {match[1] if match else first_line}"


def version_line(path: str) -> str:
    """The first line of `path --version`. Raises DeviceError if the program does not run."""
    try:
        result = subprocess.run(
            [path, "--version"],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as e:
        raise DeviceError(f"{path} does not run: {e}", hint="install it again") from e
    return (result.stdout or result.stderr).partition("\n")[0].strip()  # OpenOCD: the latter
