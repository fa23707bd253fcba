"""Offsets for buffers with lifetimes, so that the highest end is low.

Two buffers that are needed at the same time lie apart, unless one is the output of a call in which
the other is read for the last time: then the output may begin a given distance below it, or at the
same byte. So for every pair one of at most three relations holds: the first below the second, the
second below the first, both at one byte; the first two with a least distance between the starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

ALIGNMENT = 16
_EXACT_BUFFERS = 40
_EXACT_NODES = 20_000


@dataclass(frozen=True)
class Buffer:
    """Memory of `size` bytes that is needed from call `first` to call `last`, both included."""

    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Sharing:
    """How buffer `upper` may reach over buffer `lower`, which begins below it.

    `distance` is the least difference of their starts; `same`: they may begin at one byte, and
    must lie apart otherwise; `anywhere`: they do not disturb each other at all.
    """

    distance: int = 0
    same: bool = False
    anywhere: bool = False


@dataclass(frozen=True)
class Layout:
    """The buffers to place. `sharing` is by (lower, upper), sizes are multiples of ALIGNMENT."""

    buffers: Sequence[Buffer]
    sharing: Mapping[tuple[int, int], Sharing] = field(default_factory=dict)

    def conflicts(self) -> list[set[int]]:
        """For each buffer those that it must keep a distance from."""
        found: list[set[int]] = [set() for _ in self.buffers]
        order = sorted(range(len(self.buffers)), key=lambda i: self.buffers[i].first)
        alive: list[int] = []
        for i in order:
            alive = [j for j in alive if self.buffers[j].last >= self.buffers[i].first]
            for j in alive:
                if not (self._anywhere(i, j) or self._anywhere(j, i)):
                    found[i].add(j)
                    found[j].add(i)
            alive.append(i)
        return found

    def gap(self, lower: int, upper: int) -> int:
        """The least distance of their starts if `lower` begins below `upper`."""
        size = self.buffers[lower].size
        sharing = self.sharing.get((lower, upper))
        if sharing is None or sharing.same:
            return size
        return min(size, -(-max(sharing.distance, 0) // ALIGNMENT) * ALIGNMENT)

    def same(self, a: int, b: int) -> bool:
        """Whether both may begin at one byte."""
        return any(pair in self.sharing and self.sharing[pair].same for pair in ((a, b), (b, a)))

    def _anywhere(self, lower: int, upper: int) -> bool:
        sharing = self.sharing.get((lower, upper))
        return sharing is not None and sharing.anywhere


def place(layout: Layout) -> list[int]:
    """An offset for every buffer.

    Tries several orders of first fit; where none reaches the lower bound and there are few buffers,
    searches all orders, until a limit of steps that does not depend on the machine. Where no pair
    shares a start, the orders of first fit contain an optimal placement: take one, ordered by
    offset; first fit puts no buffer higher than it.
    """
    buffers = layout.buffers
    fit = _FirstFit(layout)
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-buffers[i].size, -buffers[i].first, i),
        lambda i: (-buffers[i].size, buffers[i].first, i),
        lambda i: (-buffers[i].size * (buffers[i].last - buffers[i].first + 1), -buffers[i].first),
        lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size, -buffers[i].first),
        lambda i: (-buffers[i].first, -buffers[i].size, i),
        lambda i: (buffers[i].first, -buffers[i].size, i),
        lambda i: (-buffers[i].last, -buffers[i].size, i),
    ]
    placements = (fit.all(sorted(range(len(buffers)), key=order)) for order in orders)
    best = min(placements, key=lambda offsets: height(buffers, offsets))
    if len(buffers) <= _EXACT_BUFFERS:
        bound = lower_bound(layout)
        if height(buffers, best) > bound:
            best = _Search(fit, best, bound).run()
    return best


def height(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    """Bytes of the arena that a placement needs."""
    return max((o + b.size for o, b in zip(offsets, buffers, strict=True)), default=0)


def lower_bound(layout: Layout) -> int:
    """A height that no placement is below.

    The larger of two bounds: what is needed at one moment (`_crowd`), and the least height that
    the pairwise distances do not refute.
    """
    low, high = _crowd(layout), sum(b.size for b in layout.buffers)
    refutation = _Refutation(layout)
    while low < high:
        middle = (low + high) // 2 // ALIGNMENT * ALIGNMENT
        if refutation.refutes(middle):
            low = middle + ALIGNMENT
        else:
            high = middle
    return low


def _crowd(layout: Layout) -> int:
    """The most bytes that buffers cover at one moment.

    Those that may share nothing with each other are disjoint. A buffer that shares with one of them
    adds at least what the union of the two has beyond that one.
    """
    worst = 0
    for moment in {b.first for b in layout.buffers}:
        alive = [i for i, b in enumerate(layout.buffers) if b.first <= moment <= b.last]
        sharing = {i: [j for j in alive if _may_share(layout, i, j)] for i in alive}
        apart = [i for i in alive if not sharing[i]]
        rest = [i for i in alive if sharing[i]]
        # An output that is born here, or the operands that die here: disjoint among themselves.
        born = [i for i in rest if any((i, j) in layout.sharing for j in sharing[i])]
        dying = [i for i in rest if i not in born]
        covered = [sum(layout.buffers[i].size for i in group) for group in (born, dying)]
        covered += [_union(layout, i, j) for i in born for j in sharing[i] if len(sharing[i]) == 1]
        fixed = sum(layout.buffers[i].size for i in apart)
        worst = max(worst, fixed + max(covered, default=0))
    return worst


def _may_share(layout: Layout, a: int, b: int) -> bool:
    return (a, b) in layout.sharing or (b, a) in layout.sharing


def _union(layout: Layout, lower: int, upper: int) -> int:
    """The fewest bytes that two buffers cover which may share."""
    a, b = layout.buffers[lower].size, layout.buffers[upper].size
    sharing = layout.sharing.get((lower, upper))
    if sharing is None or sharing.same or sharing.anywhere:
        return max(a, b)
    return min(a + b, max(a, layout.gap(lower, upper) + b))


class _FirstFit:
    """Puts buffers at the lowest offset that those already placed allow."""

    def __init__(self, layout: Layout) -> None:
        self.buffers = layout.buffers
        conflicts = layout.conflicts()
        # (other, least distance if it is above the other, the same if below, one start allowed)
        self.rules = [
            [(j, layout.gap(j, i), layout.gap(i, j), layout.same(i, j)) for j in sorted(others)]
            for i, others in enumerate(conflicts)
        ]

    def offset(self, new: int, placed: Mapping[int, int]) -> int:
        """The lowest offset of `new`."""
        met = [
            (placed[j], above, below, same)
            for j, above, below, same in self.rules[new]
            if j in placed
        ]
        candidates = {0}
        candidates.update(at + above for at, above, _, _ in met)
        candidates.update(at for at, _, _, same in met if same)
        return min(c for c in candidates if self._free(c, met))

    def all(self, order: Iterable[int]) -> list[int]:
        """Offsets of all buffers, placed in this order."""
        placed: dict[int, int] = {}
        for i in order:
            placed[i] = self.offset(i, placed)
        return [placed[i] for i in range(len(self.buffers))]

    @staticmethod
    def _free(offset: int, met: Sequence[tuple[int, int, int, bool]]) -> bool:
        return all(
            offset >= at + above or offset + below <= at or (same and offset == at)
            for at, above, below, same in met
        )


class _Search:
    """Branch and bound over the orders of first fit."""

    def __init__(self, fit: _FirstFit, start: list[int], bound: int) -> None:
        self.fit = fit
        self.buffers = fit.buffers
        self.best = start
        self.best_height = height(fit.buffers, start)
        self.bound = bound
        self.nodes = _EXACT_NODES
        self.order = sorted(
            range(len(fit.buffers)), key=lambda i: (-fit.buffers[i].size, -fit.buffers[i].first)
        )

    def run(self) -> list[int]:
        """The best placement found."""
        self._extend({}, 0)
        return self.best

    def _extend(self, placed: dict[int, int], reached: int) -> None:
        if len(placed) == len(self.buffers):
            self.best = [placed[i] for i in range(len(self.buffers))]
            self.best_height = reached
            return
        tried: set[tuple[int, int]] = set()
        for i in self.order:
            if self.nodes <= 0 or self.best_height <= self.bound:
                return
            if i in placed:
                continue
            self.nodes -= 1
            offset = self.fit.offset(i, placed)
            top = max(reached, offset + self.buffers[i].size)
            if (i, offset) in tried or top >= self.best_height:
                continue
            tried.add((i, offset))
            placed[i] = offset
            self._extend(placed, top)
            del placed[i]


class _Refutation:
    """Shows that a height is too low by the distances of pairs (a destructive lower bound, as in
    scheduling: Klein and Scholl, "Computing lower bounds by destructive improvement", 1999).

    `head[i]` is a bound of buffer i's start from the bottom, `tail[i]` from the top. Where one of
    two relations does not fit the height, the other holds, which moves the bounds; where none fits,
    the height is refuted.
    """

    def __init__(self, layout: Layout) -> None:
        self.sizes = [b.size for b in layout.buffers]
        self.pairs = [
            (i, j, layout.gap(i, j), layout.gap(j, i), layout.same(i, j))
            for i, others in enumerate(layout.conflicts())
            for j in sorted(others)
            if i < j
        ]

    def refutes(self, limit: int) -> bool:
        """Whether no placement is as low as `limit`."""
        head, tail = [0] * len(self.sizes), list(self.sizes)
        changed = True
        while changed:
            changed = False
            for i, j, ij, ji, same in self.pairs:
                first = head[i] + ij + tail[j] <= limit
                second = head[j] + ji + tail[i] <= limit
                third = same and max(head[i], head[j]) + max(tail[i], tail[j]) <= limit
                if not (first or second or third):
                    return True
                if first + second + third > 1:
                    continue
                moved = self._move(head, tail, (i, j), (ij, ji), first, second)
                changed = changed or moved
            if any(h + t > limit for h, t in zip(head, tail, strict=True)):
                return True
        return False

    @staticmethod
    def _move(
        head: list[int],
        tail: list[int],
        pair: tuple[int, int],
        gaps: tuple[int, int],
        first: bool,
        second: bool,
    ) -> bool:
        i, j = pair if first or not second else (pair[1], pair[0])
        gap = gaps[0] if first else gaps[1] if second else 0
        new_head, new_tail = max(head[j], head[i] + gap), max(tail[i], tail[j] + gap)
        if not (first or second):  # both begin at one byte
            new_head, new_tail = max(head[i], head[j]), max(tail[i], tail[j])
            moved = (head[i], head[j], tail[i], tail[j]) != (new_head, new_head, new_tail, new_tail)
            head[i], tail[j] = new_head, new_tail
        else:
            moved = (head[j], tail[i]) != (new_head, new_tail)
        head[j], tail[i] = new_head, new_tail
        return moved
