"""Firmware on emulated boards computes byte for byte what the native build computes.

`test_native.py` shows for the same inputs that the native build is TFLite-Micro's equal; the
MLPerf Tiny models are compared with TFLite-Micro directly.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference import FOLDER, MLPERF_TINY, SMALL, random_inputs, tflm_outputs

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import QemuRunner
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, DeviceProfile

BOARDS = ("qemu-cortex-m0", "qemu-cortex-m4", "qemu-rv32")
TOPOLOGIES = ("dscnn_", "resnet_", "autoencoder_", "streaming_")
# The four topologies run on all three boards, the networks for the other ops on the smallest.
ON_BOARDS = [(b, m) for b in BOARDS for m in SMALL if b == BOARDS[0] or m.startswith(TOPOLOGIES)]

pytestmark = pytest.mark.qemu


def make(model: Path, device: DeviceProfile, folder: Path) -> Build:
    compiled = AotCompiler().compile(model, folder / "source", device=device)
    return PlatformioBuilder().build(compiled, model, device, folder / "build")


def assert_same_bytes(actual: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> None:
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_array_equal(a.view(np.uint8), b.view(np.uint8))


@pytest.mark.parametrize(("board", "name"), ON_BOARDS)
def test_small_models(board: str, name: str, tmp_path: Path) -> None:
    model, device = FOLDER / f"{name}.tflite", find(board)
    build = make(model, device, tmp_path)
    # Two samples over the whole range and two near zero, of those that test_native.py compares.
    inputs = [x[[0, 1, 38, 39]] for x in random_inputs(read_graph(model), 40)]
    outputs, measurement = QemuRunner().run(build, device, inputs)
    assert_same_bytes(outputs, AotCompiler().native(model).predict(inputs))
    assert measurement.instructions is not None and len(measurement.instructions) == 4
    assert measurement.latency_us is None
    assert measurement.arena_bytes == build.footprint.arena_bytes


@pytest.mark.parametrize("board", BOARDS)
def test_two_measurements_are_identical_and_bytes_add_up(board: str, tmp_path: Path) -> None:
    model, device = FOLDER / "dscnn_int8.tflite", find(board)
    build = make(model, device, tmp_path)
    inputs = random_inputs(read_graph(model), 6)
    first, second = (QemuRunner().run(build, device, inputs)[1] for _ in range(2))
    assert first == second
    assert first.instructions is not None and min(first.instructions) > 51_696  # its MACs

    footprint = build.footprint
    text, data, bss = linker_figures(build, device)
    assert sum(footprint.flash.values()) == footprint.flash_bytes == text + data
    assert sum(footprint.ram.values()) == footprint.ram_bytes
    assert footprint.ram_bytes - footprint.ram["stack"] == data + bss
    assert footprint.ram["arena"] == footprint.arena_bytes == first.arena_bytes
    assert first.stack_bytes is not None
    measured = footprint.with_stack(first.stack_bytes)
    assert measured.ram_bytes == data + bss + first.stack_bytes <= device.ram_bytes
    assert footprint.flash_bytes <= device.flash_bytes


def linker_figures(build: Build, device: DeviceProfile) -> tuple[int, int, int]:
    """text, data and bss as binutils' `size` sums them up."""
    command = [f"{device.toolchain_prefix}size", str(build.elf)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text, data, bss = said.splitlines()[1].split()[:3]
    return int(text), int(data), int(bss)


@pytest.mark.shared
@pytest.mark.parametrize("board", [*BOARDS[1:], "qemu-cortex-m55"])
@pytest.mark.parametrize("name", MLPERF_TINY.values(), ids=MLPERF_TINY.keys())
def test_mlperf_tiny(shared: Path, board: str, name: str, tmp_path: Path) -> None:
    """20 random inputs, and 100 recordings for keyword spotting on the Cortex-M4."""
    model, device = shared / "models" / "mlperf_tiny" / f"{name}.tflite", find(board)
    inputs = random_inputs(read_graph(model), 20)
    if name == "kws_ref_model" and board == "qemu-cortex-m4":
        recordings = np.load(shared / "data" / "kws01.npz")["x"][:100]
        inputs = [np.concatenate([inputs[0], recordings])]
    build = make(model, device, tmp_path)
    uncounted = replace(device, counts_instructions=False)  # which is faster
    outputs, measurement = QemuRunner().run(build, uncounted, inputs)
    assert_same_bytes(outputs, tflm_outputs(model, inputs))
    assert measurement.samples == len(inputs[0])
