"""The firmware's SHA-256 against Python's, on this machine and on emulated cores."""

from __future__ import annotations

import ctypes
import hashlib
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from toy import FIRMWARE

DATA = Path(__file__).parent / "data"
LINK = FIRMWARE / "lib" / "td_link"
WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
# data/update has a td_build.h of updatable firmware: other firmware has no hash.
INCLUDES = tuple(f"-I{folder}" for folder in (DATA / "update", LINK, FIRMWARE / "include"))
BLOCK_BYTES = 64
LONGEST = 200


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("sha256") / "sha256.so"
    flags = (*WARNINGS, "-O2", "-fsanitize=undefined", "-fno-sanitize-recover", "-fPIC", "-shared")
    source = LINK / "td_sha256.c"
    subprocess.run(["cc", *flags, *INCLUDES, source, "-o", out], check=True)
    return ctypes.CDLL(str(out))


def digest(library: ctypes.CDLL, data: bytes, shift: int = 0) -> bytes:
    """The digest of `data` placed `shift` bytes behind an aligned address."""
    placed = ctypes.create_string_buffer(b"\xa5" * shift + data, shift + len(data) + 1)
    out = ctypes.create_string_buffer(34)
    library.td_sha256(ctypes.byref(placed, shift), ctypes.c_uint32(len(data)), out)
    assert out.raw[32:] == b"\0\0"
    return out.raw[:32]


# Around the borders of blocks, and around the room that the length needs in the last one.
LENGTHS = st.builds(
    lambda blocks, more: max(0, blocks * BLOCK_BYTES + more),
    st.integers(0, 20),
    st.sampled_from([-9, -8, -1, 0, 1, 55, 56, 57, 63]) | st.integers(0, 63),
)


@given(LENGTHS.flatmap(lambda n: st.binary(min_size=n, max_size=n)), st.integers(0, 7))
@example(b"", 0)
@example(b"abc", 1)
@settings(max_examples=400, deadline=None)
def test_equals_hashlib(library: ctypes.CDLL, data: bytes, shift: int) -> None:
    assert digest(library, data, shift) == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # FIPS 180-4 and NIST's examples
        (b"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
    ],
)
def test_published_examples(library: ctypes.CDLL, data: bytes, expected: str) -> None:
    assert digest(library, data).hex() == expected


def test_every_length_of_the_first_blocks_and_a_long_one(library: ctypes.CDLL) -> None:
    whole = bytes((7 * i + i // 256) & 255 for i in range(300_000))
    for length in (*range(5 * BLOCK_BYTES), len(whole)):
        assert digest(library, whole[:length]) == hashlib.sha256(whole[:length]).digest()


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("core", "machine"), [("cortex-m0", "mps2-an385"), ("cortex-m4", "mps2-an386")]
)
def test_the_cross_compiled_hash_in_qemu(core: str, machine: str, tmp_path: Path) -> None:
    elf = tmp_path / "bare.elf"
    place = "-Wl,--section-start=.vectors=0,-Ttext=0x100,-Tbss=0x20000000"
    flags = (f"-mcpu={core}", "-mthumb", "-Os", "-nostartfiles", "--specs=nano.specs", place)
    sources = (DATA / "sha256" / "bare.c", LINK / "td_sha256.c")
    command = ["arm-none-eabi-gcc", *WARNINGS, *flags, *INCLUDES, *sources, "-o", elf]
    subprocess.run(command, check=True)
    qemu = ["qemu-system-arm", "-M", machine, "-display", "none", "-monitor", "none"]
    semihosting = ["-semihosting-config", "enable=on,target=native"]
    ran = subprocess.run(
        [*qemu, *semihosting, "-kernel", elf], capture_output=True, text=True, timeout=60
    )
    told = re.findall("^[0-9a-f]{64}$", ran.stdout + ran.stderr, re.MULTILINE)
    patterns = [bytes((i * i + n) & 255 for i in range(n)) for n in range(LONGEST + 1)]
    assert told == [hashlib.sha256(p).hexdigest() for p in patterns for _ in range(2)]
