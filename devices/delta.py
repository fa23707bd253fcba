"""A new content as a delta to the one that a board has: `firmware/lib/td_link/td_delta.h`.

Contents of one layout have the same length, and what belongs together stands at the same place in
both. So no search for moved parts is needed: runs of bytes stay, are added to in two or four bits
each (retrained weights move by a few steps), or are sent. The cheapest split is found by dynamic
programming, so that a delta is never much longer than the content itself.
"""

from __future__ import annotations

import numpy as np

COPY, SET, ADD4, ADD2 = range(4)
_BITS = {COPY: 0, SET: 8, ADD4: 4, ADD2: 2}
_STEP_BITS = 16  # a step's head and the rest of its last byte, about
_NEVER = 1 << 40


def encode(base: bytes | None, new: bytes) -> bytes:
    """The delta that makes `new` of `base`; without a base, one that fits any.

    Raises ValueError for contents of different lengths.
    """
    if base is None:
        return _head(SET, len(new)) + new if new else b""
    if len(base) != len(new):
        raise ValueError(f"contents of {len(base)} and {len(new)} bytes have no common layout")
    change = (np.frombuffer(new, np.uint8) - np.frombuffer(base, np.uint8)).view(np.int8)
    delta = bytearray()
    for kind, start, end in _steps(change):
        delta += _head(kind, end - start) + _data(kind, new[start:end], change[start:end])
    return bytes(delta)


def _head(kind: int, count: int) -> bytes:
    out = bytearray([kind | (count & 31) << 2])
    count >>= 5
    while count:
        out[-1] |= 0x80
        out.append(count & 0x7F)
        count >>= 7
    return bytes(out)


def _data(kind: int, new: bytes, change: np.ndarray) -> bytes:
    if kind == COPY:
        return b""
    if kind == SET:
        return new
    bits = _BITS[kind]
    each = 8 // bits
    padded = np.zeros(-(-len(change) // each) * each, np.uint8)
    padded[: len(change)] = change.view(np.uint8) & ((1 << bits) - 1)
    parts = padded.reshape(-1, each)
    packed = np.zeros(len(parts), np.uint8)
    for place in range(each):
        packed |= parts[:, place] << (bits * place)
    return packed.tobytes()


def _steps(change: np.ndarray) -> list[tuple[int, int, int]]:
    """Kind, start and end of the steps whose estimated bits are least."""
    values = change.tolist()
    costs = [_NEVER] * 4
    cheapest = 0
    came: list[tuple[int, ...]] = []  # for each byte and kind, the kind of the byte before
    previous = -1
    for value in values:
        able = (value == 0, True, -8 <= value <= 7, -2 <= value <= 1)
        fresh = cheapest + _STEP_BITS
        stay = [costs[k] <= fresh for k in range(4)]
        came.append(tuple(k if stay[k] else previous for k in range(4)))
        costs = [
            (costs[k] if stay[k] else fresh) + _BITS[k] if able[k] else _NEVER for k in range(4)
        ]
        cheapest = min(costs)
        previous = costs.index(cheapest)
    kinds = []
    kind = previous
    for choices in reversed(came):
        kinds.append(kind)
        kind = choices[kind]
    kinds.reverse()
    steps: list[tuple[int, int, int]] = []
    start = 0
    for at in range(1, len(kinds) + 1):
        if at == len(kinds) or kinds[at] != kinds[start]:
            steps.append((kinds[start], start, at))
            start = at
    return steps
