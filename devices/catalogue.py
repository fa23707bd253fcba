"""The boards: one TOML file each, and the checks that a file passes before anything uses it.

A board's name is its file's name. The shipped boards lie in `devices/profiles/`; further folders
add to them or take the place of those with the same name.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from tinydeploy.errors import UsageError
from tinydeploy.types import DeviceProfile

SHIPPED = Path(__file__).parent / "profiles"

_NAME = re.compile(r"[\w-]+", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_WHOLE_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_SECONDS = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6})?")
_REQUIRED = ("description", "core", "platform", "clock_hz", "flash_bytes", "ram_bytes")
# The name is the file's, and the file knows where it lies.
_FIELDS = {f.name for f in dataclasses.fields(DeviceProfile)} - {"name", "source"}
_NEEDED_BY_PLATFORM = {"native": ("port",), "qemu": ("port", "toolchain_prefix", "arch_flags")}
_NEEDED_BY_QEMU = ("system", "machine")
# Keys of the table [emulator] by platform.
_EMULATOR_KEYS = {
    "qemu": {"system", "machine", "args", "cycles", "infer_timeout_s"},
    "native": {"latency_us", "energy_nj", "fault", "damage_in", "damage_out", "infer_timeout_s"},
}
_WHOLE_NUMBERS = ("TD_LINE_BYTES", "TD_WINDOW", "TD_STACK_BYTES")
_ADDRESSES = 1 << 32


def load_all(folders: Iterable[Path] = ()) -> dict[str, DeviceProfile]:
    """All boards by name, sorted; later folders win. Raises UsageError for a wrong file."""
    found: dict[str, DeviceProfile] = {}
    for folder in (SHIPPED, *folders):
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder", hint="name a folder that holds one TOML file a board"
            )
        for path in sorted(folder.glob("*.toml")):
            found[path.stem] = load(path)
    return dict(sorted(found.items()))


def find(name: str, folders: Iterable[Path] = ()) -> DeviceProfile:
    """The board `name`. Raises UsageError, with the nearest names, if there is none."""
    folders = tuple(folders)
    for folder in (*reversed(folders), SHIPPED):
        if _NAME.fullmatch(name) and (folder / f"{name}.toml").is_file():
            return load(folder / f"{name}.toml")
    known = load_all(folders)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no board is called {name!r}", hint=f"{hint}known: {', '.join(known)}")


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
        try:
            self.data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as e:
            raise UsageError(f"{path}: {e}", hint="see https://toml.io for the syntax") from e

    def profile(self) -> DeviceProfile:
        name = self.path.stem
        if not _NAME.fullmatch(name):
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
                raise UsageError(f"{self.path}: {key} is missing", hint="every board has it")
        profile = DeviceProfile(name=name, source=str(self.path), **values)
        self.check_platform(profile)
        self.check_tables(profile)
        self.check_memory(profile)
        return profile

    def convert(self, key: str, value: Any, hint: Any) -> Any:
        """`value` as the field's type, or an error."""
        if hint is int:
            if type(value) is not int or not 0 <= value < _ADDRESSES:
                self.fail(key, f"is {value!r}, not a whole number from 0 to 2^32 - 1")
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
        for key in _NEEDED_BY_PLATFORM.get(profile.platform, ()):
            if not getattr(profile, key):
                self.fail("platform", f"is {profile.platform!r}, which needs the field {key}")
        if profile.port and not _NAME.fullmatch(profile.port):
            self.fail("port", f"is {profile.port!r}, not the name of a C file without .c")
        if profile.platform == "qemu":
            for key in _NEEDED_BY_QEMU:
                if not profile.emulator.get(key):
                    self.fail("platform", f'is "qemu", which needs {key} in the table [emulator]')

    def check_tables(self, profile: DeviceProfile) -> None:
        for key, value in profile.defines.items():
            if not _IDENTIFIER.fullmatch(key):
                self.fail(key, "is no name of a C macro", table="defines")
            if key in _WHOLE_NUMBERS and not _WHOLE_NUMBER.fullmatch(value):
                self.fail(key, f"is {value!r}, not a whole number in quotes", table="defines")
        known = _EMULATOR_KEYS.get(profile.platform, set())
        for key, value in profile.emulator.items():
            if key not in known:
                hint = f"known: {', '.join(sorted(known))}" if known else "it has no emulator"
                self.fail(key, "is no setting of this platform", hint, table="emulator")
            if key == "infer_timeout_s" and not _SECONDS.fullmatch(value):
                self.fail(key, f"is {value!r}, not a number of seconds in quotes", table="emulator")

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

    def fail(self, key: str, problem: str, hint: str = "", table: str = "") -> NoReturn:
        line = self.line_of(key, table)
        place = f"{self.path}, line {line}" if line else str(self.path)
        shown = f"{table}.{key}" if table else key
        raise UsageError(
            f"{place}: {shown} {problem}",
            hint=hint or "`tinydeploy devices show qemu-cortex-m4` shows a right one",
        )

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
