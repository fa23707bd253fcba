"""The candidates of a board as they are registered, straight from the arrays of a digest."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from functools import cached_property
from typing import Any

import numpy as np

from tinydeploy.registry.digest import FIGURES, RUN, VERSION, Digest
from tinydeploy.types import HIGHER_IS_BETTER, Candidate, CandidateTable, Origin

_VERSION, _RUN = VERSION.names or (), RUN.names or ()
_WHOLE = ("flash_bytes", "ram_bytes", "instructions")

UNBUILT = "not built for this board"
"""Why a version without a run on a board cannot be chosen there."""


class RegisteredCandidates(CandidateTable):
    """The same as `View.candidates`: a candidate a run, or a blocked one without a run."""

    def __init__(
        self, digest: Digest, board: str, engine: str | None = None, optimize: str | None = None
    ) -> None:
        """`engine` and `optimize` leave out the runs of others."""
        self.digest, self.board = digest, board
        runs = digest.on(board)
        for field, word in (("engine", engine), ("optimize", optimize)):
            if word is not None:
                runs = runs[digest.runs[field][runs] == digest.code(word)]
        owner = np.searchsorted(digest.versions["version"], digest.runs["version"][runs])
        unbuilt = np.ones(len(digest.versions), bool)
        unbuilt[owner] = False
        lacking = np.flatnonzero(unbuilt)
        both = np.concatenate([owner, lacking])
        order = np.argsort(both, kind="stable")
        self.owner = both[order]
        """For each candidate the number of its version in the digest, (N,)."""
        self.run = np.concatenate([runs, np.full(len(lacking), -1)])[order]
        """For each candidate the number of its run in the digest, (N,); -1 if it has none."""
        self.built = self.run >= 0
        same = self.owner[1:] == self.owner[:-1]
        self._several = np.zeros(len(self.owner), bool)
        self._several[1:] |= same
        self._several[:-1] |= same

    def __len__(self) -> int:
        return len(self.owner)

    def __getitem__(self, index: Any) -> Any:
        """A candidate, or a list of them for a slice."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        words = self.digest.words
        # Whole rows at once: asking numpy for each field takes ten times as long.
        version = dict(zip(_VERSION, self.digest.versions[self.owner[index]].tolist(), strict=True))
        metric = words[version["metric"]]
        bare: dict[str, Any] = {
            "name": self.name(index),
            "model_sha256": version["sha256"].decode(),
            "metric": metric,
            "value": version["value"],
            "higher_is_better": HIGHER_IS_BETTER.get(metric, True),
            "version": str(version["version"]),
        }
        if self.run[index] < 0:
            return Candidate(**bare, blocked=UNBUILT)
        run = dict(zip(_RUN, self.digest.runs[self.run[index]].tolist(), strict=True))
        figures: dict[str, Any] = {
            f: None if math.isnan(run[f]) else int(run[f]) if f in _WHOLE else run[f]
            for f in FIGURES
        }
        return Candidate(
            **bare,
            **figures,
            outputs_verified={-1: None, 0: False, 1: True}[run["verified"]],
            origin=json.loads(words[run["origin"]]),
            run_id=run["run_id"].decode(),
        )

    def name(self, index: int) -> str:
        """The variant; if it ran with several engines or levels, with these behind."""
        variant = self.digest.variants[self.owner[index]]
        if not self._several[index]:
            return variant
        run, words = self.digest.runs[self.run[index]], self.digest.words
        return f"{variant} ({words[run['engine']]}, {words[run['optimize']]})"

    def index_of(self, name: str) -> int:
        """The number of a candidate. Raises KeyError if none is called so."""
        return self._numbers[name]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        variants = self.digest.variants
        found = {variants[owner]: i for i, owner in enumerate(self.owner.tolist())}
        for index in np.flatnonzero(self._several).tolist():
            found.pop(self.digest.variants[self.owner[index]], None)
            found[self.name(index)] = index
        return found

    def field(self, name: str, missing: Any) -> np.ndarray:
        """A column of `digest.RUN`, (N,); `missing` where there is no run."""
        if not len(self.digest.runs):
            return np.full(len(self), missing)
        found: np.ndarray = self.digest.runs[name][self.run]  # the last one's for -1
        found[~self.built] = missing
        return found

    @cached_property
    def version(self) -> np.ndarray:
        """The version of each, (N,) int64."""
        found: np.ndarray = self.digest.versions["version"][self.owner]
        return found

    def metrics(self) -> list[tuple[str, bool]]:
        """The different metrics, each with whether higher is better."""
        codes = np.unique(self.digest.versions["metric"][self.owner]).tolist()
        names = [self.digest.words[i] for i in codes]
        return [(name, HIGHER_IS_BETTER.get(name, True)) for name in names]

    def values(self) -> np.ndarray:
        """The metric of each, (N,) float64."""
        found: np.ndarray = self.digest.versions["value"][self.owner]
        return found

    def figure(self, field: str, origins: Collection[Origin]) -> np.ndarray:
        """A figure of each, (N,) float64; not a number where its origin is not among these."""
        column = self.field(field, np.nan)
        for code in self._origins:
            origin = json.loads(self.digest.words[code]).get(field)
            if origin is not None and origin not in origins:
                column[(self.digest.runs["origin"][self.run] == code) & self.built] = np.nan
        return column

    @cached_property
    def _origins(self) -> list[int]:
        found: list[int] = np.unique(self.digest.runs["origin"][self.run[self.built]]).tolist()
        return found

    def unusable(self) -> np.ndarray:
        """Which were not built for the board or compute something else there, (N,) bool."""
        return ~self.built | (self.field("verified", -1) == 0)

    def least(self, indices: np.ndarray) -> int:
        """Of several the one with the least (sha256 of the model, name)."""
        hashes = self.digest.versions["sha256"][self.owner[indices]]
        first = indices[hashes == np.sort(hashes)[0]]
        return min(first.tolist(), key=self.name)
