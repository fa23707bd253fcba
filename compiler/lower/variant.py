"""What describes a faster kernel; `specialise.py` has the table and the choice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.program import Call, Data


@dataclass(frozen=True)
class Candidate:
    """A call of a faster kernel, and about how many instructions it takes on an inference."""

    call: Call
    instructions: float

    @property
    def flash_bytes(self) -> int:
        """All constants of the call."""
        return sum(_data_bytes(v) for v in (self.call.params, *self.call.operands))


@dataclass(frozen=True)
class Variant:
    """A kernel that replaces calls of the `portable` one on targets that it `suits`.

    `make` returns None where the kernel's demands on the call's data are not met.
    """

    portable: str
    suits: Callable[[Target], bool]
    make: Callable[[Call], Candidate | None]


def _data_bytes(value: Any) -> int:
    if isinstance(value, Data):
        return int(value.array.nbytes)
    if isinstance(value, Mapping):
        return sum(_data_bytes(v) for v in value.values())
    return 0
