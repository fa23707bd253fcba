"""The figures of all current variants of a registered model, in a few arrays. Pure.

A selection looks at every candidate, and reading each from MLflow's tables takes a tenth of a
millisecond. A digest holds what a choice needs of them, so that ten thousand are there in a
millisecond; it is kept in the database and brought up to date by what changed since: `digests`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.schema import SELECTED, VersionRecord
from tinydeploy.registry.view import View
from tinydeploy.types import Footprint

LAYOUT = 1
"""Of the arrays below; a digest of another layout is made anew."""

VERSION = np.dtype(
    [
        ("version", "<i8"), ("run_id", "S32"), ("sha256", "S64"), ("value", "<f8"),
        ("metric", "<u4"), ("stale", "?"), ("seq", "<i8"),
    ]
)  # fmt: skip
"""The newest version of a variant. `stale`: its description is not what it should be. `seq`: where
the journal was when it was read. `metric` and others of that type are numbers of `words`."""

RUN = np.dtype(
    [
        ("version", "<i8"), ("board", "<u4"), ("engine", "<u4"), ("optimize", "<u4"),
        ("run_id", "S32"), ("flash_bytes", "<f8"), ("ram_bytes", "<f8"), ("instructions", "<f8"),
        ("latency_us", "<f8"), ("energy_uj", "<f8"), ("verified", "i1"), ("origin", "<u4"),
        ("state", "<u4"), ("reason", "<i8"), ("pareto", "?"),
    ]
)  # fmt: skip
"""A run of such a version on a board. `verified` is 1, 0, or -1 where nothing was compared;
`reason` is `text_hash` of the words."""

FIGURES = ("flash_bytes", "ram_bytes", "instructions", "latency_us", "energy_uj")
_HEAD = struct.Struct("<III")


@dataclass(frozen=True)
class Digest:
    """All current variants of a model, in the order of their versions, and their runs likewise.

    `seq` says where the journal was; `token` is that of the journal.
    """

    name: str
    versions: np.ndarray
    variants: tuple[str, ...]
    runs: np.ndarray
    words: tuple[str, ...]
    seq: int = 0
    token: str = ""

    @classmethod
    def empty(cls, name: str) -> Digest:
        """Of a model without versions."""
        return cls(name, np.zeros(0, VERSION), (), np.zeros(0, RUN), ())

    def replaced(
        self, gone: Collection[str], view: View, seq: int, stale: Callable[[VersionRecord], bool]
    ) -> Digest:
        """Without the variants that are `gone`, and with those of `view` as they are now."""
        dropped = self._rows_of(gone)
        keep = np.ones(len(self.versions), bool)
        keep[dropped] = False
        kept = ~np.isin(self.runs["version"], self.versions["version"][dropped])
        words = {word: i for i, word in enumerate(self.words)}

        def code(word: str) -> int:
            return words.setdefault(word, len(words))

        current = view.current
        added = [
            (
                int(v.version), v.run_id.encode(), v.model_sha256.encode(), v.value,
                code(v.metric), stale(v), seq,
            )
            for v in current
        ]  # fmt: skip
        runs = [_run(v, r, code) for v in current for r in view.of(v)]
        versions = _spliced(self.versions, keep, np.array(added, VERSION))
        variants = list(self.variants)
        for i in reversed(dropped):
            del variants[i]
        variants += [v.variant for v in current]
        order = _order(versions["version"])
        if order is not None:
            versions = versions[order]
            variants = [variants[i] for i in order.tolist()]
        both = _spliced(self.runs, kept, np.array(runs, RUN))
        order = _order(both["version"])
        return dataclasses.replace(
            self,
            versions=versions,
            variants=tuple(variants),
            runs=both if order is None else both[order],
            words=tuple(words),
            seq=seq,
        )

    def _rows_of(self, variants: Collection[str]) -> list[int]:
        """Their numbers, in order; a few are looked for faster one by one."""
        if len(variants) > 20:
            return [i for i, variant in enumerate(self.variants) if variant in variants]
        return sorted(self.variants.index(v) for v in variants if v in self.variants)

    # ------------------------------------------------------------ asking
    def code(self, word: str) -> int:
        """The number of a word; -1 if nothing is called so."""
        return self.words.index(word) if word in self.words else -1

    @cached_property
    def boards(self) -> list[str]:
        """Boards with a run, by name."""
        return sorted(self.words[i] for i in np.unique(self.runs["board"]).tolist())

    def on(self, board: str) -> np.ndarray:
        """The numbers of the runs on a board, in the order of their versions."""
        return np.flatnonzero(self.runs["board"] == self.code(board))

    def selected_on(self, board: str) -> set[int]:
        """Versions of which a run on a board is tagged as selected."""
        runs = self.runs[self.runs["state"] == self.code(SELECTED)]
        return set(runs["version"][runs["board"] == self.code(board)].tolist())

    def versions_behind(self, run_ids: Iterable[str]) -> set[int]:
        """Versions to which a run belongs, or of which it is the own run."""
        wanted = np.array([r.encode() for r in run_ids], "S32")
        below = self.runs["version"][np.isin(self.runs["run_id"], wanted)]
        own = self.versions["version"][np.isin(self.versions["run_id"], wanted)]
        return {*below.tolist(), *own.tolist()}

    def variants_of(self, versions: Collection[int]) -> set[str]:
        """The variants of versions, as far as they are current."""
        wanted = np.array(list(versions), np.int64)
        found = np.flatnonzero(np.isin(self.versions["version"], wanted))
        return {self.variants[i] for i in found.tolist()}

    def telling(self, count: int) -> set[int]:
        """For each board versions that tell most: selected, on the Pareto front, the smallest."""
        found: set[int] = set()
        for board in self.boards:
            runs = self.runs[self.on(board)]
            selected = runs["state"] == self.code(SELECTED)
            order = np.lexsort([runs["flash_bytes"], ~runs["pareto"], ~selected])
            found |= set(runs["version"][order[:count]].tolist())
        return found

    def first(self, count: int) -> View:
        """The first variants with their runs, as far as a list of them shows them."""
        rows = self.versions[:count]
        versions = tuple(
            VersionRecord(
                self.name, str(v["version"]), v["run_id"].decode(), self.variants[i], "", "", "",
                0, self.words[v["metric"]], float(v["value"]),
            )
            for i, v in enumerate(rows)
        )  # fmt: skip
        parents = {int(v.version): v.run_id for v in versions}
        below = self.runs[np.isin(self.runs["version"], rows["version"])]
        records = tuple(
            BoardRecord(
                r["run_id"].decode(), parents[int(r["version"])], self.words[r["board"]],
                self.words[r["engine"]], self.words[r["optimize"]], "", "", "",
                Footprint(int(r["flash_bytes"]), int(r["ram_bytes"]), 0, 0, {}, {}),
                selection=self.words[r["state"]],
            )
            for r in below
        )  # fmt: skip
        return View(self.name, versions, records)

    # ------------------------------------------------------------ bytes
    def encoded(self) -> bytes:
        """As it is kept; `seq`, `token` and the name stand beside it."""
        head = json.dumps([self.words, self.variants]).encode()
        counts = _HEAD.pack(LAYOUT, len(head), len(self.versions))
        return counts + head + self.versions.tobytes() + self.runs.tobytes()

    @classmethod
    def decoded(cls, name: str, body: bytes, seq: int, token: str) -> Digest | None:
        """The inverse of `encoded`; None for another layout."""
        layout, length, count = _HEAD.unpack_from(body)
        if layout != LAYOUT:
            return None
        start = _HEAD.size + length
        words, variants = json.loads(body[_HEAD.size : start])
        versions = np.frombuffer(body, VERSION, count, start)
        runs = np.frombuffer(body, RUN, -1, start + versions.nbytes)
        return cls(name, versions, tuple(variants), runs, tuple(words), seq, token)


def _spliced(rows: np.ndarray, keep: np.ndarray, added: np.ndarray) -> np.ndarray:
    """The rows to keep and then those added, in one allocation: they are megabytes."""
    gone = np.flatnonzero(~keep).tolist()
    both = np.empty(len(rows) - len(gone) + len(added), rows.dtype)
    start = end = 0
    for stop in [*gone, len(rows)]:
        both[end : end + stop - start] = rows[start:stop]
        start, end = stop + 1, end + stop - start
    both[end:] = added
    return both


def _order(numbers: np.ndarray) -> np.ndarray | None:
    """How to sort them, equal ones staying as they are; None if they are in order."""
    if (numbers[1:] >= numbers[:-1]).all():
        return None
    return np.argsort(numbers, kind="stable")


def text_hash(text: str) -> int:
    """Tells texts apart: 63 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _run(version: VersionRecord, record: BoardRecord, code: Callable[[str], int]) -> Any:
    figures = (
        record.footprint.flash_bytes, record.footprint.ram_bytes, record.instructions,
        record.latency_us, record.energy_uj,
    )  # fmt: skip
    verified = {None: -1, False: 0, True: 1}[record.outputs_verified]
    return (
        int(version.version), code(record.board), code(record.engine), code(record.optimize),
        record.run_id.encode(), *(np.nan if f is None else f for f in figures), verified,
        code(json.dumps(dict(record.origin), sort_keys=True)), code(record.selection),
        text_hash(record.reason), record.pareto,
    )  # fmt: skip
