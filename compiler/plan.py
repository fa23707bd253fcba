"""Memory planning: every tensor gets an offset in one static arena.

Tensors whose lifetimes do not meet may share bytes; RESHAPE shares its input's; a kernel that
allows it writes over an operand that nobody needs any more: over all of it, or over what it has
read already (overlap.py). Sizes are rounded up to 16 bytes, so that every tensor is aligned. Inputs
live from the start, outputs to the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tinydeploy.compiler.overlap import Overlap, overlap_with, scratch_over
from tinydeploy.compiler.placing import (
    ALIGNMENT,
    Buffer,
    Layout,
    Sharing,
    height,
    lower_bound,
    place,
)
from tinydeploy.compiler.program import Call, Program


@dataclass(frozen=True)
class Block:
    """A placed buffer: the tensors that share it, or the scratch memory of call `first`."""

    offset: int
    size: int
    first: int
    last: int
    tensors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Offsets in the arena: of tensors by index, of scratch memory by call number.

    `lower_bound_bytes` is proven: no plan can need less. `blocks` says who is where and when.
    """

    arena_bytes: int
    lower_bound_bytes: int
    tensors: Mapping[int, int]
    scratch: Mapping[int, int]
    blocks: tuple[Block, ...] = ()


def plan_memory(program: Program) -> Plan:
    """Place all tensors and scratch memory of a program."""
    roots = _share(program)
    first, last = _lifetimes(program, roots)
    members: dict[int, list[int]] = {root: [] for root in first}
    for tensor, root in roots.items():
        if root in members:
            members[root].append(tensor)
    numbers = {root: i for i, root in enumerate(first)}
    buffers = [
        Buffer(_aligned(max(program.tensor_bytes[t] for t in members[r])), first[r], last[r])
        for r in first
    ]
    scratched = [n for n, call in enumerate(program.calls) if call.scratch_bytes]
    buffers += [Buffer(_aligned(program.calls[n].scratch_bytes), n, n) for n in scratched]
    sharing = _outputs(program, roots, numbers, buffers)
    sharing |= _scratch(program, roots, numbers, buffers, scratched)
    layout = Layout(buffers, sharing)
    offsets = place(layout)
    groups = [tuple(members[root]) for root in first] + [()] * len(scratched)
    return Plan(
        arena_bytes=height(buffers, offsets),
        lower_bound_bytes=lower_bound(layout),
        tensors={t: offsets[numbers[r]] for t, r in roots.items() if r in numbers},
        scratch=dict(zip(scratched, offsets[len(first) :], strict=True)),
        blocks=tuple(
            Block(offset, b.size, b.first, b.last, tensors)
            for b, offset, tensors in zip(buffers, offsets, groups, strict=True)
        ),
    )


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def _share(program: Program) -> dict[int, int]:
    """For each tensor the one whose memory it uses: aliases first, then writing in place."""
    roots = {t: program.root(t) for t in program.tensor_bytes}
    first, last = _lifetimes(program, roots)
    sizes: dict[int, int] = {}
    for tensor, root in roots.items():
        sizes[root] = max(sizes.get(root, 0), _aligned(program.tensor_bytes[tensor]))
    for number, call in enumerate(program.calls):
        output = roots[call.output]
        for index in call.in_place:
            operand = call.operands[index]
            if not isinstance(operand, int):
                continue
            source = roots[operand]
            dies_here = last[source] == number
            born_here = first[output] == number
            if source != output and dies_here and born_here and sizes[source] == sizes[output]:
                last[source] = last[output]
                roots = {t: source if r == output else r for t, r in roots.items()}
                break
    return roots


def _outputs(
    program: Program, roots: Mapping[int, int], numbers: Mapping[int, int], buffers: list[Buffer]
) -> dict[tuple[int, int], Sharing]:
    """What the order of each call's reads and writes allows its output."""
    found: dict[tuple[int, int], Sharing] = {}
    for number, call in enumerate(program.calls):
        output = numbers[roots[call.output]]
        if buffers[output].first != number:
            continue  # it holds something already, perhaps the operand that it overwrites
        for operand in {t for t in call.operands if isinstance(t, int)}:
            source = numbers[roots[operand]]
            if source == output or buffers[source].last != number:
                continue
            sharing = _allowed(call, roots, roots[operand])
            if sharing is not None:
                found[output, source] = sharing
    return found


def _scratch(
    program: Program,
    roots: Mapping[int, int],
    numbers: Mapping[int, int],
    buffers: list[Buffer],
    scratched: list[int],
) -> dict[tuple[int, int], Sharing]:
    """Scratch memory over an operand that is read for the last time while it is written."""
    found: dict[tuple[int, int], Sharing] = {}
    for index, number in enumerate(scratched, len(numbers)):
        call = program.calls[number]
        sources = [roots[t] for t in call.operands if isinstance(t, int)]
        for position, operand in enumerate(call.operands):
            distance = scratch_over(call, position)
            if distance is None or not isinstance(operand, int):
                continue
            source = roots[operand]
            if buffers[numbers[source]].last == number and sources.count(source) == 1:
                found[index, numbers[source]] = Sharing(distance)
    return found


def _allowed(call: Call, roots: Mapping[int, int], source: int) -> Sharing | None:
    """The strictest of what the call allows for the operands in one buffer; None if one forbids."""
    overlaps: list[Overlap | None] = [
        overlap_with(call, position)
        for position, operand in enumerate(call.operands)
        if isinstance(operand, int) and roots[operand] == source
    ]
    if any(o is None for o in overlaps):
        return None
    if any(o == "same" for o in overlaps):
        # An output that begins below both is not described by "same": leave mixed cases apart.
        return Sharing(same=True) if all(o == "same" for o in overlaps) else None
    if all(o == "anywhere" for o in overlaps):
        return Sharing(anywhere=True)
    return Sharing(distance=max(o for o in overlaps if isinstance(o, int)))


def _lifetimes(program: Program, roots: Mapping[int, int]) -> tuple[dict[int, int], dict[int, int]]:
    """First and last call, by root, of the memory that is used at all; -1 is before the first."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}

    def touch(tensors: Iterable[int], time: int) -> None:
        for t in tensors:
            root = roots[t]
            first.setdefault(root, time)
            last[root] = time

    touch((*program.inputs, *program.persistent), -1)
    for number, call in enumerate(program.calls):
        touch((t for t in call.operands if isinstance(t, int)), number)
        touch([call.output], number)
    touch((*program.outputs, *program.persistent), len(program.calls))
    return first, last
