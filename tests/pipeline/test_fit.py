"""pipeline.fit: the linker's figures against the board's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinydeploy.errors import DoesNotFitError
from tinydeploy.pipeline import fit
from tinydeploy.types import DeviceProfile, Footprint


def board(flash_bytes: int, ram_bytes: int) -> DeviceProfile:
    return DeviceProfile(
        name="qemu-cortex-m0",
        description="",
        core="cortex-m0",
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
        clock_hz=16_000_000,
        platform="qemu",
    )


def footprint(flash_bytes: int, ram_bytes: int) -> Footprint:
    return Footprint(
        flash_bytes=flash_bytes,
        ram_bytes=ram_bytes,
        arena_bytes=ram_bytes - 10,
        code_bytes=100,
        flash={"weights": flash_bytes - 100, "engine_code": 100},
        ram={"arena": ram_bytes - 10, "stack": 10},
    )


def test_what_fits_exactly_fits() -> None:
    assert fit.check(footprint(262_144, 16_384), board(262_144, 16_384)) == ""
    fit.require_fit(footprint(262_144, 16_384), board(262_144, 16_384))


def test_the_words_hold_the_numbers() -> None:
    assert fit.check(footprint(301_240, 16_384), board(262_144, 16_384)) == (
        "needs 301,240 B of flash, qemu-cortex-m0 has 262,144 B (39,096 B too much)"
    )
    assert fit.check(footprint(262_145, 21_004), board(262_144, 16_384)) == (
        "needs 262,145 B of flash, qemu-cortex-m0 has 262,144 B (1 B too much); "
        "needs 21,004 B of RAM, qemu-cortex-m0 has 16,384 B (4,620 B too much)"
    )


def test_the_error_names_the_largest_part_of_what_is_short() -> None:
    with pytest.raises(DoesNotFitError) as caught:
        fit.require_fit(footprint(1_000, 21_004), board(262_144, 16_384))
    assert caught.value.exit_code == 5
    assert caught.value.message == (
        "needs 21,004 B of RAM, qemu-cortex-m0 has 16,384 B (4,620 B too much)"
    )
    assert "20,994 B of the RAM is arena" in caught.value.hint
    assert "flash" not in caught.value.hint


sizes = st.integers(min_value=200, max_value=1 << 22)


@given(sizes, sizes, sizes, sizes)
def test_empty_if_and_only_if_both_memories_suffice(
    need_flash: int, need_ram: int, has_flash: int, has_ram: int
) -> None:
    problem = fit.check(footprint(need_flash, need_ram), board(has_flash, has_ram))
    assert (problem == "") == (need_flash <= has_flash and need_ram <= has_ram)
    assert ("of flash" in problem) == (need_flash > has_flash)
    assert ("of RAM" in problem) == (need_ram > has_ram)
