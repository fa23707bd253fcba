"""Memory planning: every tensor gets an offset in one static arena.

Tensors whose lifetimes do not meet may share bytes; RESHAPE shares its input's; a kernel that
allows it writes over an operand that nobody needs any more. Sizes are rounded up to 16 bytes, so
that every tensor is aligned. Inputs live from the start, outputs to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tinydeploy.compiler.program import Program

ALIGNMENT = 16
_EXACT_BUFFERS = 40
_EXACT_NODES = 20_000


@dataclass(frozen=True)
class Buffer:
    """Memory that is needed from call `first` to call `last`, both included."""

    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Whether both are needed at the same time."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Offsets in the arena: of tensors by index, of scratch memory by call number.

    `lower_bound_bytes` is what is live at the worst moment: no plan can need less.
    """

    arena_bytes: int
    lower_bound_bytes: int
    tensors: Mapping[int, int]
    scratch: Mapping[int, int]


def plan_memory(program: Program) -> Plan:
    """Place all tensors and scratch memory of a program."""
    roots = _share(program)
    first, last = _lifetimes(program, roots)
    keys: list[tuple[str, int]] = []
    buffers: list[Buffer] = []
    sizes: dict[int, int] = {}
    for tensor, root in roots.items():
        sizes[root] = max(sizes.get(root, 0), program.tensor_bytes[tensor])
    for root in first:
        keys.append(("tensor", root))
        buffers.append(Buffer(_aligned(sizes[root]), first[root], last[root]))
    for number, call in enumerate(program.calls):
        if call.scratch_bytes:
            keys.append(("scratch", number))
            buffers.append(Buffer(_aligned(call.scratch_bytes), number, number))
    offsets = place(buffers)
    at = dict(zip(keys, offsets, strict=True))
    return Plan(
        arena_bytes=height(buffers, offsets),
        lower_bound_bytes=lower_bound(buffers),
        tensors={t: at["tensor", root] for t, root in roots.items() if ("tensor", root) in at},
        scratch={number: offset for (kind, number), offset in at.items() if kind == "scratch"},
    )


def place(buffers: Sequence[Buffer]) -> list[int]:
    """An offset for every buffer so that buffers needed together do not touch.

    Tries several orders with best fit; where none reaches the lower bound and there are few
    buffers, searches all orders of first fit, which contain an optimal placement, until a limit of
    steps that does not depend on the machine.
    """
    orders: list[Callable[[int], tuple[int, ...]]] = [
        lambda i: (-buffers[i].size, buffers[i].first, i),
        lambda i: (-buffers[i].size * (buffers[i].last - buffers[i].first + 1), i),
        lambda i: (buffers[i].first - buffers[i].last, -buffers[i].size, i),
        lambda i: (buffers[i].first, -buffers[i].size, i),
        lambda i: (-buffers[i].last, -buffers[i].size, i),
    ]
    placements = (_best_fit(buffers, sorted(range(len(buffers)), key=order)) for order in orders)
    best = min(placements, key=lambda offsets: height(buffers, offsets))
    if height(buffers, best) > lower_bound(buffers) and len(buffers) <= _EXACT_BUFFERS:
        best = _Search(buffers, best).run()
    return best


def height(buffers: Sequence[Buffer], offsets: Sequence[int]) -> int:
    """Bytes of the arena that a placement needs."""
    return max((o + b.size for o, b in zip(offsets, buffers, strict=True)), default=0)


def lower_bound(buffers: Sequence[Buffer]) -> int:
    """The largest number of bytes that are needed at one moment."""
    return max(
        (sum(b.size for b in buffers if b.first <= a.first <= b.last) for a in buffers), default=0
    )


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def _share(program: Program) -> dict[int, int]:
    """For each tensor the one whose memory it uses: aliases first, then writing in place."""
    roots = {t: program.root(t) for t in program.tensor_bytes}
    first, last = _lifetimes(program, roots)
    for number, call in enumerate(program.calls):
        output = roots[call.output]
        for index in call.in_place:
            operand = call.operands[index]
            if not isinstance(operand, int):
                continue
            source = roots[operand]
            dies_here = last[source] == number
            born_here = first[output] == number
            if source != output and dies_here and born_here:
                last[source] = last[output]
                roots = {t: source if r == output else r for t, r in roots.items()}
                break
    return roots


def _lifetimes(program: Program, roots: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """First and last call, by root, of the memory that is used at all."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(tensors: Iterable[int], time: int) -> None:
        for t in tensors:
            root = roots[t]
            first.setdefault(root, time)
            last[root] = time

    touch((*program.inputs, *program.persistent), 0)
    for number, call in enumerate(program.calls):
        touch((t for t in call.operands if isinstance(t, int)), number)
        touch([call.output], number)
    touch((*program.outputs, *program.persistent), len(program.calls))
    return first, last


def _gaps(buffers: Sequence[Buffer], offsets: Mapping[int, int], new: Buffer) -> list[list[int]]:
    """[from, to] of the places that hold `new` beside the buffers it meets; the last is open."""
    taken = sorted(
        (offset, offset + buffers[i].size)
        for i, offset in offsets.items()
        if buffers[i].overlaps(new)
    )
    gaps, free = [], 0
    for start, end in taken:
        if start - free >= new.size:
            gaps.append([free, start])
        free = max(free, end)
    gaps.append([free, free + new.size])
    return gaps


def _best_fit(buffers: Sequence[Buffer], order: Sequence[int]) -> list[int]:
    """Each buffer in turn into the smallest gap that holds it."""
    offsets: dict[int, int] = {}
    for i in order:
        *inner, top = _gaps(buffers, offsets, buffers[i])
        gap = min(inner, key=lambda g: g[1] - g[0]) if inner else top
        offsets[i] = gap[0]
    return [offsets[i] for i in range(len(buffers))]


class _Search:
    """Branch and bound over the orders of first fit."""

    def __init__(self, buffers: Sequence[Buffer], start: list[int]) -> None:
        self.buffers = buffers
        self.best = start
        self.best_height = height(buffers, start)
        self.bound = lower_bound(buffers)
        self.nodes = _EXACT_NODES
        self.order = sorted(range(len(buffers)), key=lambda i: -buffers[i].size)

    def run(self) -> list[int]:
        self._extend({}, 0)
        return self.best

    def _extend(self, offsets: dict[int, int], reached: int) -> None:
        if len(offsets) == len(self.buffers):
            self.best = [offsets[i] for i in range(len(self.buffers))]
            self.best_height = reached
            return
        tried: set[tuple[Buffer, int]] = set()
        for i in self.order:
            if self.nodes <= 0 or self.best_height == self.bound:
                return
            if i in offsets:
                continue
            buffer = self.buffers[i]
            offset = _gaps(self.buffers, offsets, buffer)[0][0]
            top = max(reached, offset + buffer.size)
            if (buffer, offset) in tried or top >= self.best_height:
                continue
            tried.add((buffer, offset))
            self.nodes -= 1
            offsets[i] = offset
            self._extend(offsets, top)
            del offsets[i]
