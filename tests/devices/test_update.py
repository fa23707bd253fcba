"""The device's side of an update: the firmware's own C around flash that loses its power."""

from __future__ import annotations

import ctypes
import hashlib
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import FIRMWARE

from tinydeploy.devices import delta

HARNESS = Path(__file__).parent / "data" / "update"
CLEAN, TORN, WORN = range(3)
LAYOUT = 0x12345678
ERR_RANGE, ERR_INPUT, ERR_GRAPH, ERR_BASE, ERR_CONTENT, ERR_STATE = -2, -5, -8, -9, -10, -11


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    out = tmp_path_factory.mktemp("update") / "update.so"
    link = FIRMWARE / "lib" / "td_link"
    sources = [
        HARNESS / "harness.c",
        *(link / f"td_{n}.c" for n in ("update", "delta", "crc32", "sha256")),
    ]
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    includes = [f"-I{folder}" for folder in (HARNESS, link, FIRMWARE / "include")]
    subprocess.run(["cc", *flags, "-fPIC", "-shared", *includes, *sources, "-o", out], check=True)
    library = ctypes.CDLL(str(out))
    library.all_cuts.restype = ctypes.c_long
    return library


def version(device: ctypes.CDLL, number: int) -> bytes:
    buffer = ctypes.create_string_buffer(512)
    size = device.version(number, buffer)
    return buffer.raw[:size]


def patch(device: ctypes.CDLL, data: bytes, at: int = 0) -> int:
    return device.patch(at, data, len(data))


@pytest.mark.parametrize("mode", [CLEAN, TORN, WORN])
def test_cut_at_any_byte_leaves_the_whole_old_or_the_whole_new_model(
    device: ctypes.CDLL, mode: int, record_property: pytest.RecordProperty
) -> None:
    """Five updates in a row, before each an attempt whose content has another hash than announced,
    cut after every byte that is erased or written (TORN: in it; WORN: the flash fails from there
    on), and in the starts that follow."""
    points, starts = ctypes.c_long(), ctypes.c_long()
    failures = device.all_cuts(mode, ctypes.byref(points), ctypes.byref(starts))
    record_property("cut points", points.value)
    record_property("starts", starts.value)
    print(f"{points.value} cut points, {starts.value} starts")
    assert failures == 0
    assert points.value > 3000
    if mode != WORN:
        assert starts.value > points.value + 300  # starts write too, and were cut as well


def test_trial_without_confirmation_goes_back_at_the_next_start(device: ctypes.CDLL) -> None:
    device.fresh()
    assert device.update_to(1, True) == 0
    assert device.update_to(2, False) == 0
    assert device.running() == 2
    assert device.stage(LAYOUT, 2, 3) == ERR_STATE
    device.power_cycle()
    assert device.running() == 1
    device.power_cycle()
    assert device.running() == 1
    assert device.update_to(2, True) == 0
    device.power_cycle()
    assert device.running() == 2


def test_trial_can_be_taken_back_at_once(device: ctypes.CDLL) -> None:
    device.fresh()
    assert device.update_to(1, False) == 0
    assert device.revert() == 0
    assert device.running() == 0
    assert device.update_to(1, True) == 0
    assert device.revert() == 0
    assert device.running() == 1


def test_wrong_graph_base_and_content_are_refused_and_nothing_is_lost(
    device: ctypes.CDLL,
) -> None:
    device.fresh()
    assert device.update_to(1, True) == 0
    assert device.stage(LAYOUT + 1, 1, 2) == ERR_GRAPH
    assert device.stage(LAYOUT, 0, 2) == ERR_BASE
    assert device.commit(2) == ERR_INPUT
    assert patch(device, b"\x00") == ERR_INPUT
    whole = delta.encode(version(device, 1), version(device, 2))

    assert device.stage(LAYOUT, 1, 2) == 0
    assert patch(device, whole[:-1]) == 0
    assert device.commit(2) == ERR_CONTENT  # a part is missing

    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    assert device.stage(LAYOUT, 1, 2) == 0
    assert patch(device, damaged) == 0
    assert device.commit(2) == ERR_CONTENT

    assert device.stage(LAYOUT, 1, 2) == 0
    assert patch(device, delta.encode(None, version(device, 2) + b"\0")) == ERR_RANGE
    assert device.stage(LAYOUT, 1, 2) == 0
    assert patch(device, whole + b"\x04") == ERR_RANGE  # one byte more than there is
    assert device.commit(2) == ERR_INPUT

    device.power_cycle()
    assert device.running() == 1
    assert device.confirm(2) == ERR_BASE


