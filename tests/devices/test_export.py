"""Exported projects: complete, compiled for every core, and computing what the host computes."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from builds import MODELS, SMALL_MODEL
from standin import arduino_board, export, link, project_objects

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find, load_all
from tinydeploy.devices.emulator import Emulator
from tinydeploy.devices.example import pattern
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.errors import UsageError
from tinydeploy.results import SUMS_FILE
from tinydeploy.tflite import read_graph

TWO_INPUTS = MODELS / "two_inputs_int8.tflite"
# One real board a core; Xtensa has no compiler here.
ONE_A_CORE = (
    "pico", "arduino-due", "nucleo-l4r5zi", "teensy-4-1", "nucleo-u575zi-q",
    "esp32-c3-devkitm-1", "esp32-c6-devkitc-1", "frdm-k64f",
)  # fmt: skip
EMULATED = [f"qemu-cortex-m{n}" for n in (0, 3, 4, 7, 33, 55)] + ["qemu-rv32"]


def expected(model: Path) -> list[list[float]]:
    """What the host computes of the example's input."""
    graph = read_graph(model)
    inputs = []
    for t in (graph.tensors[i] for i in graph.inputs):
        values = np.array(pattern(t.elements), np.int64).astype(t.dtype)
        inputs.append(values.reshape((1, *t.shape[1:])))
    return [output.reshape(-1).tolist() for output in AotCompiler().native(model).predict(inputs)]


def shown(text: str) -> list[list[float]]:
    """The outputs that an example printed last, complete lines only."""
    lines = re.findall(r"^out\d*:((?: \S+)+)\r?$", text, re.MULTILINE)
    return [[float(v) for v in line.split()] for line in lines]


# ---------------------------------------------------------------- what is in it
def test_a_project_is_complete(tmp_path: Path) -> None:
    project = export(SMALL_MODEL, find("nucleo-h7a3zi-q"), tmp_path)
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(project / "platformio.ini")
    common = ini["env"]
    assert common["platform"] == "platformio/ststm32@19.6.0"
    assert (common["framework"], common["board"]) == ("arduino", "nucleo_h743zi")
    assert common["board_build.mcu"] == "stm32h7a3zit6q"
    assert ini["platformio"]["default_envs"] == "nucleo-h7a3zi-q"
    assert ini["env:nucleo-h7a3zi-q-measure"]["build_src_filter"] == "+<../measure/>"
    library = json.loads((project / "lib/td_model/library.json").read_text())
    assert "-ffp-contract=off" in library["build"]["flags"]
    header = (project / "lib/td_model/td_model.h").read_text()
    assert "void td_model_invoke(const int8_t *in, int8_t *out);" in header
    assert (
        "void td_model_invoke(const int8_t *in, int8_t *out);"
        in (project / "README.md").read_text()
    )
    for path in project.rglob("*"):
        assert path.is_dir() or str(tmp_path) not in path.read_text()


def test_platformio_reads_every_project(tmp_path: Path) -> None:
    """PlatformIO's own parser takes platformio.ini of every board that has one."""
    from platformio.project.config import ProjectConfig

    compiled = AotCompiler().compile(SMALL_MODEL, tmp_path / "source")
    boards = [b for b in load_all().values() if b.platformio]
    assert len(boards) >= 24
    for device in boards:
        folder = tmp_path / device.name
        PlatformioBuilder().export(compiled, SMALL_MODEL, device, folder)
        config = ProjectConfig(str(folder / "platformio.ini"))
        config.validate()
        assert config.envs() == [device.name, f"{device.name}-measure"]
        for env in config.envs():
            assert config.get(f"env:{env}", "platform")
            assert config.get(f"env:{env}", "monitor_speed") == device.baud


def test_boards_without_a_platform_get_the_library(tmp_path: Path) -> None:
    project = export(TWO_INPUTS, find("xiao-nrf54l15"), tmp_path)
    assert sorted(p.name for p in project.iterdir()) == ["README.md", SUMS_FILE, "lib", "src"]


def test_frameworks_without_a_port_are_refused(tmp_path: Path) -> None:
    board = find("nucleo-l4r5zi")
    with pytest.raises(UsageError, match="no port for the framework 'zephyr'"):
        export(
            SMALL_MODEL,
            replace(board, platformio={**board.platformio, "framework": "zephyr"}),
            tmp_path,
        )
    with pytest.raises(UsageError, match=r"there is no port other\.cpp"):
        export(SMALL_MODEL, replace(board, port="other"), tmp_path)
    assert not (tmp_path / "project").exists()


# ---------------------------------------------------------------- what it computes
@pytest.mark.parametrize("model", [SMALL_MODEL, TWO_INPUTS, MODELS / "dscnn_float32.tflite"])
def test_the_api_computes_on_the_host(model: Path, tmp_path: Path) -> None:
    project = export(model, find("host"), tmp_path)
    library = project / "lib" / "td_model"
    command = ["cc", "-std=c11", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{library}"]
    sources = [project / "src" / "main.c", *library.glob("*.c")]
    subprocess.run([*command, *sources, "-o", tmp_path / "example"], check=True)
    said = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=True)
    found = shown(said.stdout)
    assert len(found) == len(expected(model))
    for values, wanted in zip(found, expected(model), strict=True):
        assert values == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("board", ONE_A_CORE)
def test_projects_compile_for_every_core(board: str, tmp_path: Path) -> None:
    """With a stand-in for the framework's headers: Arduino's or Mbed's own is not here."""
    device = find(board)
    project = export(SMALL_MODEL, device, tmp_path)
    objects = project_objects(project, device, "measure", tmp_path / "objects", "-O0")
    assert {"td_engine.o", "td_model.o", "td_link.o", f"{device.port}.o"} <= {
        o.name for o in objects
    }


@pytest.mark.qemu
@pytest.mark.parametrize("board", EMULATED)
def test_the_example_computes_what_the_host_computes(board: str, tmp_path: Path) -> None:
    device = arduino_board(board)
    project = export(SMALL_MODEL, device, tmp_path)
    objects = project_objects(project, device, "src", tmp_path / "objects")
    elf = link(objects, find(board), tmp_path / "link")
    with Emulator(elf, find(board)) as emulator:
        line = serial.serial_for_url(emulator.url, timeout=20)
        said = b""
        while b"microseconds" not in said:
            received = line.read(1)
            assert received, said
            said += received
        line.close()
    assert shown(said.decode()) == expected(SMALL_MODEL)
