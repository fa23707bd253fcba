from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinydeploy.compiler.placing import (
    ALIGNMENT,
    Buffer,
    Layout,
    Sharing,
    height,
    lower_bound,
    place,
)
from tinydeploy.compiler.plan import Plan, plan_memory
from tinydeploy.compiler.program import Call, Program


@st.composite
def buffers(draw: st.DrawFn, most: int = 12) -> list[Buffer]:
    made = []
    for _ in range(draw(st.integers(0, most))):
        first = draw(st.integers(0, 10))
        size = ALIGNMENT * draw(st.integers(1, 9))
        made.append(Buffer(size, first, first + draw(st.integers(0, 5))))
    return made


@st.composite
def layouts(draw: st.DrawFn, most: int = 12) -> Layout:
    """Buffers of which some may share memory: one that is born when another dies."""
    items = draw(buffers(most))
    sharing = {}
    for lower, upper in permutations(range(len(items)), 2):
        meet = items[lower].first == items[upper].last and items[upper].first < items[lower].first
        if meet and draw(st.booleans()):
            sharing[lower, upper] = draw(
                st.sampled_from(
                    [
                        Sharing(same=True),
                        Sharing(anywhere=True),
                        *(Sharing(distance=d) for d in (0, 5, 16, 40, 200)),
                    ]
                )
            )
    return Layout(items, sharing)


def broken(layout: Layout, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs that are needed together, share bytes and must not."""
    found = []
    items = layout.buffers
    for lower, upper in permutations(range(len(items)), 2):
        a, b = items[lower], items[upper]
        at, over = offsets[lower], offsets[upper]
        apart = at + a.size <= over or over + b.size <= at
        if apart or not a.overlaps(b):
            continue
        rule, turned = (layout.sharing.get(pair) for pair in ((lower, upper), (upper, lower)))
        if rule is None and turned is not None:
            continue  # judged the other way round
        allowed = rule is not None and (
            rule.anywhere
            or (rule.same and at == over)
            or (not rule.same and over - at >= rule.distance)
        )
        if not allowed:
            found.append((lower, upper))
    return found


def best_by_hand(layout: Layout) -> int:
    """The lowest height, by trying all offsets."""
    best = sum(b.size for b in layout.buffers)
    steps = range(0, best, ALIGNMENT)
    for offsets in product(steps, repeat=len(layout.buffers)):
        if height(layout.buffers, offsets) < best and not broken(layout, offsets):
            best = height(layout.buffers, offsets)
    return best


@settings(max_examples=300, deadline=None)
@given(layouts())
def test_placements_are_legal(layout: Layout) -> None:
    offsets = place(layout)
    assert broken(layout, offsets) == []
    assert all(o >= 0 and o % ALIGNMENT == 0 for o in offsets)
    assert height(layout.buffers, offsets) >= lower_bound(layout)


@settings(max_examples=60, deadline=None)
@given(layouts(most=3))
def test_few_buffers_are_placed_optimally(layout: Layout) -> None:
    best = best_by_hand(layout)
    assert lower_bound(layout) <= best
    if not any(sharing.same for sharing in layout.sharing.values()):
        assert height(layout.buffers, place(layout)) == best


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


def test_an_operand_beside_the_overwritten_one_is_not_touched() -> None:
    add = Call("td_add_s8", "td_add_int", {}, (0, 1), 2, 0, "", in_place=(0, 1))
    plan = plan_memory(Program((add,), (0, 1), (2,), {0: 64, 1: 64, 2: 64}))
    assert plan.tensors[0] != plan.tensors[1]
    assert plan.tensors[2] in (plan.tensors[0], plan.tensors[1])
    assert plan.arena_bytes == 128


def test_state_is_not_put_where_the_next_input_comes() -> None:
    keep = Call("td_clamp_s8", "td_clamp_int", {}, (0,), 1, 0, "", in_place=(0,))
    use = Call("td_clamp_s8", "td_clamp_int", {}, (1,), 2, 1, "")
    sizes = {0: 64, 1: 64, 2: 64}
    plan = plan_memory(Program((keep, use), (0,), (2,), sizes, persistent={1: 0}))
    assert plan.tensors[0] != plan.tensors[1]


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
    call = Call("td_unknown", "td_unknown", {}, (0,), 1, 0, "", True, 40)
    plan = plan_memory(Program((call,), (0,), (1,), {0: 16, 1: 16}))
    assert plan.arena_bytes == 16 + 16 + 48
    assert plan.scratch[0] not in (plan.tensors[0], plan.tensors[1])


@pytest.mark.parametrize("count", [40, 60])
def test_many_buffers_take_bounded_steps(count: int) -> None:
    items = [Buffer(16 * (1 + i * 7 % 11), i // 2, i // 2 + i % 5) for i in range(count)]
    layout = Layout(items)
    assert broken(layout, place(layout)) == []


def conv(number: int, channels: int, size: int = 16) -> Call:
    """3x3 with SAME padding over a square image, from `number` to `number + 1`."""
    window = dict.fromkeys(("batches", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    window |= dict.fromkeys(("in_h", "in_w", "out_h", "out_w"), size)
    window |= {"in_c": channels, "out_c": channels, "k_h": 3, "k_w": 3, "pad_top": 1, "pad_left": 1}
    params = {"window": window}
    return Call("td_conv_s8", "td_conv_s8", params, (number,), number + 1, number, "")


def test_a_convolution_writes_over_the_rows_it_has_read() -> None:
    """Of the next pixel's window two rows above are needed, and a pixel to the left."""
    image = 16 * 16 * 16
    plan = plan_memory(Program((conv(0, 16),), (0,), (1,), {0: image, 1: image}))
    distance = (16 + 1) * 16  # a row and a pixel behind the first byte that is needed
    assert plan.tensors[0] - plan.tensors[1] == distance
    assert plan.arena_bytes == plan.lower_bound_bytes == image + distance


def test_convolutions_drift_downwards() -> None:
    image = 16 * 16 * 16
    calls = tuple(conv(i, 16) for i in range(4))
    plan = plan_memory(Program(calls, (0,), (4,), dict.fromkeys(range(5), image)))
    assert plan.arena_bytes == plan.lower_bound_bytes == image + 4 * 17 * 16


def test_an_input_that_is_read_again_is_not_reached_into() -> None:
    again = Call("td_add_s8", "td_add_int", {}, (0, 1), 2, 1, "", in_place=(0, 1))
    sizes = dict.fromkeys(range(3), 16 * 16 * 16)
    plan = plan_memory(Program((conv(0, 16), again), (0,), (2,), sizes))
    assert plan.arena_bytes == 2 * 16 * 16 * 16


def test_an_unknown_kernel_gets_no_overlap() -> None:
    call = dataclasses.replace(conv(0, 16), kernel="td_conv_s8_unheard_of")
    plan = plan_memory(Program((call,), (0,), (1,), {0: 4096, 1: 4096}))
    assert plan.arena_bytes == 2 * 4096


def test_blocks_tell_the_whole_plan() -> None:
    plan: Plan = plan_memory(chain([100, 200, 300, 50]))
    assert {t: b.offset for b in plan.blocks for t in b.tensors} == plan.tensors
    assert max(b.offset + b.size for b in plan.blocks) == plan.arena_bytes
