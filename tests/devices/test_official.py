"""Building with PlatformIO's own platforms: a missing one is said, one that is there used."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builds import SMALL_MODEL, compile_small
from standin import FIRMWARE, OURS, STAND_IN

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices import official, project
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.emulator import Emulator
from tinydeploy.devices.link import open_link
from tinydeploy.devices.measure import measure
from tinydeploy.devices.platformio import PlatformioBuilder, load_build
from tinydeploy.devices.session import Session
from tinydeploy.errors import DeviceError, ToolMissingError, UsageError
from tinydeploy.types import Build

BOARD = "nucleo-l4r5zi"
PLATFORM = Path(__file__).parent / "data" / "ststm32"


@pytest.fixture
def core_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PlatformIO folder of our own, without any platform."""
    folder = tmp_path / "platformio"
    monkeypatch.setenv("PLATFORMIO_CORE_DIR", str(folder))
    return folder


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No registry, wherever the test runs: addresses that nobody can reach."""
    monkeypatch.setattr("platformio.__registry_mirror_hosts__", ["registry.invalid"])
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


def install_stand_in(core_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins of ststm32 and of PlatformIO's own SCons, as PlatformIO installs them."""
    spec = {"owner": "platformio", "id": None, "name": "ststm32", "requirements": None, "uri": None}
    described = {"type": "platform", "name": "ststm32", "version": "19.6.0", "spec": spec}
    shutil.copytree(PLATFORM, core_dir / "platforms" / "ststm32")
    (core_dir / "platforms" / "ststm32" / ".piopm").write_text(json.dumps(described))
    with project.opened(find("qemu-cortex-m4"), "balanced") as held:
        shutil.copytree(
            held.folder / project.CORE_DIR / "packages", core_dir / "packages", dirs_exist_ok=True
        )
    monkeypatch.setenv("STAND_IN_FIRMWARE", str(FIRMWARE))
    monkeypatch.setenv("STAND_IN_CORE", str(STAND_IN))
    monkeypatch.setenv("STAND_IN_NAMES", " ".join(OURS))


def build(board: str, folder: Path) -> Build:
    device = find(board)
    compiled = compile_small(SMALL_MODEL, device, folder)
    return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "out")


def test_a_missing_platform_is_said(core_dir: Path, offline: None, tmp_path: Path) -> None:
    with pytest.raises(ToolMissingError, match=r"no platformio/ststm32@19\.6\.0") as caught:
        build(BOARD, tmp_path)
    assert "pio pkg install -g -p 'platformio/ststm32@19.6.0'" in caught.value.hint
    assert "--export" in caught.value.hint
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_said(
    core_dir: Path, offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_stand_in(core_dir, monkeypatch)
    path = core_dir / "platforms" / "ststm32" / "platform.json"
    data = json.loads(path.read_text())
    data["packages"] = {"toolchain-gccarmnoneeabi": {"type": "toolchain", "version": "~1.0"}}
    path.write_text(json.dumps(data))
    with pytest.raises(ToolMissingError, match="no toolchain-gccarmnoneeabi"):
        build(BOARD, tmp_path)
    shutil.rmtree(core_dir / "packages")
    with pytest.raises(ToolMissingError, match="no tool-scons"):
        build(BOARD, tmp_path)


def test_the_probe_does_not_wait_for_a_silent_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    hangs = threading.Event()

    def hang(*_: object) -> None:
        hangs.wait()
        raise OSError("no such name")

    monkeypatch.setattr("socket.create_connection", hang)
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(official, "PROBE_S", 0.05)
    assert not official.registry_answers()
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert official.registry_answers()
    hangs.set()


@pytest.mark.qemu
def test_firmware_of_an_installed_platform_runs(
    core_dir: Path, offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way through PlatformIO, with stand-ins for ST's platform and Arduino core."""
    install_stand_in(core_dir, monkeypatch)
    built = build(BOARD, tmp_path)
    assert load_build(built.directory) == built
    assert built.compiler == "platformio/ststm32@19.6.0"
    sizes = built.footprint
    assert sizes.flash["weights"] > 1000 and sizes.flash["engine_code"] > 1000
    assert sizes.flash["protocol"] > 1000 and sizes.flash["libc_startup"] > 100
    assert sizes.ram["arena"] == sizes.arena_bytes == built.footprint.arena_bytes
    assert sum(sizes.flash.values()) == sizes.flash_bytes
    assert (built.directory / "project" / "platformio.ini").is_file()
    assert (built.directory / "firmware.bin").stat().st_size <= sizes.flash_bytes + 64
    device = replace(find("qemu-cortex-m4"), name=BOARD, counts_instructions=False)
    x = [np.random.default_rng(0).integers(-128, 128, (2, 20, 10, 1)).astype(np.int8)]
    with Emulator(built.elf, device) as emulator, open_link(emulator.url) as link:
        outputs, _ = measure(Session(link, infer_timeout_s=60), built, device, x)
    wanted = AotCompiler().native(SMALL_MODEL).predict(x)
    assert [o.tobytes() for o in outputs] == [w.tobytes() for w in wanted]

    monkeypatch.setenv("STAND_IN_CORE", os.devnull)
    with pytest.raises(DeviceError, match="does not build"):
        build(BOARD, tmp_path)


def test_boards_that_nobody_builds_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="neither PlatformIO nor tinydeploy") as caught:
        build("xiao-nrf54l15", tmp_path)
    assert "--export" in caught.value.hint


@pytest.mark.parametrize("board", ["nrf52840-dk", "hifive1-revb"])
def test_boards_of_our_own_start_up_code(board: str, tmp_path: Path) -> None:
    built = build(board, tmp_path)
    assert built.footprint.flash_bytes < find(board).flash_bytes
    assert (built.directory / "firmware.bin").is_file()
