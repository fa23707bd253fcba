"""Profiles: the layers of an inference add up to the whole, on emulated boards and by a clock."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL, Small

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import counter
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.loopback import LoopbackRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.devices.protocol import Answer, ProtocolError
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build

GRAPH = read_graph(SMALL_MODEL)
MOVES_ONLY = {"RESHAPE", "SQUEEZE"}


def one_input() -> list[np.ndarray]:
    shape = GRAPH.tensors[GRAPH.inputs[0]].shape[1:]
    return [np.random.default_rng(4).integers(-128, 128, (1, *shape), dtype=np.int8)]


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Build]:
    """The small model built with marks for a board, once a board."""

    @functools.cache
    def build(board: str) -> Build:
        folder, device = tmp_path_factory.mktemp(board), find(board)
        compiled = AotCompiler().compile(
            SMALL_MODEL, folder / "source", device=device, profile=True
        )
        return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "build")

    return build


@pytest.mark.qemu
@pytest.mark.parametrize("board", ["qemu-cortex-m4", "qemu-rv32"])
def test_layers_add_up_to_the_plain_firmware(
    board: str, small: Small, marked: Callable[[str], Build]
) -> None:
    device, x = find(board), one_input()
    _, whole = QemuRunner().run(small(board), device, x)
    profile = QemuRunner().profile(marked(board), device, x)
    assert whole.instructions is not None and whole.cycles_model is not None
    layers = sum(layer.instructions or 0 for layer in profile.layers)
    assert layers == pytest.approx(whole.instructions[0], rel=0.01)
    assert profile.instructions == pytest.approx(whole.instructions[0], rel=0.001)
    cycles = sum(layer.cycles_model or 0 for layer in profile.layers)
    assert cycles == pytest.approx(whole.cycles_model, rel=0.01)
    work = {op.index for op in GRAPH.ops if op.name not in MOVES_ONLY}
    assert {layer.layer for layer in profile.layers} <= {op.index for op in GRAPH.ops}
    assert work <= {layer.layer for layer in profile.layers}
    assert profile.origin == {"instructions": "emulated", "cycles_model": "estimated"}


@pytest.mark.qemu
def test_says_where_the_instructions_of_a_layer_go(marked: Callable[[str], Build]) -> None:
    device = find("qemu-cortex-m4")
    profile = QemuRunner().profile(marked(device.name), device, one_input())
    slowest = max(profile.layers, key=lambda layer: layer.instructions or 0)
    assert sum(slowest.classes.values()) == slowest.instructions
    assert slowest.classes["ld"] + slowest.classes.get("ldm", 0) > 0
    assert sum(slowest.functions.values()) == pytest.approx(slowest.instructions, rel=0.01)
    assert any(name.startswith("td_") for name in slowest.functions)


@pytest.mark.qemu
def test_a_board_that_counts_nothing_is_refused(marked: Callable[[str], Build]) -> None:
    device = replace(find("qemu-cortex-m4"), counts_instructions=False)
    with pytest.raises(UsageError, match="counts no instructions"):
        QemuRunner().profile(marked(device.name), device, one_input())


def test_a_board_with_a_clock_times_its_layers(marked: Callable[[str], Build]) -> None:
    device = replace(find("loopback"), emulator={})  # no script: the computer's own clock
    profile = LoopbackRunner().profile(marked(device.name), device, one_input())
    assert {layer.layer for layer in profile.layers} >= {
        op.index for op in GRAPH.ops if op.name not in MOVES_ONLY
    }
    times = [layer.latency_us for layer in profile.layers]
    assert None not in times and profile.latency_us is not None
    assert sum(t or 0.0 for t in times) <= profile.latency_us
    assert profile.instructions is None and profile.origin == {"latency_us": "measured"}


@pytest.mark.qemu
def test_refuses_firmware_without_marks(small: Small) -> None:
    device = find("qemu-cortex-m4")
    with pytest.raises(UsageError, match="mark"):
        QemuRunner().profile(small("qemu-cortex-m4"), device, one_input())


def test_a_plain_build_has_no_trace_of_a_profile(tmp_path: Path) -> None:
    compiled = AotCompiler().compile(SMALL_MODEL, tmp_path / "source")
    assert compiled.profiled_layers == 0
    assert all("profile" not in (tmp_path / "source" / n).read_text() for n in compiled.files)


COUNTS = "instructions={n} cycles={n} alu={n} classified={n}"


@pytest.mark.parametrize(
    "damaged",
    [
        "layer=0 begun=1 instructions=3",
        "layer=0 begun=1 " + COUNTS.format(n=3).replace("classified=3", "classified=4"),
        "layer=0 " + COUNTS.format(n=3),
        "code=16 layer=0",
        "code=x layer=0 instructions=1",
    ],
)
def test_a_damaged_report_of_layers_is_refused(damaged: str, tmp_path: Path) -> None:
    report = tmp_path / "regions.txt"
    good = f"layer=0 begun=2 {COUNTS.format(n=7)}\ncode=16 layer=0 instructions=7"
    regions = [f"region={i} {COUNTS.format(n=7)}" for i in range(2)]
    report.write_text("\n".join([regions[0], good, regions[1], ""]))
    layers = counter.read_layers(report)
    assert layers.begun == {0: 2} and layers.code == {0: {16: 7}}
    assert layers.regions[0].instructions == 7
    report.write_text("\n".join([regions[0], damaged, regions[1], ""]))
    with pytest.raises(DeviceError, match="makes no sense"):
        counter.read_layers(report)


@pytest.mark.parametrize("text", ["", "1,", ",1", "-1", "1,,2", "a", "99999999999"])
def test_numbers_of_layers_are_checked(text: str) -> None:
    assert Answer(1, {"us": "0,4294967295"}).numbers("us") == [0, 4294967295]
    with pytest.raises(ProtocolError):
        Answer(1, {"us": text}).numbers("us")
