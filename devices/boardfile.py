"""One board file: what stands in it, and the checks that it passes before anything uses it."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tinydeploy.errors import UsageError
from tinydeploy.types import DeviceProfile

NAME = re.compile(r"[\w-]+", re.ASCII)

FIELDS = {
    "description": "what the board is, in words",
    "core": "processor core that the kernels are chosen for",
    "platform": "PlatformIO's, or bare, qemu, renode, native, host, none: see docs/boards.md",
    "mcu": "the chip",
    "clock_hz": "clock of the core in the firmware",
    "flash_bytes": "flash that firmware and model may fill, without the boot loader",
    "ram_bytes": "RAM that the model may fill, without what the framework and its stack take",
    "flash_origin": "address of the firmware's first byte",
    "ram_origin": "address of the first byte of RAM",
    "fpu": "single-precision floating point in hardware",
    "dsp": "16-bit SIMD (the DSP extension of Armv7E-M and Armv8-M)",
    "helium": "vector extension of Armv8.1-M",
    "toolchain_prefix": "the system's compiler for this core",
    "arch_flags": "its flags for this core",
    "port": "file of firmware/ports that drives UART and clock",
    "defines": "macros for the port",
    "emulator": "how it is emulated",
    "counts_instructions": "instructions are counted exactly",
    "measures_time": "its clock is real: latency can be measured",
    "measures_energy": "it has a meter of its own",
    "usb": "vid:pid that its serial port shows",
    "baud": "speed of its serial port",
    "supply_v": "supply of the chip, in volts",
    "active_mw": "published power of the running chip in milliwatts; sources.power says how",
    "platformio": "version of the platform, board and framework there",
    "upload": "how firmware gets on it",
    "sources": "where these facts are from",
    "tested_on_hardware": "somebody ran tinydeploy on this board",
}
"""What each field means, in the order in which people read them."""

_REQUIRED = ("description", "core", "platform", "clock_hz", "flash_bytes", "ram_bytes")
# The name is the file's, and the file knows where it lies.
_FIELDS = {f.name for f in dataclasses.fields(DeviceProfile)} - {"name", "source"}
_BARE_METAL = ("port", "toolchain_prefix", "arch_flags")
_NEEDED_BY_PLATFORM = {
    "native": ("port",),
    "qemu": _BARE_METAL,
    "renode": _BARE_METAL,
    "bare": (*_BARE_METAL, "mcu", "upload", "sources"),
    "none": ("mcu", "sources"),
}
_NEEDED_BY_REAL = ("mcu", "port", "platformio", "upload", "sources")
_UPLOAD = (
    "address",
    "dfu_alt",
    "dfu_id",
    "esptool_chip",
    "esptool_baud",
    "openocd_config",
    "pyocd_target",
    "touch_1200bps",
    "uf2_family",
    "uf2_label",
)
# Tables of texts: which keys a table must have and may have, by platform; "" is any real board.
_TABLES: Mapping[str, Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "emulator": {
        "qemu": (("system", "machine"), ("args", "cycles", "infer_timeout_s")),
        "renode": (("uart", "uart_type"), ("systick_hz", "infer_timeout_s")),
        "native": (
            (),
            (
                "latency_us",
                "energy_nj",
                "pin",
                "fault",
                "damage_in",
                "damage_out",
                "infer_timeout_s",
            ),
        ),
    },
    "platformio": {
        "": (("version", "board", "framework"), ("options",)),
        "none": ((), ()),
        "bare": ((), ()),
    },
    "upload": {"": (("protocol",), _UPLOAD), "none": ((), ("protocol", *_UPLOAD))},
    "sources": {"": (("board", "memory"), ("power", "upload", "usb"))},
}
PROTOCOLS = ("dfu-util", "esptool", "openocd", "platformio", "pyocd", "uf2")
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_FORMS = {
    "defines": dict.fromkeys(
        ("TD_LINE_BYTES", "TD_WINDOW", "TD_STACK_BYTES"),
        (_WHOLE_NUMBER, "a whole number in quotes"),
    ),
    "emulator": {
        "infer_timeout_s": (
            re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?"),
            "a number of seconds in quotes",
        )
    },
    "upload": {
        "protocol": (re.compile("|".join(PROTOCOLS)), f"one of {', '.join(PROTOCOLS)}"),
        "address": (re.compile(r"0x[0-9a-fA-F]{1,8}"), 'an address such as "0x08000000"'),
        "uf2_family": (re.compile(r"0x[0-9a-fA-F]{8}"), "8 hex digits behind 0x"),
        "dfu_id": (re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}"), "vid:pid in lower-case hex digits"),
        "dfu_alt": (re.compile(r"[0-9]"), "a digit"),
        "esptool_baud": (_WHOLE_NUMBER, "a whole number in quotes"),
        "touch_1200bps": (re.compile("yes|no"), "yes or no"),
    },
}
_USB = re.compile(r"[0-9a-f]{4}:[0-9a-f]{4}")
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ADDRESSES = 1 << 32
_GREATEST_SUPPLY_V = 5.5
_EXAMPLES = {True: "nucleo-l4r5zi", False: "qemu-cortex-m4"}


def load(path: Path) -> DeviceProfile:
    """The profile in one file. Raises UsageError that names file, line and field."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(
            f"cannot read the board file {path}: {e}", hint="one TOML file a board"
        ) from e
    return _File(path, text).profile()