def same_crc(content: bytes) -> bytes:
    """Another content of the same CRC-32: its last bits differ by the CRC's own polynomial."""
    pattern = (0xEDB88320 << 1 | 1).to_bytes(5, "little")
    end = bytes(a ^ b for a, b in zip(content[-5:], pattern, strict=True))
    return content[:-5] + end


def test_a_content_of_the_right_crc_and_another_hash_is_refused(device: ctypes.CDLL) -> None:
    device.fresh()
    assert device.update_to(1, True) == 0
    wanted = version(device, 2)
    other = same_crc(wanted)
    crc = zlib.crc32(wanted)
    assert other != wanted
    assert zlib.crc32(other) == crc
    for sent, announced, answer in (
        (other, wanted, ERR_CONTENT),
        (wanted, other, ERR_CONTENT),
        (other, other, 0),
    ):
        digest = hashlib.sha256(announced).digest()
        assert device.stage_announced(1, ctypes.c_uint32(crc), digest) == 0
        assert patch(device, delta.encode(version(device, 1), sent)) == 0
        assert device.commit_crc(ctypes.c_uint32(crc)) == answer
        if answer:
            assert device.commit_crc(ctypes.c_uint32(crc)) == ERR_INPUT  # it has to be sent anew
            assert device.running() == 1
            device.power_cycle()
            assert device.running() == 1
    found = ctypes.create_string_buffer(32)
    device.running_hash(found)
    assert found.raw == hashlib.sha256(other).digest()


def test_patches_may_be_repeated_and_not_left_out(device: ctypes.CDLL) -> None:
    device.fresh()
    whole = delta.encode(version(device, 0), version(device, 1))
    assert device.stage(LAYOUT, 0, 1) == 0
    assert patch(device, whole[:5]) == 0
    assert patch(device, whole[:5]) == 0
    assert patch(device, whole[6:], 6) == ERR_INPUT
    assert patch(device, whole[5:], 5) == 0
    assert device.commit(1) == 0
    assert device.commit(1) == 0
    assert device.confirm(1) == 0
    assert device.confirm(1) == 0
    device.power_cycle()
    assert device.running() == 1


def test_damaged_content_is_not_run(device: ctypes.CDLL) -> None:
    device.fresh()
    assert device.update_to(1, True) == 0
    device.flip(2 * 128 + 200)
    device.power_cycle()
    assert device.running() == 0
    assert device.update_to(2, True) == 0
    device.power_cycle()
    assert device.running() == 2


CONTENTS = st.integers(0, 400).flatmap(
    lambda n: st.tuples(st.binary(min_size=n, max_size=n), st.integers(0, 2**32 - 1))
)


@given(CONTENTS, st.sampled_from([1, 2, 8, 128]), st.floats(0, 1))
@settings(max_examples=300, deadline=None)
def test_the_device_makes_of_a_delta_what_the_host_meant(
    device: ctypes.CDLL, drawn: tuple[bytes, int], step: int, share: float
) -> None:
    base, seed = drawn
    rng = np.random.default_rng(seed)
    moved = (rng.random(len(base)) < share) * rng.integers(-step, step, len(base))
    new = (np.frombuffer(base, np.uint8) + moved).astype(np.uint8).tobytes()
    for change in (delta.encode(base, new), delta.encode(None, new)):
        out = ctypes.create_string_buffer(len(new) + 1)
        assert device.apply(base, len(base), change, len(change), out) == 1
        assert out.raw[:-1] == new
        assert len(change) <= len(new) + 8


@given(st.binary(max_size=60), st.binary(max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_delta_writes_beyond_the_content(
    device: ctypes.CDLL, base: bytes, garbage: bytes
) -> None:
    out = ctypes.create_string_buffer(len(base) + 1)
    device.apply(base, len(base), garbage, len(garbage), out)
    assert out.raw[len(base) :] == b"\0"


def test_few_changed_weights_make_a_small_delta() -> None:
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, 100_000).astype(np.uint8)
    new = base.copy()
    new[rng.choice(100_000, 500, replace=False)] += 1
    assert len(delta.encode(base.tobytes(), new.tobytes())) < 2_500
