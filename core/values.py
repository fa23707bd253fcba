"""Frozen values as plain JSON values, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

T = TypeVar("T")

_SCALARS: Mapping[Any, tuple[type, ...]] = {
    str: (str,), bool: (bool,), int: (int,), float: (int, float),
}  # fmt: skip


def to_json(value: Any) -> Any:
    """Plain JSON values of a frozen value: dataclasses become objects, paths strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [to_json(v) for v in value]
    if isinstance(value, set | frozenset):
        return sorted(to_json(v) for v in value)
    if isinstance(value, Path):
        return str(value)
    return value


def from_json(cls: type[T], data: Mapping[str, Any]) -> T:
    """The frozen value of class `cls` that `to_json` wrote, be it by a stranger.

    Raises KeyError for unknown keys, TypeError or ValueError for values of another type.
    """
    hints = typing.get_type_hints(cls)
    unknown = set(data) - set(hints)
    if unknown:
        raise KeyError(f"{cls.__name__} has no field {', '.join(sorted(unknown))}")
    return cls(**{k: _revive(hints[k], v) for k, v in data.items()})


def _revive(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _revive(next(a for a in typing.get_args(hint) if a is not type(None)), value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value)
    if origin is Mapping:
        each = typing.get_args(hint)[1]
        return {k: _revive(each, v) for k, v in value.items()}
    if origin is Sequence:
        return tuple(_revive(typing.get_args(hint)[0], v) for v in value)
    if hint is Path:
        return Path(value)
    if origin is tuple:
        args = typing.get_args(hint)
        each = args[:1] * len(value) if len(args) == 2 and args[1] is Ellipsis else args
        return tuple(_revive(a, v) for a, v in zip(each, value, strict=True))
    if origin is Literal:
        if value not in (known := typing.get_args(hint)):
            raise ValueError(f"{value!r} is none of {', '.join(map(repr, known))}")
        return value
    wanted = _SCALARS.get(hint)
    if wanted and (not isinstance(value, wanted) or isinstance(value, bool) != (hint is bool)):
        raise TypeError(f"{value!r} is no {hint.__name__}")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} is too large")
    return value
