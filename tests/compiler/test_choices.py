"""Which kernels are weighed for a layer, by what, and which one is taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shaped_layers import Layer, Layers, build

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.compiler.lower.specialise import price
from tinydeploy.compiler.lower.variant import Candidate
from tinydeploy.compiler.program import Call, Data
from tinydeploy.devices.catalogue import find
from tinydeploy.types import KernelChoice


def layers(m: Layers) -> list[Layer]:
    """A deep product, where int16 weights cost more loads than they save, and a shallow one."""
    return [m.product(1, 128, 32), m.product(3, 4, 32)]


def weighed(tmp_path: Path, board: str, optimize: str) -> list[list[KernelChoice]]:
    model = tmp_path / "model.tflite"
    build([layers], 2, model)
    compiled = AotCompiler().compile(
        model, tmp_path / optimize, device=find(board), optimize=optimize
    )
    by_layer: dict[int, list[KernelChoice]] = {}
    for choice in compiled.choices:
        by_layer.setdefault(choice.layer, []).append(choice)
    return list(by_layer.values())


@pytest.mark.parametrize("optimize", ["balanced", "speed"])
def test_one_kernel_a_layer_is_chosen_and_none_that_costs_cycles(
    optimize: str, tmp_path: Path
) -> None:
    found = weighed(tmp_path, "qemu-cortex-m4", optimize)
    assert len(found) == 2
    for choices in found:
        (chosen,) = [c for c in choices if c.chosen]
        assert len(choices) > 1 and chosen.cycles is not None
        # What needs more flash than another must need fewer cycles.
        for other in (c for c in choices if c is not chosen):
            assert other.cycles is not None
            assert chosen.cycles < other.cycles or chosen.flash_bytes < other.flash_bytes
    deep = found[0]
    wide = next(c for c in deep if "int16" in c.kernel)
    narrow = next(c for c in deep if "int8 weights" in c.kernel)
    assert wide.instructions < narrow.instructions and wide.cycles > narrow.cycles  # type: ignore[operator]
    assert narrow.chosen


def test_deep_layers_keep_weights_of_a_byte(tmp_path: Path) -> None:
    """Also where sums are too large for two channels in one register."""

    def rows(m: Layers) -> list[Layer]:
        return [m.product(1, 1568, 16), m.product(6, 1568, 16)]

    model = tmp_path / "model.tflite"
    build([rows], 2, model)
    compiled = AotCompiler().compile(
        model, tmp_path / "out", device=find("qemu-cortex-m4"), optimize="balanced"
    )
    chosen = [c for c in compiled.choices if c.chosen]
    assert [c.kernel for c in chosen] == [
        "td_vector_s8_dsp (single int8 weights)",
        "td_matmul_s8_dsp (single int8 weights)",
    ]
    assert all(c.flash_bytes < 1.05 * 1568 * 16 for c in chosen)
    assert [c.layer for c in compiled.choices] == [0, 0, 1, 1]  # those or int16 weights


def test_cores_without_a_table_of_cycles_go_by_instructions(tmp_path: Path) -> None:
    for choices in weighed(tmp_path, "qemu-cortex-m55", "balanced"):
        assert [c.chosen for c in choices] == [True]
        assert choices[0].cycles is None and choices[0].instructions > 0


def test_the_price() -> None:
    def candidate(instructions: float, cycles: float | None, flash: int) -> Candidate:
        weights = {"weights": Data("weights", np.zeros(flash, np.int8))}
        return Candidate(Call("td_k", "td_k", weights, (), 0, 0, ""), instructions, cycles)

    few_instructions, few_cycles = candidate(100, 300, 10), candidate(200, 250, 10)
    both = (few_instructions, few_cycles)
    assert price(few_cycles, both, "speed") < price(few_instructions, both, "speed")
    untimed = candidate(150, None, 10)
    assert price(few_instructions, (*both, untimed), "speed") < price(untimed, both, "speed")
    large = candidate(100, 200, 1000)
    among = (few_cycles, large)
    assert price(large, among, "speed") < price(few_cycles, among, "speed")
    assert price(large, among, "balanced") > price(few_cycles, among, "balanced")
