"""Which kernel computes a call: the portable one, or a faster one that the core and the data allow.

Lowering knows only the portable kernels. Behind it, `specialise` offers every call to the variants
of its kernel. A variant's `make` looks at the call (shapes, weights, factors, clamps), checks what
the faster kernel demands of them, packs the weights the way it reads them, and returns a
`Candidate`, or None. Of the candidates the cheapest is taken, by the price that the optimize level
puts on a byte of flash; the portable call remains where there is none.

To add kernels for a core: write `make` functions in a file of their own beside this one (`layer.py`
turns a portable call back into arrays by channel), list them in its table `VARIANTS`, and name that
table in `_VARIANTS` below. The kernels go to files `td_*_CORE.c` in td_kernels, inside the `#if` of
the core's feature macro, and their structs to a header that td_kernels.h includes.
"""

from __future__ import annotations

import dataclasses

from tinydeploy.compiler.lower import dsp, mve, packed
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.variant import Candidate, Variant
from tinydeploy.compiler.program import Call, Program

_VARIANTS: tuple[Variant, ...] = (*dsp.VARIANTS, *mve.VARIANTS, *packed.VARIANTS)

# How many instructions an inference a byte of flash may cost: `size` saves flash wherever it can,
# `speed` spends it.
INSTRUCTIONS_A_BYTE = {"size": 10_000.0, "balanced": 100.0, "speed": 0.01}


def specialise(program: Program, target: Target) -> Program:
    """The same program with the cheapest kernels for a target."""
    calls = tuple(_cheapest(call, target) for call in program.calls)
    return dataclasses.replace(program, calls=calls)


def _cheapest(call: Call, target: Target) -> Call:
    variants = [v for v in _VARIANTS if v.portable == call.kernel and v.suits(target)]
    made = [v.make(call) for v in variants]
    candidates = [candidate for candidate in made if candidate is not None]
    if not candidates:
        return call
    return min(candidates, key=lambda c: price(c, target.optimize)).call


def price(candidate: Candidate, optimize: str) -> float:
    """What the choice is made by: instructions, and flash in the coin of instructions."""
    return candidate.instructions + INSTRUCTIONS_A_BYTE[optimize] * candidate.flash_bytes
