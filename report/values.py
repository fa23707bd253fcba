"""What a report is made of: plain values, put together by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tinydeploy.types import Constraints, Selection


@dataclass(frozen=True)
class Board:
    """A board and what was chosen for it.

    `flash_bytes` and `ram_bytes` are None for a board that is not known here any more. `evidence`
    says in words what the samples tell about the chosen variant's loss, "" where nothing limits it.
    """

    name: str
    description: str
    core: str
    selection: Selection
    constraints: Constraints = field(default_factory=Constraints)
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    evidence: str = ""


@dataclass(frozen=True)
class LayerRow:
    """One layer; `cost` is in the unit of its `Anatomy`, None where it was not profiled."""

    index: int
    op: str
    output: str
    macs: int
    weight_bytes: int
    activation_bytes: int
    cost: float | None = None


@dataclass(frozen=True)
class Anatomy:
    """A chosen variant on the inside, as it is on one board.

    `plan` is the picture of the arena over time as SVG, "" where there is none. `unit` and `origin`
    are those of the layers' costs. `note` says what is missing and why.
    """

    variant: str
    board: str
    layers: tuple[LayerRow, ...] = ()
    unit: str = ""
    origin: str = ""
    plan: str = ""
    note: str = ""


@dataclass(frozen=True)
class Lineage:
    """Where a chosen variant comes from: what (hash, tool, data) -> which."""

    variant: str
    version: str
    facts: Mapping[str, str]


@dataclass(frozen=True)
class Report:
    """The whole page. `made` is the time in words, `tool` the program and its version."""

    name: str
    made: str
    tool: str
    boards: tuple[Board, ...]
    anatomies: tuple[Anatomy, ...] = ()
    lineage: tuple[Lineage, ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
