"""Board files: the shipped ones, and what is said about a wrong one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinydeploy.devices.boardfile import load
from tinydeploy.devices.catalogue import SHIPPED, find, load_all, matching
from tinydeploy.errors import UsageError

QEMU_BOARDS = [f"qemu-cortex-m{n}" for n in (0, 3, 33, 4, 55, 7)] + ["qemu-rv32"]
RENODE_BOARDS = [
    f"renode-{chip}"
    for chip in ("fe310", "nrf52840", "same70", "stm32f4", "stm32f746", "stm32h743")
]

GOOD = """\
description = "A board"
core = "cortex-m4"
platform = "qemu"
port = "cmsdk"
clock_hz = 1_000_000
flash_bytes = 0x1000
ram_bytes = 0x800
flash_origin = 0
ram_origin = 0x2000_0000
toolchain_prefix = "arm-none-eabi-"
arch_flags = ["-mcpu=cortex-m4"]
fpu = true

[defines]
TD_LINE_BYTES = "80"

[emulator]
system = "qemu-system-arm"
machine = "mps2-an386"
"""


def write(folder: Path, text: str, name: str = "mine") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return path


CORES = (
    "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55",
    "xtensa-lx6", "xtensa-lx7", "rv32imc", "rv32imac",
)  # fmt: skip


def test_shipped_boards(root: Path) -> None:
    boards = load_all()
    emulated = [name for name, board in boards.items() if not board.real]
    assert emulated == sorted(["host", "loopback", *QEMU_BOARDS, *RENODE_BOARDS])
    for name, board in boards.items():
        assert board.name == name and board.description
        assert board.source == str(SHIPPED / f"{name}.toml")
        if board.port:
            assert [*(root / "firmware" / "ports").glob(f"{board.port}.c*")]
    for name in QEMU_BOARDS:
        assert boards[name].counts_instructions and not boards[name].measures_time


def test_shipped_real_boards() -> None:
    boards = [board for board in load_all().values() if board.real]
    assert len(boards) >= 24
    assert {board.core for board in boards} == set(CORES)
    for board in boards:
        assert board.measures_time and not board.counts_instructions, board.name
        assert board.sources["board"].startswith("https://"), board.name
        assert not board.tested_on_hardware, "says who tried it, and how"
        assert board.fpu == (board.core not in _WITHOUT_FPU), board.name
        assert board.dsp == (board.core in _WITH_DSP), board.name
        # A platform without a version is another one tomorrow.
        version = board.platformio.get("version", "1.0.0")
        assert re.fullmatch(r"\d+\.\d+\.\d+|https://\S+#[0-9a-f]{40}", version), board.name
    measured = {board.name: board.active_mw for board in boards if board.active_mw}
    assert measured["nucleo-l4r5zi"] == 44.3 and len(measured) >= 8


_WITH_DSP = ("cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")
_WITHOUT_FPU = ("cortex-m0plus", "cortex-m3", "rv32imc", "rv32imac")


def test_boards_are_filtered() -> None:
    boards = [*load_all().values()]
    assert {b.name for b in matching(boards, core="xtensa")} == {
        "esp32-devkitc", "esp32-s3-devkitc-1", "xiao-esp32s3",
    }  # fmt: skip
    assert {b.platform for b in matching(boards, platform="teensy")} == {"teensy"}
    large = matching(boards, min_ram=600_000, min_flash=2_000_000, real=True)
    assert {b.name for b in large} == {
        "nucleo-h7a3zi-q", "nucleo-l4r5zi", "nucleo-n657x0-q", "nucleo-u575zi-q",
    }  # fmt: skip
    assert {b.name for b in matching(boards, platform="qemu")} == set(QEMU_BOARDS)
    assert not any(b.real for b in matching(boards, real=False))
    assert matching(boards) == boards


def test_reads_a_good_file(tmp_path: Path) -> None:
    board = load(write(tmp_path, GOOD))
    assert (board.name, board.flash_bytes, board.ram_bytes) == ("mine", 4096, 2048)
    assert board.arch_flags == ("-mcpu=cortex-m4",)
    assert dict(board.emulator) == {"system": "qemu-system-arm", "machine": "mps2-an386"}
    assert board.fpu and not board.dsp


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("fpu = true", "fpus = true", 12, "fpus is no field of a board"),
        ("fpu = true", 'fpu = "yes"', 12, "fpu is 'yes', neither true nor false"),
        ("flash_bytes = 0x1000", "flash_bytes = -1", 6, "flash_bytes is -1, not a whole number"),
        ("flash_bytes = 0x1000", "flash_bytes = 1.5", 6, "flash_bytes is 1.5, not a whole"),
        ("flash_bytes = 0x1000", "flash_bytes = true", 6, "flash_bytes is True, not a whole"),
        ("flash_bytes = 0x1000", "flash_bytes = 0", 6, "flash_bytes is 0"),
        ("ram_origin = 0x2000_0000", "ram_origin = 0x800", 9, "makes flash and RAM overlap"),
        ("ram_origin = 0x2000_0000", "ram_origin = 0xffff_ffff", 9, "pass the end"),
        ('core = "cortex-m4"', "core = 4", 2, "core is 4, not a text in quotes"),
        ('["-mcpu=cortex-m4"]', '"-mcpu=cortex-m4"', 11, "not a list of texts"),
        ('TD_LINE_BYTES = "80"', "TD_LINE_BYTES = 80", 15, "defines.TD_LINE_BYTES is 80"),
        ('machine = "mps2-an386"', "", 17, "emulator.machine is missing"),
        ('port = "cmsdk"', 'port = "../cmsdk"', 4, "is '../cmsdk', not the name of a C file"),
        ('port = "cmsdk"', "", 3, "needs the field port"),
        ('machine = "mps2-an386"', 'machine = "x"\nmachina = "y"', 20, "emulator.machina is no"),
        ('machine = "mps2-an386"', 'machine = "x"\ninfer_timeout_s = "soon"', 20, "is 'soon'"),
        ('TD_LINE_BYTES = "80"', 'TD_LINE_BYTES = "0x50"', 15, "not a whole number in quotes"),
        ('TD_LINE_BYTES = "80"', '"TD-LINE" = "80"', 15, "is no name of a C macro"),
        ("[emulator]", "[emulators]", 17, "emulators is no field of a board"),
    ],
)
def test_names_line_and_field(old: str, new: str, line: int, says: str, tmp_path: Path) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load(path)
    assert f"{path}, line {line}: " in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint


REAL = """\
description = "A real board"
core = "cortex-m4"
platform = "ststm32"
mcu = "STM32L4R5ZIT6"
port = "arduino"
clock_hz = 120_000_000
flash_bytes = 0x1000
ram_bytes = 0x800
flash_origin = 0x800_0000
ram_origin = 0x2000_0000
usb = ["0483:374b"]
supply_v = 3
active_mw = 40.5