class _File:
    """One board file, while it is checked."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()
        self.real = False
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise UsageError(f"{path}: {e}", hint="see https://toml.io for the syntax") from e

    def profile(self) -> DeviceProfile:
        name = self.path.stem
        if not NAME.fullmatch(name):
            raise UsageError(
                f"{self.path}: a board's name has letters, digits, - and _ only",
                hint="rename the file: its name is the board's",
            )
        values: dict[str, Any] = {}
        hints = typing.get_type_hints(DeviceProfile)
        for key, value in self.data.items():
            if key not in _FIELDS:
                near = difflib.get_close_matches(key, _FIELDS, n=1)
                self.fail(key, "is no field of a board", f"did you mean {near[0]}?" if near else "")
            values[key] = self.convert(key, value, hints[key])
        for key in _REQUIRED:
            if key not in values:
                self.missing(key, "every board has it")
        profile = DeviceProfile(name=name, source=str(self.path), **values)
        self.real = profile.real
        self.check_platform(profile)
        self.check_tables(profile)
        self.check_memory(profile)
        self.check_figures(profile)
        return profile

    def convert(self, key: str, value: Any, hint: Any) -> Any:
        """`value` as the field's type, or an error."""
        if hint is int:
            if type(value) is not int or not 0 <= value < _ADDRESSES:
                self.fail(key, f"is {value!r}, not a whole number from 0 to 2^32 - 1")
        elif hint == float | None:
            if type(value) not in (int, float) or not 0 < value < _ADDRESSES:
                self.fail(key, f"is {value!r}, not a number above 0")
            return float(value)
        elif hint is bool:
            if type(value) is not bool:
                self.fail(key, f"is {value!r}, neither true nor false")
        elif hint is str:
            if type(value) is not str:
                self.fail(key, f"is {value!r}, not a text in quotes")
        elif typing.get_origin(hint) is tuple:
            if type(value) is not list or not all(type(v) is str for v in value):
                self.fail(key, f"is {value!r}, not a list of texts")
            return tuple(value)
        elif not isinstance(value, Mapping):
            self.fail(key, f"is {value!r}, not a table")
        else:
            for inner, item in value.items():
                if type(item) is not str:
                    self.fail(inner, f"is {item!r}, not a text in quotes", table=key)
        return value

    def check_platform(self, profile: DeviceProfile) -> None:
        by_default = _NEEDED_BY_REAL if profile.real else ()
        needed = _NEEDED_BY_PLATFORM.get(profile.platform, by_default)
        for key in needed:
            if not getattr(profile, key):
                self.fail("platform", f"is {profile.platform!r}, which needs the field {key}")
        if profile.port and not NAME.fullmatch(profile.port):
            self.fail("port", f"is {profile.port!r}, not the name of a C file without .c")

    def check_tables(self, profile: DeviceProfile) -> None:
        for key in profile.defines:
            if not _IDENTIFIER.fullmatch(key):
                self.fail(key, "is no name of a C macro", table="defines")
        for table, by_platform in _TABLES.items():
            values: Mapping[str, str] = getattr(profile, table)
            kind = profile.platform
            if kind not in by_platform and profile.real:
                kind = ""
            needed, optional = by_platform.get(kind, ((), ()))
            for key in needed:
                if not values.get(key):
                    self.missing(key, f"the platform {profile.platform!r} needs it", table)
            known = sorted({*needed, *optional})
            for key in values:
                if key not in known:
                    hint = f"known: {', '.join(known)}" if known else f"it has no {table}"
                    self.fail(key, "is no setting of this platform", hint, table=table)
        for table, forms in _FORMS.items():
            for key, value in getattr(profile, table).items():
                form, words = forms.get(key, (None, ""))
                if form and not form.fullmatch(value):
                    self.fail(key, f"is {value!r}, not {words}", table=table)

    def check_memory(self, profile: DeviceProfile) -> None:
        if profile.platform in ("host", "native"):
            return
        for memory in ("flash", "ram"):
            size, origin = getattr(profile, f"{memory}_bytes"), getattr(profile, f"{memory}_origin")
            if size == 0:
                self.fail(f"{memory}_bytes", "is 0")
            if origin + size > _ADDRESSES:
                self.fail(f"{memory}_origin", f"and {memory}_bytes pass the end of the addresses")
        first, second = sorted(
            [
                (profile.flash_origin, profile.flash_bytes),
                (profile.ram_origin, profile.ram_bytes),
            ]
        )
        if first[0] + first[1] > second[0]:
            self.fail("ram_origin", "makes flash and RAM overlap")

    def check_figures(self, profile: DeviceProfile) -> None:
        if profile.real and profile.clock_hz == 0:
            self.fail("clock_hz", "is 0")
        if profile.baud == 0:
            self.fail("baud", "is 0")
        for item in profile.usb:
            if not _USB.fullmatch(item):
                self.fail("usb", f"holds {item!r}, not vid:pid in lower-case hex digits")
        if profile.supply_v is not None and profile.supply_v > _GREATEST_SUPPLY_V:
            self.fail(
                "supply_v", f"is {profile.supply_v:g}, no microcontroller takes so many volts"
            )
        if profile.active_mw is not None:
            if profile.supply_v is None:
                self.missing("supply_v", "active_mw is the power at this supply")
            if "power" not in profile.sources:
                self.missing("power", "a power without a source is worth nothing", "sources")
        elif "power" in profile.sources:
            self.missing("active_mw", "there is a source for it")

    def missing(self, key: str, why: str, table: str = "") -> NoReturn:
        """The error for a key that is not there; its line is that of its table, or the last one."""
        line = (self.line_of(table, "") if table else None) or self.end_of_top()
        shown = f"{table}.{key}" if table else key
        raise UsageError(
            f"{self.path}, line {line}: {shown} is missing", hint=f"{why}; {self.example()}"
        )

    def end_of_top(self) -> int:
        """The last line before the first table: where a missing key would stand."""
        for number, line in enumerate(self.lines, 1):
            if re.match(r"\s*\[+[^\[\],]+\]+\s*(#|$)", line):
                return max(1, number - 1)
        return max(1, len(self.lines))

    def fail(self, key: str, problem: str, hint: str = "", table: str = "") -> NoReturn:
        line = self.line_of(key, table)
        place = f"{self.path}, line {line}" if line else str(self.path)
        shown = f"{table}.{key}" if table else key
        raise UsageError(f"{place}: {shown} {problem}", hint=hint or self.example())

    def example(self) -> str:
        return f"`tinydeploy devices show {_EXAMPLES[self.real]}` shows a right one"

    def line_of(self, key: str, table: str) -> int | None:
        """The line that sets `key`: tomllib keeps no positions."""
        here = ""
        quoted = re.escape(key)
        for number, line in enumerate(self.lines, 1):
            if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
                here = header[1].strip("\"'")
                if here == key and not table:
                    return number
            elif here == table and re.match(rf"""\s*["']?{quoted}["']?\s*[=.]""", line):
                return number
        return None
