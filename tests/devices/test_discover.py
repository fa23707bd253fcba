"""Which boards are plugged in: records as pyserial gives them, and firmware that answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from plugged_line import PluggedLine
from serial.tools.list_ports_common import ListPortInfo
from toy import BUILD_ID, compile_toy, toy_board

from tinydeploy.devices import discover
from tinydeploy.devices.catalogue import load_all
from tinydeploy.devices.discover import SerialDevice, find_port, from_record, port_of, scan
from tinydeploy.devices.lock import held
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.errors import LinkError


def record(device: str, **facts: object) -> ListPortInfo:
    info = ListPortInfo(device, skip_link_detection=True)
    for name, value in facts.items():
        setattr(info, name, value)
    return info


# What list_ports.comports() says of two Nucleos, an ESP32, a Pico, a phone and a mainboard's UART.
RECORDS = [
    record("/dev/ttyACM0", vid=0x0483, pid=0x374B, serial_number="066BFF514852878667114321",
           product="STM32 STLink", manufacturer="STMicroelectronics"),
    record("/dev/ttyACM1", vid=0x0483, pid=0x374B, serial_number="0670FF485550755187121723",
           product="STM32 STLink", manufacturer="STMicroelectronics"),
    record("/dev/ttyUSB0", vid=0x10C4, pid=0xEA60, serial_number="0001",
           product="CP2102N USB to UART Bridge Controller", manufacturer="Silicon Labs"),
    record("/dev/ttyACM2", vid=0x2E8A, pid=0x000A, serial_number="E6614C311B7F4A2D",
           product="Pico"),
    record("/dev/ttyACM3", vid=0x18D1, pid=0x4EE7, serial_number=None, product="Pixel 6"),
    record("/dev/ttyS0", vid=None, pid=None, serial_number=None, product=None, description="n/a"),
]  # fmt: skip
DEVICES = [from_record(r) for r in RECORDS]
NUCLEO = load_all()["nucleo-l4r5zi"]


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("toy")
    elf = compile_toy(folder / "firmware", "-DTD_PORT_HAS_ENERGY")
    with NativeFirmware(elf) as firmware, PluggedLine(firmware.url, folder / "ttyACM9") as line:
        yield str(line.path)


def test_usb_ids_name_the_boards_that_it_could_be() -> None:
    found = {f.device.port: f for f in scan(load_all().values(), ask=False, lister=lambda: DEVICES)}
    assert list(found) == [r.device for r in RECORDS]
    assert {"nucleo-l4r5zi", "nucleo-f446re"} <= set(found["/dev/ttyACM0"].boards)
    assert "esp32-devkitc" in found["/dev/ttyUSB0"].boards
    assert "pico" in found["/dev/ttyACM2"].boards
    assert found["/dev/ttyACM3"].boards == found["/dev/ttyS0"].boards == ()


def test_strangers_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def refuse(port: str, **_: object) -> None:
        opened.append(port)
        raise LinkError(f"cannot open {port}: Permission denied", hint="dialout")

    monkeypatch.setattr(discover, "open_link", refuse)
    found = scan(load_all().values(), lister=lambda: DEVICES)
    assert sorted(opened) == ["/dev/ttyACM0", "/dev/ttyACM1", "/dev/ttyACM2", "/dev/ttyUSB0"]
    assert [f.hint for f in found] == ["dialout"] * 4 + [""] * 2


def test_a_board_says_who_it_is(board: str) -> None:
    toy = dataclasses.replace(toy_board(), usb=("1234:5678",))
    (found,) = scan([toy], lister=lambda: [SerialDevice(board, "1234:5678", "A1")])
    assert found.boards == ("loopback",)
    assert found.identity is not None
    assert found.identity.build_id == BUILD_ID
    (found,) = scan([], ports=[board], lister=list)
    assert found.identity is not None


def test_a_board_in_use_says_by_whom(board: str) -> None:
    with held(board):
        (found,) = scan([], ports=[board], lister=list)
    assert "in use by process" in found.problem


def test_serial_numbers_tell_two_boards_of_one_kind_apart() -> None:
    for device in DEVICES[:2]:
        assert find_port(device.serial_number.lower(), lambda: DEVICES) == device.port
    with pytest.raises(LinkError, match="no board with the serial number '066B'") as caught:
        find_port("066B", lambda: DEVICES)
    assert "066BFF514852878667114321 (/dev/ttyACM0)" in caught.value.hint


@pytest.mark.parametrize("name", ["/dev/ttyACM7", "socket://h:1", "COM3", "loop://", r"\\.\COM10"])
def test_ports_and_urls_mean_themselves(name: str) -> None:
    assert find_port(name, list) == name


def test_the_port_of_a_board() -> None:
    assert port_of(NUCLEO, "", lambda: DEVICES[1:]) == "/dev/ttyACM1"
    with pytest.raises(LinkError, match="no nucleo-l4r5zi is plugged in"):
        port_of(NUCLEO, "", lambda: DEVICES[2:])
    with pytest.raises(LinkError, match=r"2 ports could be .*066BFF.* on /dev/ttyACM0") as caught:
        port_of(NUCLEO, "", lambda: DEVICES)
    assert "--port" in caught.value.hint


def test_of_several_ports_the_one_that_runs_the_build_is_meant(board: str) -> None:
    toy = dataclasses.replace(toy_board(), usb=("1234:5678",))
    ports = [SerialDevice("/dev/ttyNONE", "1234:5678"), SerialDevice(board, "1234:5678")]
    assert port_of(toy, BUILD_ID, lambda: ports) == board
    with pytest.raises(LinkError, match="2 ports"):
        port_of(toy, "9" * 64, lambda: ports)


def test_this_machine_s_ports_can_be_listed() -> None:
    assert all(isinstance(device, SerialDevice) for device in discover.attached())
