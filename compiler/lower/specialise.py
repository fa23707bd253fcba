"""Which kernel computes a call: the portable one, or a faster one that the core and the data allow.

Lowering knows only the portable kernels. Behind it, `specialise` offers every call to the variants
of its kernel. A variant's `make` looks at the call (shapes, weights, factors, clamps), checks what
the faster kernel demands of them, packs the weights the way it reads them, and returns a
`Candidate`, or None. Of the candidates the cheapest is taken: by modelled cycles where all of them
tell theirs (fewer instructions that take more cycles are no gain), otherwise by instructions, and
by the price that the optimize level puts on a byte of flash. The portable call remains where there
is no candidate. For `size`, compact.py chooses, which counts the kernels' own code as well.

To add kernels for a core: write `make` functions in a file of their own beside this one (`layer.py`
turns a portable call back into arrays by channel), list them in its table `VARIANTS`, and name that
table in `_VARIANTS` below. The kernels go to files `td_*_CORE.c` in td_kernels, inside the `#if` of
the core's feature macro, and their structs to a header that td_kernels.h includes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tinydeploy.compiler.lower import dsp, mve, packed
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.variant import Candidate, Variant
from tinydeploy.compiler.program import Call, Program
from tinydeploy.types import KernelChoice

_VARIANTS: tuple[Variant, ...] = (*dsp.VARIANTS, *mve.VARIANTS, *packed.VARIANTS)

# How many cycles (or instructions) of an inference a byte of flash is worth: `size` saves flash
# wherever it can, `speed` spends it.
CYCLES_A_BYTE = {"size": 10_000.0, "balanced": 100.0, "speed": 0.01}


def specialise(program: Program, target: Target) -> Program:
    """The same program with the cheapest kernels for a target, and what they were chosen from."""
    calls, choices = [], []
    for call in program.calls:
        candidates = candidates_for(call, target)
        if not candidates:
            calls.append(call)
            continue
        cheapest = _cheapest(candidates, target.optimize)
        calls.append(cheapest.call)
        choices += [choice(c, cheapest) for c in candidates]
    return dataclasses.replace(program, calls=tuple(calls), choices=tuple(choices))


def candidates_for(call: Call, target: Target) -> list[Candidate]:
    """The faster kernels that a target and the data allow."""
    variants = [v for v in _VARIANTS if v.portable == call.kernel and v.suits(target)]
    made = [v.make(call) for v in variants]
    return [candidate for candidate in made if candidate is not None]


def _cheapest(candidates: Sequence[Candidate], optimize: str) -> Candidate:
    return min(candidates, key=lambda c: price(c, candidates, optimize))


def price(candidate: Candidate, among: Sequence[Candidate], optimize: str) -> float:
    """What the choice is made by: the work, and flash in the coin of work."""
    timed = [c.cycles for c in among if c.cycles is not None]
    cycles = candidate.cycles if len(timed) == len(among) else None
    work = candidate.instructions if cycles is None else cycles
    return work + CYCLES_A_BYTE[optimize] * candidate.flash_bytes


def choice(candidate: Candidate, cheapest: Candidate) -> KernelChoice:
    """A candidate as the table of choices shows it."""
    return KernelChoice(
        layer=candidate.call.op_index,
        kernel=candidate.name,
        instructions=round(candidate.instructions),
        cycles=None if candidate.cycles is None else round(candidate.cycles),
        flash_bytes=candidate.flash_bytes,
        chosen=candidate is cheapest,
    )