[platformio]
version = "19.6.0"
board = "nucleo_l4r5zi"
framework = "arduino"

[upload]
protocol = "openocd"
openocd_config = "board/st_nucleo_l4.cfg"

[sources]
board = "a page"
memory = "a datasheet"
power = "a measurement"
"""


def test_reads_a_real_board(tmp_path: Path) -> None:
    board = load(write(tmp_path, REAL))
    assert board.real and not board.tested_on_hardware
    assert (board.usb, board.baud) == (("0483:374b",), 115_200)
    assert (board.supply_v, board.active_mw) == (3.0, 40.5)
    assert board.platformio["version"] == "19.6.0" and board.upload["protocol"] == "openocd"
    assert not load(write(tmp_path, GOOD)).real


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('["0483:374b"]', '["0483:374B"]', 11, "usb holds '0483:374B', not vid:pid"),
        ("supply_v = 3", "supply_v = 12.0", 12, "supply_v is 12, no microcontroller"),
        ("supply_v = 3", "supply_v = 0", 12, "supply_v is 0, not a number above 0"),
        ("supply_v = 3", 'supply_v = "3"', 12, "supply_v is '3', not a number above 0"),
        ("supply_v = 3", "", 14, "supply_v is missing"),
        ("active_mw = 40.5", "active_mw = -1", 13, "active_mw is -1, not a number above 0"),
        ("active_mw = 40.5", "active_mw = inf", 13, "active_mw is inf, not a number above 0"),
        ("active_mw = 40.5", "", 14, "active_mw is missing"),
        ("clock_hz = 120_000_000", "clock_hz = 0", 6, "clock_hz is 0"),
        ("usb = ", "baud = 0\nusb = ", 11, "baud is 0"),
        ('mcu = "STM32L4R5ZIT6"', "", 3, "needs the field mcu"),
        ('port = "arduino"', "", 3, "needs the field port"),
        ('version = "19.6.0"', "", 15, "platformio.version is missing"),
        ('framework = "arduino"', 'frame = "arduino"', 15, "platformio.framework is missing"),
        (
            'framework = "arduino"',
            'framework = "arduino"\nx = "y"',
            19,
            "platformio.x is no setting",
        ),
        ('protocol = "openocd"', 'protocol = "telepathy"', 21, "upload.protocol is 'telepathy'"),
        ('protocol = "openocd"', "", 20, "upload.protocol is missing"),
        ("openocd_config =", "openocd =", 22, "upload.openocd is no setting"),
        ('memory = "a datasheet"', "", 24, "sources.memory is missing"),
        ('power = "a measurement"', "", 24, "sources.power is missing"),
    ],
)
def test_names_line_and_field_of_a_real_board(
    old: str, new: str, line: int, says: str, tmp_path: Path
) -> None:
    assert REAL.count(old) == 1
    path = write(tmp_path, REAL.replace(old, new))
    with pytest.raises(UsageError) as caught:
        load(path)
    assert f"{path}, line {line}: " in caught.value.message
    assert says in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("key", ["description", "core", "platform", "clock_hz", "flash_bytes"])
def test_names_a_missing_field(key: str, tmp_path: Path) -> None:
    lines = [line for line in GOOD.splitlines() if not line.startswith(f"{key} ")]
    with pytest.raises(UsageError, match=rf"mine\.toml, line \d+: {key} is missing"):
        load(write(tmp_path, "\n".join(lines)))


def test_says_where_toml_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mine\.toml: .*line 2"):
        load(write(tmp_path, 'core = "x"\nplatform\n'))


def test_bad_names_and_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="letters, digits"):
        load(write(tmp_path, GOOD, "my board"))
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read"):
        load(tmp_path / "binary.toml")
    with pytest.raises(UsageError, match="is not a folder"):
        load_all([tmp_path / "none"])


def test_folders_add_and_override(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    write(tmp_path, GOOD.replace("0x1000", "0x2000"), "qemu-cortex-m4")
    boards = load_all([tmp_path])
    assert boards["mine"] == find("mine", [tmp_path])
    assert boards["qemu-cortex-m4"].flash_bytes == 0x2000
    assert find("qemu-cortex-m4", [tmp_path]).flash_bytes == 0x2000
    assert find("qemu-cortex-m4").flash_bytes != 0x2000


@pytest.mark.parametrize("name", ["qemu-cortex-m44", "../profiles/host", "", "none"])
def test_an_unknown_board_lists_the_known(name: str) -> None:
    with pytest.raises(UsageError, match="no board is called") as caught:
        find(name)
    assert "qemu-cortex-m4" in caught.value.hint
    if name.endswith("m44"):
        assert "did you mean qemu-cortex-m4?" in caught.value.hint


@given(st.data())
def test_damaged_files_are_usage_errors(data: st.DataObject) -> None:
    """Whatever happens to a file, it is read or refused in our own words."""
    from tempfile import TemporaryDirectory

    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        text = text[:at] + data.draw(st.text(max_size=6)) + text[at + length :]
    with TemporaryDirectory() as folder:
        path = Path(folder, "mine.toml")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            assert load(path).name == "mine"
        except UsageError as e:
            assert "mine.toml" in e.message
