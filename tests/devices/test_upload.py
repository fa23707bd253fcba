"""Uploads: UF2 files read back, commands taken by the tools themselves, esptool on a mock chip."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from toy import toy_build

from tinydeploy.devices.catalogue import find, load_all
from tinydeploy.devices.upload import commands, run
from tinydeploy.devices.upload.commands import Plan, Target, plan, protocols
from tinydeploy.errors import DeviceError, ToolMissingError, UsageError
from tinydeploy.types import Build

PORT = "/dev/ttyACM0"
BOTH = Target(PORT, "066B")
BOARDS = {name: board for name, board in load_all().items() if board.upload}


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """A folder with everything that an upload may want; no board is asked what it is."""
    for name in ("elf", "bin", "uf2"):
        (tmp_path / f"firmware.{name}").write_bytes(bytes(range(256)) * 5)
    for name in ("bootloader.bin", "partitions.bin"):
        (tmp_path / name).write_bytes(bytes(range(256)) * 5)
    (tmp_path / "project").mkdir()
    return toy_build(tmp_path / "firmware.elf")


# ---------------------------------------------------------------- UF2
def test_uf2_goes_to_the_boot_loaders_drive(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = find("pico")
    way = plan(build, device, Target())
    assert way.command == ("copy", str(tmp_path / "firmware.uf2"), "RPI-RP2")
    monkeypatch.setattr(run, "DRIVE_TIMEOUT_S", 0.0)
    with pytest.raises(DeviceError, match="no UF2 drive 'RPI-RP2' showed up"):
        run.upload(build, device, way)
    drive = tmp_path / "media" / "RPI-RP2"
    drive.mkdir(parents=True)
    assert run.find_drive("RPI-RP2", [tmp_path / "media"]) is None  # any folder may be called so
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\nBoard-ID: RPI-RP2\n")
    assert run.find_drive("RPI-RP2", [tmp_path / "media"]) == drive
    run.upload(build, device, plan(build, device, Target(str(drive))), port=str(drive))
    assert (drive / "firmware.uf2").read_bytes() == (tmp_path / "firmware.uf2").read_bytes()


# ---------------------------------------------------------------- commands
def test_every_board_has_a_way(build: Build) -> None:
    for device in BOARDS.values():
        assert protocols(device)[0] == device.upload["protocol"], device.name
        way = plan(build, device, Target(PORT))
        assert way.protocol == device.upload["protocol"]


def test_commands_of_the_tools(build: Build, tmp_path: Path) -> None:
    def words(board: str, protocol: str, target: Target = BOTH) -> str:
        command = plan(build, find(board), target, protocol).command
        return " ".join(command).replace(sys.executable, "python").replace(str(tmp_path), "DIR")

    assert words("nucleo-l4r5zi", "openocd") == (
        "openocd -f board/st_nucleo_l4.cfg -c adapter serial {066B} "
        "-c program {DIR/firmware.elf} verify reset exit"
    )
    assert words("nrf52840-dk", "pyocd") == (
        "python -m pyocd load --target nrf52840 --format elf --uid 066B DIR/firmware.elf"
    )
    assert words("esp32-devkitc", "esptool") == (
        "python -m esptool --chip esp32 --port /dev/ttyACM0 --baud 460800 write-flash "
        "0x1000 DIR/bootloader.bin 0x8000 DIR/partitions.bin 0x10000 DIR/firmware.bin"
    )
    assert words("arduino-portenta-h7", "dfu-util") == (
        "dfu-util --wait --device 2341:035b --serial 066B --alt 0 "
        "--dfuse-address 0x08040000:leave --download DIR/firmware.bin"
    )
    assert words("teensy-4-1", "platformio") == (
        "python -m platformio run --project-dir DIR/project --environment teensy-4-1-measure "
        "--target upload --upload-port /dev/ttyACM0"
    )


def test_what_cannot_be_uploaded(build: Build, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be uploaded to by uf2") as caught:
        plan(build, find("nucleo-l4r5zi"), Target(), "uf2")
    assert "openocd, platformio" in caught.value.hint
    with pytest.raises(UsageError, match="knows no upload"):
        plan(build, find("nrf5340-dk"), Target())
    with pytest.raises(UsageError, match="needs a port"):
        plan(build, find("esp32-devkitc"), Target())
    with pytest.raises(UsageError, match="OpenOCD cannot take the probe's number"):
        plan(build, find("nucleo-l4r5zi"), Target(probe="1} ; shutdown"))
    (tmp_path / "firmware.elf").unlink()
    with pytest.raises(UsageError, match=r"firmware\.elf is missing"):
        plan(build, find("pico"), Target())


# ---------------------------------------------------------------- the tools' own parsers
def test_pyocd_takes_the_commands(build: Build) -> None:
    from pyocd.__main__ import PyOCDTool
    from pyocd.target import TARGET

    for device in BOARDS.values():
        if "pyocd" in protocols(device):
            words = plan(build, device, Target(probe="1234"), "pyocd").command[3:]
            parsed = PyOCDTool().build_parser().parse_args(words)
            assert parsed.target_override in TARGET, device.name
            assert (parsed.cmd, parsed.unique_id) == ("load", "1234")


def test_platformio_takes_the_commands(build: Build) -> None:
    from platformio.run.cli import cli

    words = plan(build, find("arduino-due"), Target(PORT)).command
    parsed = cli.make_context("run", list(words[4:])).params
    assert parsed["upload_port"] == PORT and parsed["target"] == ("upload",)
    assert parsed["environment"] == ("arduino-due-measure",)


CONFIGS = sorted({b.upload["openocd_config"] for b in BOARDS.values() if "openocd" in protocols(b)})


@pytest.mark.skipif(shutil.which("openocd") is None, reason="needs openocd")
@pytest.mark.parametrize("config", CONFIGS)
def test_openocd_takes_the_commands(config: str, build: Build) -> None:
    """Every configuration is read to its end: OpenOCD gives up only where it opens the probe."""
    name = next(n for n, b in BOARDS.items() if b.upload.get("openocd_config") == config)
    way = plan(build, BOARDS[name], Target(probe="1234"), "openocd")
    done = subprocess.run(way.command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert re.search(
        r"open failed|unable to find a matching CMSIS-DAP|No J-Link device found", done.stderr
    ), done.stderr
    assert not re.search(r"invalid command|Can't find|syntax|not allowed", done.stderr)


# ---------------------------------------------------------------- running them
@contextmanager
def mock_chip(chip: str, folder: Path) -> Iterator[str]:
    """A pseudo-terminal behind which a chip's boot loader answers."""
    path = folder / "port"
    main = "from esp32_mock_bootloader.cli import main; main()"
    command = [sys.executable, "-c", main, "run", "--pty", "--chip", chip]
    process = subprocess.Popen(
        [*command, "--port-file", str(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        while not (path.is_file() and path.read_text().strip()):
            assert process.poll() is None, process.stdout and process.stdout.read()
        yield path.read_text().strip()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("board", ["esp32-devkitc", "xiao-esp32s3", "esp32-c3-devkitm-1"])
def test_esptool_writes_to_a_mock_chip(board: str, build: Build, tmp_path: Path) -> None:
    device = find(board)
    said: list[str] = []
    with mock_chip(device.upload["esptool_chip"], tmp_path) as port:
        run.upload(
            build, device, plan(build, device, Target(port)), port=port, progress=said.append
        )
    text = "\n".join(said)
    assert text.count("Hash of data verified") == 3
    assert f"at 0x{commands.ESP32_APP:08x}" in text


def test_failures_are_said_in_the_tools_words(build: Build, tmp_path: Path) -> None:
    device = find("esp32-devkitc")
    with pytest.raises(DeviceError, match=r"(?i)could not open") as caught:
        run.upload(build, device, plan(build, device, Target(str(tmp_path / "no-port"))))
    assert "port right" in caught.value.hint
    with pytest.raises(ToolMissingError, match="not on PATH") as missing:
        run.run_tool(["dfu-util-that-is-not-there"], lambda _: None)
    assert missing.value.hint
    with pytest.raises(ToolMissingError, match="no_such_module is not installed"):
        run.run_tool([sys.executable, "-m", "no_such_module"], lambda _: None)


def test_a_tool_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT_S", 0.2)
    with pytest.raises(DeviceError, match="did not end within"):
        run.run_tool(["sleep", "1000"], lambda _: None)


def test_the_touch_opens_at_1200_baud() -> None:
    host, board = pty.openpty()
    try:
        run.touch(os.ttyname(board))
        assert termios.tcgetattr(host)[4] == termios.B1200
    finally:
        os.close(host)
        os.close(board)
    with pytest.raises(DeviceError, match="does not open"):
        run.touch("/dev/no-such-port")


def test_a_copy_to_a_drive_that_goes_away_is_a_success(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A board resets with the last block, while the host still holds the file open."""
    drive = tmp_path / "drive"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader")

    def vanish(path: Path, data: bytes) -> None:
        (drive / "INFO_UF2.TXT").unlink()
        drive.rmdir()
        raise OSError("Input/output error")

    monkeypatch.setattr(run, "_write_through", vanish)
    way = Plan("uf2", ("copy", str(tmp_path / "firmware.uf2"), str(drive)))
    run.upload(build, find("pico"), way, port=str(drive))


def test_other_boards_of_the_user(build: Build) -> None:
    device = replace(find("nucleo-l4r5zi"), upload={"protocol": "dfu-util"})
    with pytest.raises(UsageError, match="cannot be uploaded to by dfu-util"):
        plan(build, device, Target())
