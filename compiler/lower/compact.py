"""Kernels for `size`: those that make the whole smallest, code and constants together.

A kernel's code stands in flash once, however many layers use it, so that layers cannot choose one
by one. Which kernels may be used at all is searched; for each set of them every layer takes what is
cheapest, and the set pays for its code (code_sizes.py). The portable kernels always may.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tinydeploy.compiler.lower.code_sizes import CODE
from tinydeploy.compiler.lower.coded import coded, worth_coding
from tinydeploy.compiler.lower.context import Target
from tinydeploy.compiler.lower.specialise import CYCLES_A_BYTE, candidates_for, choice
from tinydeploy.compiler.lower.variant import Candidate
from tinydeploy.compiler.program import Call, Program

# Instructions of the portable kernels with -Os on a Cortex-M4, measured, and the cycles an
# instruction.
_PRODUCT, _TAP, _OUTPUT = 3.6, 5.0, 42.0
_GATHERED, _GATHERED_ROW, _POOLED, _ADDED = 0.7, 55.0, 8.0, 45.0
_CYCLES = 1.5


def compact(program: Program, target: Target) -> Program:
    """The same program with the kernels that need the least flash on a target, work considered."""
    options = [_options(call, target) for call in program.calls]
    allowed = _search(options)
    calls, choices = [], []
    for call, candidates in zip(program.calls, options, strict=True):
        if not candidates:
            calls.append(call)
            continue
        chosen = _cheapest(candidates, allowed)
        calls.append(chosen.call)
        choices += [choice(c, chosen) for c in candidates]
    return dataclasses.replace(program, calls=tuple(calls), choices=tuple(choices))


def _options(call: Call, target: Target) -> list[Candidate]:
    """The portable kernel first; nothing where there is no other."""
    others, packed = candidates_for(call, target), coded(call)
    if not others and packed is None:
        return []
    portable = Candidate(call, *_portable_work(call), form="portable")
    if packed and worth_coding(packed, min([portable, *others], key=_price)):
        others.append(packed)
    return [portable, *others] if others else []


def _price(candidate: Candidate) -> float:
    work = candidate.instructions if candidate.cycles is None else candidate.cycles
    return work + CYCLES_A_BYTE["size"] * candidate.flash_bytes


def _search(options: Sequence[Sequence[Candidate]]) -> frozenset[str]:
    """The set of kernels with the least price that no single kernel more or less improves."""
    names = sorted({c.call.kernel for candidates in options for c in candidates[1:]})
    best = min(
        (_descend(options, names, frozenset(start)) for start in ((), names)),
        key=lambda found: found[0],
    )
    return best[1]


def _descend(
    options: Sequence[Sequence[Candidate]], names: Sequence[str], start: frozenset[str]
) -> tuple[float, frozenset[str]]:
    best = (_whole(options, start), start)
    while True:
        tried = [(_whole(options, s), s) for s in (best[1] ^ {name} for name in names)]
        found = min(tried, key=lambda pair: pair[0], default=best)
        if found[0] >= best[0]:
            return best
        best = found


def _whole(options: Sequence[Sequence[Candidate]], allowed: frozenset[str]) -> float:
    chosen = [_cheapest(candidates, allowed) for candidates in options if candidates]
    code = code_bytes([c.call for c in chosen])
    return sum(_price(c) for c in chosen) + CYCLES_A_BYTE["size"] * code


def _cheapest(candidates: Sequence[Candidate], allowed: frozenset[str]) -> Candidate:
    may = [candidates[0], *(c for c in candidates[1:] if c.call.kernel in allowed)]
    return min(may, key=_price)


def code_bytes(calls: Sequence[Call]) -> int:
    """Code of the kernels of calls and of all that these call, as far as it is known."""
    waiting = [name for call in calls for name in (call.kernel, *_functions(call.params))]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in CODE and name not in needed:
            needed.add(name)
            waiting += CODE[name][1]
    return sum(CODE[name][0] for name in needed)


def _functions(value: Any) -> list[str]:
    """Functions that parameters point to."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [name for v in value.values() for name in _functions(v)]
    return []


def _portable_work(call: Call) -> tuple[float, float]:
    """Instructions and cycles of a call of a portable kernel that others may replace."""
    p, instructions = call.params, 0.0
    product = p.get("product", p)
    if "depth" in product and "channels" in product:
        rows, depth = product["rows"], product["depth"]
        instructions = rows * product["channels"] * (_PRODUCT * depth + _OUTPUT)
        if "window" in p:
            instructions += rows * (_GATHERED * depth + _GATHERED_ROW * p["window"]["k_h"])
    elif "window" in p:
        w = p["window"]
        outputs = w["batches"] * w["out_h"] * w["out_w"] * w["out_c"]
        each = _POOLED if "weights" not in p else _TAP
        instructions = outputs * (each * w["k_h"] * w["k_w"] + _OUTPUT)
    elif "shape" in p:
        instructions = _ADDED * math.prod(p["shape"]["size"])
    elif "reduced" in p:
        instructions = p["outer"] * p["inner"] * (_POOLED * p["reduced"] + _OUTPUT)
    return instructions, _CYCLES * instructions
