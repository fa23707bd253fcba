"""The values of selection: limits, candidates, evidence, and the choice. Known from `types` too."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from tinydeploy.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

Origin = Literal["measured", "emulated", "estimated"]
Proof = Literal["sufficient", "insufficient evidence", "inferior"]


@dataclass(frozen=True)
class Constraints:
    """What a variant must satisfy on a board; None means no limit.

    `max_loss` is the allowed distance to the metric of the `reference`, which is the best candidate
    unless a variant is named. With a `confidence` (0.95) the loss must be shown to be below
    `max_loss` with that confidence; without, the observed loss decides. `board_flash_bytes` and
    `board_ram_bytes` come from the profile.
    """

    min_metric: float | None = None
    max_loss: float | None = None
    confidence: float | None = None
    reference: str | None = None
    max_flash_bytes: int | None = None
    max_ram_bytes: int | None = None
    max_instructions: int | None = None
    max_latency_us: float | None = None
    max_energy_uj: float | None = None
    board_flash_bytes: int | None = None
    board_ram_bytes: int | None = None

    def __post_init__(self) -> None:
        """Raises UsageError for a limit that is not a number: nothing would satisfy it."""
        for name, value in vars(self).items():
            if isinstance(value, float) and math.isnan(value):
                raise UsageError(f"{name} is not a number", hint="leave a limit out to have none")


@dataclass(frozen=True)
class Evidence:
    """What per-sample results say about the loss of a variant against a reference.

    `loss` is that of the metric, positive where the variant is worse; with `confidence` it is at
    most `upper`, and with as much at least `lower` (one-sided bounds both). `margin` is what is
    allowed. `lost` samples only the reference got right, `gained` only the variant, and `p_value`
    is McNemar's; None where the metric is not a share of samples. `needed` samples would decide,
    if losses went on as they were; None if decided, or if no number of them would.
    """

    reference: str
    samples: int
    loss: float
    lower: float
    upper: float
    confidence: float
    margin: float
    proof: Proof
    method: str
    lost: int | None = None
    gained: int | None = None
    p_value: float | None = None
    needed: int | None = None


@dataclass(frozen=True)
class Candidate:
    """One variant on one board, as selection sees it. `blocked` says why it could not be built."""

    name: str
    model_sha256: str
    metric: str
    value: float | None
    higher_is_better: bool = True
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: int | None = None
    latency_us: float | None = None
    energy_uj: float | None = None
    outputs_verified: bool | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
    blocked: str = ""
    version: str = ""
    run_id: str = ""


class CandidateTable(Sequence[Candidate]):
    """Candidates that are kept as columns: ten thousand are loaded as fast as ten.

    A `Candidate` is made when one is asked for. Columns are (N,) arrays in the order of the
    candidates, not a number standing for what is not known.
    """

    @abstractmethod
    def name(self, index: int) -> str:
        """The name of one candidate."""

    @abstractmethod
    def index_of(self, name: str) -> int:
        """The number of a candidate. Raises KeyError if none is called so."""

    @abstractmethod
    def metrics(self) -> list[tuple[str, bool]]:
        """The different metrics, each with whether higher is better."""

    @abstractmethod
    def values(self) -> np.ndarray:
        """The metric of each, (N,) float64."""

    @abstractmethod
    def figure(self, field: str, origins: Collection[Origin]) -> np.ndarray:
        """A figure of each, (N,) float64; not a number where its origin is not among these."""

    @abstractmethod
    def unusable(self) -> np.ndarray:
        """Which cannot be built for the board or compute something else there, (N,) bool."""

    @abstractmethod
    def least(self, indices: np.ndarray) -> int:
        """Of several the one with the least (sha256 of the model, name)."""

    def __eq__(self, other: object) -> bool:
        """Equal to any sequence of equal candidates."""
        if self is other:
            return True
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Selection:
    """The chosen candidate or None, the Pareto front, and a reason for each rejected one.

    `reasons` maps each candidate's name that was not chosen to plain words; `evidence` those names
    whose loss was tested. `sufficient` are the names of those that satisfy every constraint. Of
    many candidates `nearest` are the names of the first in the order of preference: those that
    tables show and whose reasons are registered; empty if they are few, and all are.
    """

    board: str
    objective: str
    chosen: Candidate | None
    candidates: Sequence[Candidate]
    pareto: tuple[str, ...]
    reasons: Mapping[str, str]
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    sufficient: Sequence[str] = ()
    nearest: tuple[str, ...] = ()

    @property
    def shown(self) -> Sequence[Candidate]:
        """All candidates, or of many the nearest, as tables show them."""
        if not self.nearest:
            return self.candidates
        wanted = set(self.nearest)
        if isinstance(self.candidates, CandidateTable):
            return [self.candidates[self.candidates.index_of(name)] for name in self.nearest]
        found = {c.name: c for c in self.candidates if c.name in wanted}
        return [found[name] for name in self.nearest]
