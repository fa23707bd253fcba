"""What a selection among many says about each candidate, found when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinydeploy.objective import Objective
from tinydeploy.types import Constraints

if TYPE_CHECKING:
    from tinydeploy.pipeline.select import Pool


class Reasons(Mapping[str, str]):
    """A candidate's name -> why it was not chosen, for all but the chosen one."""

    def __init__(
        self,
        pool: Pool,
        constraints: Constraints,
        objective: Objective,
        good: np.ndarray,
        chosen: int | None,
    ) -> None:
        self._pool, self._asked, self._chosen = pool, (constraints, objective, good, chosen), chosen
        self._told: dict[int, str] = {}

    def __getitem__(self, name: str) -> str:
        index = self._pool.index_of(name)
        if index == self._chosen:
            raise KeyError(name)
        if index not in self._told:
            self._told[index] = self._pool.reason(index, *self._asked)
        return self._told[index]

    def __iter__(self) -> Iterator[str]:
        for index in range(len(self._pool.candidates)):
            if index != self._chosen:
                yield self._pool.name(index)

    def __len__(self) -> int:
        return len(self._pool.candidates) - (self._chosen is not None)


class Sufficient(Sequence[str]):
    """The names of the sufficient; proofs are made when the first of them is asked for."""

    def __init__(self, pool: Pool, constraints: Constraints, good: np.ndarray) -> None:
        self._pool, self._constraints, self._good = pool, constraints, good
        self._names: tuple[str, ...] | None = None

    def _found(self) -> tuple[str, ...]:
        if self._names is None:
            indices = np.flatnonzero(self._good).tolist()
            self._names = tuple(
                self._pool.name(i) for i in indices if self._pool.proven(i, self._constraints)
            )
        return self._names

    def __contains__(self, name: object) -> bool:
        try:
            index = self._pool.index_of(str(name))
        except KeyError:
            return False
        return bool(self._good[index]) and self._pool.proven(index, self._constraints)

    def __getitem__(self, index: int | slice) -> Any:
        return self._found()[index]

    def __len__(self) -> int:
        return len(self._found())
