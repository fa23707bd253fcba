"""What describes a faster kernel; `specialise.py` has the table and the choice."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.program import Call, Data


class Cost(NamedTuple):
    """Instructions, and cycles by the published timings of a Cortex-M4 (Arm DDI 0439D).

    As in `cycles_model`: 1 for arithmetic and a store, 1 + N for a load of N words (a single load
    behind another one 1), 3 for a jump that is taken.
    """

    instructions: float
    cycles: float

    def plus(self, other: Cost) -> Cost:
        """Both, one after the other."""
        return Cost(self.instructions + other.instructions, self.cycles + other.cycles)

    def times(self, count: float) -> Cost:
        """The same so often."""
        return Cost(self.instructions * count, self.cycles * count)


@dataclass(frozen=True)
class Candidate:
    """A call of a faster kernel, about how many instructions it takes on an inference, and cycles.

    Cycles are None where the core has no published timings or nothing was counted. `form` tells
    candidates of one kernel apart.
    """

    call: Call
    instructions: float
    cycles: float | None = None
    form: str = ""

    @property
    def name(self) -> str:
        """The kernel, and its form."""
        return f"{self.call.kernel} ({self.form})" if self.form else self.call.kernel

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


def by_kernel(
    call: Call,
    kernel: str,
    params: Mapping[str, Any],
    scratch_bytes: int,
    *,
    struct: str = "",
    in_place: tuple[int, ...] | None = None,
) -> Call:
    """The call done by another kernel, which takes scratch memory.

    `struct` is the type of `params`, the kernel's own if it is not given. Without `in_place` the
    output may take what it may in `call`.
    """
    return dataclasses.replace(
        call,
        kernel=kernel,
        struct=struct or kernel,
        params=params,
        takes_scratch=True,
        scratch_bytes=scratch_bytes,
        in_place=call.in_place if in_place is None else in_place,
    )


def _data_bytes(value: Any) -> int:
    if isinstance(value, Data):
        return int(value.array.nbytes)
    if isinstance(value, Mapping):
        return sum(_data_bytes(v) for v in value.values())
    return 0
