from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.compiler.plan import ALIGNMENT, Buffer, height, lower_bound, place, plan_memory
from tinydeploy.compiler.program import Call, Program


@st.composite
def buffers(draw: st.DrawFn, most: int = 12) -> list[Buffer]:
    made = []
    for _ in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, 10))
        size = ALIGNMENT * draw(st.integers(1, 9))
        made.append(Buffer(size, first, first + draw(st.integers(0, 5))))
    return made


def overlapping(items: list[Buffer], offsets: list[int]) -> list[tuple[int, int]]:
    """Pairs that are needed together and share bytes."""
    found = []
    for i, a in enumerate(items):
        for j in range(i):
            b = items[j]
            apart = offsets[i] + a.size <= offsets[j] or offsets[j] + b.size <= offsets[i]
            if a.overlaps(b) and not apart:
                found.append((i, j))
    return found


def first_fit(items: list[Buffer], order: tuple[int, ...]) -> int:
    """Height of first fit in one order, written without the planner's own parts."""
    offsets: dict[int, int] = {}
    for i in order:
        offset = 0
        while any(
            items[i].overlaps(items[j])
            and offset < o + items[j].size
            and o < offset + items[i].size
            for j, o in offsets.items()
        ):
            offset += ALIGNMENT
        offsets[i] = offset
    return max((offsets[i] + items[i].size for i in offsets), default=0)


@settings(max_examples=200, deadline=None)
@given(buffers())
def test_placements_are_legal(items: list[Buffer]) -> None:
    offsets = place(items)
    assert overlapping(items, offsets) == []
    assert all(o >= 0 and o % ALIGNMENT == 0 for o in offsets)
    assert height(items, offsets) >= lower_bound(items)


@settings(max_examples=40, deadline=None)
@given(buffers(most=6))
def test_few_buffers_are_placed_optimally(items: list[Buffer]) -> None:
    best = min(first_fit(items, order) for order in permutations(range(len(items))))
    assert height(items, place(items)) == best


def chain(sizes: list[int], in_place: tuple[int, ...] = ()) -> Program:
    """Tensors 0, 1, 2, ... each computed from the one before."""
    calls = tuple(
        Call("td_copy", "td_copy", {}, (i,), i + 1, i, "", in_place=in_place)
        for i in range(len(sizes) - 1)
    )
    return Program(calls, (0,), (len(sizes) - 1,), dict(enumerate(sizes)))


def test_a_chain_needs_two_neighbours() -> None:
    plan = plan_memory(chain([100, 200, 300, 50]))
    assert plan.arena_bytes == 208 + 304
    assert plan.lower_bound_bytes == plan.arena_bytes


def test_writing_in_place_needs_one() -> None:
    plan = plan_memory(chain([160, 160, 160], in_place=(0,)))
    assert plan.arena_bytes == 160
    assert set(plan.tensors.values()) == {0}


def test_an_operand_that_is_needed_later_is_not_overwritten() -> None:
    first = Call("td_add_s8", "td_add_int", {}, (0, 0), 1, 0, "", in_place=(0, 1))
    second = Call("td_add_s8", "td_add_int", {}, (0, 1), 2, 1, "", in_place=(0, 1))
    plan = plan_memory(Program((first, second), (0,), (2,), {0: 64, 1: 64, 2: 64}))
    assert plan.tensors[0] != plan.tensors[1]
    assert plan.arena_bytes == 128


def test_an_output_of_the_model_is_not_overwritten() -> None:
    call = Call("td_clamp_s8", "td_clamp_int", {}, (1,), 2, 1, "", in_place=(0,))
    before = Call("td_clamp_s8", "td_clamp_int", {}, (0,), 1, 0, "", in_place=(0,))
    plan = plan_memory(Program((before, call), (0,), (1, 2), {0: 16, 1: 16, 2: 16}))
    assert plan.tensors[1] != plan.tensors[2]


def test_views_share_memory_for_both_lifetimes() -> None:
    calls = (
        Call("td_copy", "td_copy", {}, (0,), 1, 0, ""),
        Call("td_copy", "td_copy", {}, (2,), 3, 2, ""),
    )
    plan = plan_memory(Program(calls, (0,), (3,), {0: 16, 1: 16, 2: 16, 3: 16}, aliases={2: 1}))
    assert plan.tensors[2] == plan.tensors[1] != plan.tensors[3]


def test_scratch_lives_for_one_call() -> None:
    call = Call("td_conv_s8", "td_conv_s8", {}, (0,), 1, 0, "", True, 40)
    plan = plan_memory(Program((call,), (0,), (1,), {0: 16, 1: 16}))
    assert plan.arena_bytes == 16 + 16 + 48
    assert plan.scratch[0] not in (plan.tensors[0], plan.tensors[1])


@pytest.mark.parametrize("count", [40, 60])
def test_many_buffers_take_bounded_steps(count: int) -> None:
    items = [Buffer(16 * (1 + i * 7 % 11), i // 2, i // 2 + i % 5) for i in range(count)]
    assert overlapping(items, place(items)) == []
