"""UF2 files: what is written can be read back, and a boot ROM leaves it in flash."""

from __future__ import annotations

import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from builds import SMALL_MODEL, compile_small
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy import toy_build

from tinydeploy.devices.boardfile import load
from tinydeploy.devices.catalogue import find, load_all
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.platformio import PlatformioBuilder, load_build
from tinydeploy.devices.upload import run, uf2
from tinydeploy.devices.upload.commands import Target, plan
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.types import Build, DeviceProfile

RP2040 = 0xE48BFF56
RP2040_FLASH = 0x10000000


def read_strictly(file: bytes, family: int) -> list[tuple[int, bytes]]:
    """Addresses and payloads, by the specification, every rule of which is checked here."""
    assert len(file) % 512 == 0
    found = []
    for number in range(len(file) // 512):
        block = file[number * 512 : number * 512 + 512]
        magic0, magic1, flags, address, size, n, count, fam = struct.unpack("<8I", block[:32])
        (end,) = struct.unpack("<I", block[508:])
        assert (magic0, magic1, end) == (0x0A324655, 0x9E5D5157, 0x0AB16F30)
        assert (flags, size, fam) == (0x2000, 256, family)
        assert address % 256 == 0
        assert (n, count) == (number, len(file) // 512)
        assert block[32 + size : 508] == b"\0" * (476 - size)
        found.append((address, block[32 : 32 + size]))
    return found


# ---------------------------------------------------------------- the format
@st.composite
def images(draw: st.DrawFn) -> list[tuple[int, bytes]]:
    """Parts that do not overlap, from somewhere in flash on: with gaps of bytes and of sectors."""
    at = RP2040_FLASH + draw(st.integers(0, 3)) * 4096 + draw(st.integers(0, 300))
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        data = draw(st.binary(min_size=1, max_size=700))
        parts.append((at, data))
        at += len(data) + draw(
            st.sampled_from([0, 1, 255, 256, 4096, 12_288]) | st.integers(0, 999)
        )
    return parts


@given(images())
@example([(RP2040_FLASH, b"x")])
@example([(RP2040_FLASH + 4095, b"xy")])
@settings(max_examples=200, deadline=None)
def test_reads_back_and_fills_sectors_with_zeros(parts: list[tuple[int, bytes]]) -> None:
    file = uf2.write(parts, RP2040)
    blocks = read_strictly(file, RP2040)
    memory = {a + i: byte for a, data in blocks for i, byte in enumerate(data)}
    assert len(memory) == 256 * len(blocks)  # no byte twice
    for address, data in parts:
        assert bytes(memory.pop(address + i) for i in range(len(data))) == data
    assert not any(memory.values())
    sectors = {address // 4096 for address, _ in blocks}
    assert sectors == {a // 4096 for a, _ in parts} | {(a + len(d) - 1) // 4096 for a, d in parts}
    ours = [(b.address, b.data, b.number, b.count, b.family) for b in uf2.read(file)]
    assert ours == [(a, d, n, len(blocks), RP2040) for n, (a, d) in enumerate(blocks)]
    assert uf2.holds(file, parts, RP2040)


@given(images(), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_boot_rom_of_the_rp2040_leaves_the_image_in_flash(
    parts: list[tuple[int, bytes]], order: random.Random
) -> None:
    """Its rule, from its sources: of 16 blocks in a row, by their numbers, the first one that
    arrives erases the sector that it is for. Blocks may come in any order."""
    blocks = uf2.read(uf2.write(parts, RP2040))
    order.shuffle(blocks)
    flash: dict[int, dict[int, int]] = {}  # sectors that were erased, and what was written there
    begun = set()
    for block in blocks:
        sector = block.address // 4096
        if block.number // 16 not in begun:
            begun.add(block.number // 16)
            flash[sector] = {}
        assert sector in flash, "written without an erase"
        flash[sector] |= {block.address + i: byte for i, byte in enumerate(block.data)}
    memory = {address: byte for sector in flash.values() for address, byte in sector.items()}
    for address, data in parts:
        assert bytes(memory[address + i] for i in range(len(data))) == data


@given(st.integers(1, 20), st.integers(0, 100), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_equals_what_esptool_writes(
    tmp_path_factory: pytest.TempPathFactory, pages: int, sector: int, seed: int
) -> None:
    from esptool.uf2_writer import UF2Writer

    image = bytes((seed + i * i) & 255 for i in range(pages * 256))
    path = tmp_path_factory.mktemp("uf2") / "x.uf2"
    with UF2Writer(RP2040, str(path), 256, md5_enabled=False) as writer:
        writer.add_file(sector * 4096, image)
    assert uf2.write([(sector * 4096, image)], RP2040) == path.read_bytes()


@pytest.mark.parametrize("parts", [[], [(0, b"")], [(0xFFFFFFFF, b"xy")], [(-1, b"xy")]])
def test_what_has_no_address_is_refused(parts: list[tuple[int, bytes]]) -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        uf2.write(parts, 1)


def test_what_is_no_uf2_is_refused() -> None:
    file = uf2.write([(0, b"abc")], 1)
    for damaged in (
        b"",
        file[:-1],
        b"x" + file[1:],
        file[:-1] + b"x",
        file[:17] + b"\xff" + file[18:],
    ):
        with pytest.raises(DeviceError):
            uf2.read(damaged)
        assert not uf2.holds(damaged, [(0, b"abc")], 1)
    elsewhere = file[:8] + struct.pack("<I", 0x2001) + file[12:]
    assert uf2.read(elsewhere) == []  # not for the flash: boot loaders pass over it
    assert not uf2.holds(elsewhere, [(0, b"abc")], 1)
    assert not uf2.holds(file, [(0, b"abc")], 2)
    assert not uf2.holds(file, [(0, b"abd")], 1)
    assert not uf2.holds(file, [(255, b"\0\0")], 1)


# ---------------------------------------------------------------- builds
@pytest.fixture(scope="module")
def device(root: Path, tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """A board of somebody's own: an nRF52840 behind Adafruit's boot loader, built without
    PlatformIO's registry."""
    text = (root / "devices/profiles/nrf52840-dk.toml").read_text()
    text = text.replace("flash_origin = 0x0000_0000", "flash_origin = 0x0002_6000")
    text = text.replace("flash_bytes = 1_048_576", "flash_bytes = 815_104")
    text = text.replace(
        'address = "0x00000000"', 'address = "0x00026000"\nuf2_family = "0xada52840"'
    )
    text = text.replace('protocol = "pyocd"', 'protocol = "uf2"\nuf2_label = "MINE"')
    path = tmp_path_factory.mktemp("board") / "my-nrf52.toml"
    path.write_text(text)
    return load(path)


@pytest.fixture(scope="module")
def built(device: DeviceProfile, tmp_path_factory: pytest.TempPathFactory) -> Build:
    folder = tmp_path_factory.mktemp("build")
    compiled = compile_small(SMALL_MODEL, device, folder)
    return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "out")


def test_a_build_has_its_firmware_as_uf2(built: Build) -> None:
    blocks = read_strictly((built.directory / uf2.FILE).read_bytes(), 0xADA52840)
    image = (built.directory / "firmware.bin").read_bytes()
    assert blocks[0][0] == 0x26000
    assert [a for a, _ in blocks] == list(range(0x26000, 0x26000 + 256 * len(blocks), 256))
    content = b"".join(data for _, data in blocks)
    assert content == image.ljust(len(content), b"\0")
    assert 0 <= len(content) - len(image) < 256
    assert uf2.FILE in (built.directory / "SHA256SUMS").read_text()


def test_it_goes_to_the_drive_and_the_build_stays_whole(
    built: Build, device: DeviceProfile, tmp_path: Path
) -> None:
    drive = tmp_path / "MINE"
    drive.mkdir()
    (drive / "INFO_UF2.TXT").write_text("UF2 Bootloader 0.6.2\nBoard-ID: mine\n")
    way = plan(built, device, Target(str(drive)))
    assert way.command == ("copy", str(built.directory.resolve() / uf2.FILE), str(drive))
    run.upload(built, device, way, port=str(drive))
    assert (drive / uf2.FILE).read_bytes() == (built.directory / uf2.FILE).read_bytes()
    load_build(built.directory)


def test_a_build_of_before_is_flashed_as_well(
    built: Build, device: DeviceProfile, tmp_path: Path
) -> None:
    """Out of a registry that got it before builds had a UF2 file."""
    (tmp_path / "old").mkdir()
    elf = tmp_path / "old" / "firmware.elf"
    elf.write_bytes(built.elf.read_bytes())
    (tmp_path / "INFO_UF2.TXT").write_text("UF2 Bootloader 0.6.2\n")
    old = replace(toy_build(elf), board=device.name)
    run.upload(old, device, plan(old, device, Target(str(tmp_path))), port=str(tmp_path))
    assert (tmp_path / uf2.FILE).read_bytes() == (built.directory / uf2.FILE).read_bytes()
    assert sorted(p.name for p in elf.parent.iterdir()) == ["firmware.elf"]


def test_the_platforms_own_file_stays_if_it_holds_the_firmware(
    built: Build, device: DeviceProfile, tmp_path: Path
) -> None:
    """As of RP2350's SDK, which puts a block of another family in front."""
    (tmp_path / "firmware.elf").write_bytes(built.elf.read_bytes())
    ours = uf2.of_firmware(built.elf, device)
    own = uf2.write([(0x30000, b"\xef" * 256)], 0xE48BFF57) + ours
    wrong = uf2.write([(a, bytes(len(d))) for a, d in Elf(built.elf).parts()], 0xADA52840)
    for found, kept in ((own, own), (wrong, ours), (b"?", ours)):
        (tmp_path / uf2.FILE).write_bytes(found)
        uf2.put(tmp_path, device)
        assert (tmp_path / uf2.FILE).read_bytes() == kept


def test_firmware_beyond_its_flash_is_refused(built: Build, device: DeviceProfile) -> None:
    small = replace(device, flash_bytes=4096)
    higher = replace(device, upload={**device.upload, "address": "0x00027000"})
    for board in (small, higher):
        with pytest.raises(UsageError, match="cannot put into the flash of my-nrf52"):
            uf2.of_firmware(built.elf, board)


def test_every_board_that_takes_uf2_names_an_address_for_it() -> None:
    boards = [board for board in load_all().values() if uf2.takes(board)]
    assert {"pico", "pico2", "feather-nrf52840", "xiao-samd21"} <= {b.name for b in boards}
    for board in boards:
        address = int(board.upload["address"], 16)
        assert address == board.flash_origin, board.name
        assert address % uf2.SECTOR_BYTES == 0, board.name
    assert not uf2.takes(find("nucleo-l4r5zi"))
