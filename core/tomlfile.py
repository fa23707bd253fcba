"""Strict TOML: a table is a frozen dataclass; a wrong or unknown key names file and line."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from tinydeploy.errors import UsageError

T = TypeVar("T")


def read_toml(path: Path) -> dict[str, Any]:
    """The file's content. Raises UsageError with the place of a syntax error."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} cannot be read: {e}") from e
    except tomllib.TOMLDecodeError as e:
        raise UsageError(f"{path} is not valid TOML: {e}") from e


def parse(cls: type[T], data: Mapping[str, Any], path: Path, table: str = "") -> T:
    """A frozen value of dataclass `cls` from one TOML table.

    Raises UsageError with file, line and field for an unknown key, a missing one or a wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(fields)}"
            raise UsageError(f"{_place(path, table, key)}: unknown key", hint=hint)
    for name, f in fields.items():
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and name not in data:
            where = f"{path}: [{table}]" if table else str(path)
            raise UsageError(f"{where}: the key {name!r} is missing")
    values = {k: _value(hints[k], v, path, table, k) for k, v in data.items()}
    return cls(**values)


def _value(hint: Any, value: Any, path: Path, table: str, key: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _value(next(a for a in args if a is not type(None)), value, path, table, key)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return parse(hint, value, path, f"{table}.{key}" if table else key)
    if origin is tuple and isinstance(value, list):
        each = args[:1] * len(value) if args[-1] is Ellipsis else args
        if len(each) == len(value):
            return tuple(_value(a, v, path, table, key) for a, v in zip(each, value, strict=True))
    if hint is Path and isinstance(value, str):
        return (path.parent / value).resolve()
    if origin is Literal and value in args:
        return value
    if origin is not None and _is_subclass(origin, Mapping) and isinstance(value, dict):
        return {k: _value(args[1], v, path, table, f"{key}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    raise UsageError(f"{_place(path, table, key)}: expected {_say(hint)}, found {value!r}")


def _is_subclass(candidate: Any, base: type) -> bool:
    return isinstance(candidate, type) and issubclass(candidate, base)


def _say(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(a) for a in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"a list of {_say(typing.get_args(hint)[0])}"
    return {str: "text", int: "an integer", float: "a number", bool: "true or false"}.get(
        hint, getattr(hint, "__name__", str(hint))
    )


def _place(path: Path, table: str, key: str) -> str:
    """`file:line: [table] key`; the line is found by reading the text again."""
    current = ""
    last = key.rsplit(".", 1)[-1]
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    inside = f"{table}.{key}".strip(".").rsplit(".", 1)[0] if "." in key else table
    for number, line in enumerate(lines, 1):
        if m := re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line):
            current = m[1].replace('"', "")
            if current == f"{table}.{key}".strip("."):
                return f"{path}:{number}: [{current}]"
        elif re.match(rf'\s*"?{re.escape(last)}"?\s*=', line) and current == inside:
            return f"{path}:{number}: {key}" if not table else f"{path}:{number}: [{table}] {key}"
    return f"{path}: [{table}] {key}" if table else f"{path}: {key}"
