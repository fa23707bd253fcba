"""MLPerf Tiny's commands, and how results are printed: the firmware under the sanitizers."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from td_line import SANITIZERS, db, row, talk
from toy import compile_toy

from tinydeploy.devices.protocol import command


def test_mlperf_inference(elf: Path) -> None:
    data, outputs = row(11)
    lines = [line.decode() for line in talk(elf, db(data) + b"infer 2 3%results%")]
    results = "m-results-[" + ",".join(map(str, outputs[0][0])) + "]"
    assert lines[: lines.index("m-load-done") + 2] == [
        "m-[Expecting 108 bytes]",
        *(["m-ready"] * 4),
        "m-load-done",
        "m-ready",
    ]
    assert lines[lines.index("m-load-done") + 2 :] == [
        "m-warmup-start-3",
        "m-warmup-done",
        "m-infer-start-2",
        "m-lap-us-3750",
        "m-lap-us-6250",
        "m-infer-done",
        results,
        "m-ready",
        results,
        "m-ready",
    ]


def test_infer_runs_once_after_ten_warm_ups_if_nothing_is_said(elf: Path) -> None:
    data, _ = row(12)
    lines = talk(elf, db(data) + b"infer%")
    assert b"m-warmup-start-10" in lines
    assert b"m-infer-start-1" in lines


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"db%", "Command 'db' requires a subcommand"),
        (b"db load%", "Command 'db load' requires the # of bytes"),
        (b"db load 0%", "Command 'db load' must be >0 bytes"),
        (b"db load x%", "Command 'db load' must be >0 bytes"),
        (b"db load 109%", "Supplied buffer size 109 exceeds maximum of 108"),
        (b"db 00%", "Command 'db load' has to come first"),
        (b"db load 2%db 0%", "Insufficent number of hex digits"),
        (b"db load 2%db 0g%", "Invalid hex digit '0g'"),
        (b"infer 0%", "Inference iterations must be >0"),
        (b"infer -1%", "Inference iterations must be >0"),
        (b"infer 1 -1%", "Inference warmup must be >=0"),
        (b"infer 1 0%", "Input db has 0 bytes, expected 108"),
        (b"db load 2%db 0000%infer 1 0%", "Input db has 2 bytes, expected 108"),
        (b"we\x00ird\x1b!%", "Unknown command: we?ird?!"),
        (b"x" * 81 + b"%", "Command longer than 80 bytes"),
        (b"x" * 500 + b"%", "Command longer than 80 bytes"),
    ],
)
def test_mlperf_errors(elf: Path, sent: bytes, error: str) -> None:
    assert [line.decode() for line in talk(elf, sent)][-2:] == [f"e-[{error}]", "m-ready"]


@pytest.mark.parametrize("sent", [b"infer 1 0%", b"db load 4%", b"db 0102%"])
def test_what_is_left_of_a_damaged_command_is_not_taken_for_one_of_mlperfs(
    elf: Path, sent: bytes
) -> None:
    """A bit that turns the number of "td 5 infer 1 CRC" into % leaves "infer 1 CRC" behind."""
    data, _ = row(21)
    lines = talk(elf, db(data) + command(1, "id") + sent + b"name%" + b"infer 1 0%")
    assert lines.count(b"e-[name% first]") == 1
    assert lines.count(b"m-infer-done") == 1


def test_surplus_digits_are_ignored(elf: Path) -> None:
    lines = talk(elf, b"db load 2%db 010203%db print%")
    assert b"m-buffer-01-02" in lines


def truncated(value: float) -> str:
    """Three decimals, truncated, by exact arithmetic; clamped where the firmware clamps."""
    if value != value or abs(value) == float("inf"):
        return "nan" if value != value else str(value)
    thousandths = min(int(abs(value) * 1000), 2**32 - 1)
    sign = "-" if value < 0 and thousandths else ""
    return f"{sign}{thousandths // 1000}.{thousandths % 1000:03d}"


FLOATS = [0.0, -0.0, 1.0, -1.0, 0.999, 0.5, 1e-3, 9.999e-4, -9.999e-4, 0.1234, 1e-40, 123.4567]
FLOATS += [4294967.0, 4294968.0, -1e9, 3e38, float("inf"), float("-inf"), float("nan"), 1e-45]
FLOATS += [2.0**22, 65536.125, -0.0625, 1 / 3, 1e-30]


@pytest.mark.parametrize(
    ("dtype", "flags", "data", "shown"),
    [
        (
            "TD_FLOAT32",
            (),
            struct.pack("<25f", *FLOATS),
            [truncated(float(x)) for x in np.float32(FLOATS)],
        ),
        ("TD_INT16", (), struct.pack("<50h", *range(-25, 25)), list(map(str, range(-25, 25)))),
        ("TD_UINT8", (), bytes(range(156, 256)), list(map(str, range(156, 256)))),
        ("TD_INT32", (), struct.pack("<25i", -(2**31), *range(24)), None),
        (
            "TD_INT8",
            ("-DTD_OUTPUT_MILLI_Q16=256000u", "-DTD_OUTPUT_ZERO_POINT=(-128)"),
            bytes(range(206, 256)) + bytes(range(50)),
            [truncated((q + 128) / 256) for q in [*range(-50, 0), *range(50)]],
        ),
        (
            "TD_INT16",
            ("-DTD_OUTPUT_MILLI_Q16=2000u", "-DTD_OUTPUT_ZERO_POINT=0"),
            struct.pack("<50h", -32768, 32767, *range(-24, 24)),
            [truncated(q / 32768) for q in [-32768, 32767, *range(-24, 24)]],
        ),
    ],
    ids=["float32", "int16", "uint8", "int32", "int8 with scale", "int16 with scale"],
)
def test_results(
    tmp_path: Path, dtype: str, flags: tuple[str, ...], data: bytes, shown: list[str] | None
) -> None:
    elf = compile_toy(tmp_path / "firmware", *SANITIZERS, f"-DTOY_ECHO={dtype}", *flags)
    done = subprocess.run(
        [elf], input=db(data + bytes(8)) + b"infer 1 0%", env={}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    results = re.findall(rb"m-results-\[(.*)\]", done.stdout)
    expected = shown or [str(-(2**31)), *map(str, range(24))]
    assert [r.decode().split(",") for r in results] == [expected]
