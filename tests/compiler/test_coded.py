"""Weights in fewer bits: the same outputs as TFLite-Micro's, in less flash."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from apart import plan_apart
from comparing import exposed, random_inputs
from few_bits import DRAWS, few_bits_model
from random_layers import LAYERS, LayerMaker
from test_overlap import deep

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.lower.coded import coded, decode, encode
from tinydeploy.compiler.native import NativePredictor
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.pipeline.interpreters import TfliteMicro
from tinydeploy.tflite import read_graph

CASES = {**LAYERS, "deep": deep}
CODED = [kind for kind in DRAWS if kind != "dense"]


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("size", [1, 2, 7, 64, 1001])
def test_codes_hold_the_weights(kind: str, size: int) -> None:
    weights = DRAWS[kind](np.random.default_rng(size), (size,))
    np.testing.assert_array_equal(decode(encode(weights), size), weights)


@pytest.mark.parametrize("values", [[0] * 9, [-128] * 9, [0, 5] * 9, list(range(-128, 128))])
def test_codes_of_extremes(values: list[int]) -> None:
    weights = np.array(values, np.int8)
    code = encode(weights)
    np.testing.assert_array_equal(decode(code, weights.size), weights)
    assert code.size_bytes <= max(weights.size, 3)


@pytest.mark.parametrize("optimize", ["size", "balanced"])
@pytest.mark.parametrize(("kind", "int4"), [(k, False) for k in DRAWS] + [("four_bits", True)])
def test_every_layer_equals_tflite_micro(
    kind: str, int4: bool, optimize: str, tmp_path: Path
) -> None:
    model = tmp_path / "model.tflite"
    model.write_bytes(few_bits_model(kind, int4=int4))
    every = exposed(model, tmp_path)
    inputs = random_inputs(every, 6)
    with TfliteMicro(every) as reference:
        expected = reference.predict(inputs)
    outputs = AotCompiler().native(every, optimize=optimize).predict(inputs)
    for ours, theirs in zip(outputs, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert len(np.unique(expected[0])) > 5


@pytest.mark.parametrize("name", ["conv", "deep", "depthwise", "fully_connected"])
def test_random_layers_and_how_far_their_outputs_reach(name: str, tmp_path: Path) -> None:
    """Equal to TFLite-Micro, also with every output as far over its input as overlap.py allows."""
    model = tmp_path / "model.tflite"
    model.write_bytes(LayerMaker(7, "int8").build(CASES[name], 24))
    inputs = random_inputs(model, 5)
    with TfliteMicro(model) as reference:
        expected = reference.predict(inputs)
    graph, target = read_graph(model), Target(optimize="size")
    lowered = lower(graph, target)
    candidates = [coded(call) for call in lowered.calls]
    calls = tuple(c.call for c in candidates if c)
    assert len(calls) == len(lowered.calls)
    program = dataclasses.replace(lowered, calls=calls)
    assert all(call.kernel.endswith("_coded") for call in program.calls)
    for squeeze in (False, True):
        plan = plan_apart(program, squeeze=squeeze, unit=1)
        outputs = NativePredictor(graph, emit(graph, program, plan)).predict(inputs)
        for ours, theirs in zip(outputs, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_only_size_codes_weights(tmp_path: Path) -> None:
    """`balanced` keeps its kernels, whatever the weights; `size` keeps them for dense ones."""
    device = find("qemu-cortex-m4")
    for kind in DRAWS:
        model = tmp_path / f"{kind}.tflite"
        model.write_bytes(few_bits_model(kind))
        for level in ("balanced", "size"):
            made = AotCompiler().compile(
                model, tmp_path / f"{kind}_{level}", device=device, optimize=level
            )
            used = "_coded" in (made.directory / "td_model.c").read_text()
            assert used == (level == "size" and kind in CODED), (kind, level)
            chosen = [c for c in made.choices if c.chosen and "_coded" in c.kernel]
            assert bool(chosen) == used


@pytest.mark.parametrize("kind", ["pruned", "clustered"])
def test_flash_on_a_board_is_smaller(kind: str, tmp_path: Path) -> None:
    """The linker's own figures, the kernels' code included; and the board computes the same."""
    device = find("qemu-cortex-m4")
    flash, outputs = {}, {}
    model = tmp_path / "model.tflite"
    model.write_bytes(few_bits_model(kind))
    inputs = random_inputs(model, 3)
    for level in ("size", "balanced"):
        compiled = AotCompiler().compile(model, tmp_path / level, device=device, optimize=level)
        build = PlatformioBuilder().build(compiled, model, device, tmp_path / f"build_{level}")
        footprint = build.footprint.flash
        flash[level] = footprint["weights"] + footprint["tables"] + footprint["engine_code"]
        outputs[level] = QemuRunner().run(build, device, inputs)[0][0]
    assert flash["size"] < flash["balanced"]
    np.testing.assert_array_equal(outputs["size"], outputs["balanced"])
