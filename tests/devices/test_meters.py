"""The meters' drivers against peers that speak their protocols; INA on the helper's real C code."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import meter_peers as peers
import numpy as np
import pytest
from meter_peers import ACTIVE_MW, IDLE_MW, VOLTAGE_V, Pin

from tinydeploy.devices.meter import address, joulescope, scripted
from tinydeploy.devices.meter.address import open_meter, parse
from tinydeploy.errors import DeviceError, ToolMissingError, UsageError
from tinydeploy.ports import Meter

ROOT = Path(__file__).resolve().parents[2]
SAFE = ("-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsanitize=address,undefined")
SHUNT_OHM = 0.1
SHUNT_NV = {219: 10_000, 226: 2500, 228: 78.125}
BUS_RAW = {219: 750 << 3, 226: 2400, 228: 15_360 << 4}
"""3 V in each chip's own unit."""


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    return Pin(tmp_path / "pin")


@pytest.fixture(scope="module")
def helper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper board's firmware for this computer."""
    out = tmp_path_factory.mktemp("meter") / "meter"
    folder = ROOT / "firmware" / "meter"
    sources = [
        folder / "td_ina.c",
        folder / "td_meter.c",
        Path(__file__).parent / "data/meter_host.c",
    ]
    subprocess.run(["cc", *SAFE, f"-I{folder}", *sources, "-o", out], check=True)
    return out


def shunt_raw(chip: int, milliwatts: float) -> int:
    counts = round(milliwatts / 1e3 / VOLTAGE_V * SHUNT_OHM * 1e9 / SHUNT_NV[chip])
    return counts << 4 if chip == 228 else counts


@contextlib.contextmanager
def ina_port(helper: Path, pin: Pin, chip: int, active: int | None = None) -> Iterator[str]:
    """The serial port of a helper board with a chip; `active` is its raw shunt value, if given."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    raw = (shunt_raw(chip, IDLE_MW), shunt_raw(chip, ACTIVE_MW)) if chip else (0, 0)
    arguments = (chip, raw[0], active or raw[1], BUS_RAW.get(chip, 0), pin.path)
    process = subprocess.Popen([helper, *map(str, arguments)], stdin=master, stdout=master)
    try:
        yield os.ttyname(slave)
    finally:
        process.kill()
        process.wait()
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def opened(kind: str, helper: Path, pin: Pin) -> Iterator[Meter]:
    with contextlib.ExitStack() as stack:
        if kind == "lpm01a":
            shield = stack.enter_context(peers.PowerShield(pin))
            meter = open_meter(f"lpm01a:{shield.path}", VOLTAGE_V)
        elif kind == "ppk2":
            kit = stack.enter_context(peers.Ppk2Peer(pin))
            meter = open_meter(f"ppk2:{kit.path},voltage={VOLTAGE_V}")
        elif kind == "otii":
            server = stack.enter_context(peers.OtiiServer(pin))
            meter = open_meter(f"otii:127.0.0.1:{server.port}", VOLTAGE_V)
        elif kind == "joulescope":
            driver = peers.JoulescopeDriver(pin)
            meter = joulescope.attach(driver, parse("joulescope:"), 100_000, 0)
        elif kind == "scripted":
            meter = open_meter(f"scripted:,idle_mw={IDLE_MW},active_mw={ACTIVE_MW},pin={pin.path}")
        else:
            port = stack.enter_context(ina_port(helper, pin, int(kind.removeprefix("ina"))))
            meter = open_meter(f"ina:{port},shunt={SHUNT_OHM}")
        with contextlib.closing(meter):
            yield meter


KINDS = ["lpm01a", "ppk2", "otii", "joulescope", "scripted", "ina219", "ina226", "ina228"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_recording(kind: str, helper: Path, pin: Pin) -> None:
    """Power of the window between the pin's edges, of the idle before it, and again."""
    with opened(kind, helper, pin) as meter:
        for _ in range(2):
            meter.start()
            time.sleep(0.15)
            pin.pulse()
            time.sleep(0.3)
            pin.pulse()
            time.sleep(0.15)
            trace = meter.stop()
            assert trace.edges_s.size == 2
            start, end = (float(t) for t in trace.edges_s)
            active_mw = 1e3 * trace.energy_j(start, end) / (end - start)
            first = trace.bounds_s[0]
            idle_mw = 1e3 * trace.energy_j(first, start - 0.02) / (start - 0.02 - first)
            assert active_mw == pytest.approx(ACTIVE_MW, rel=0.04)
            assert idle_mw == pytest.approx(IDLE_MW, rel=0.03)
            assert trace.voltage_v.mean() == pytest.approx(1.0 if kind == "scripted" else VOLTAGE_V)
            assert (np.diff(trace.time_s) > 0).all()


def test_edges_that_a_busy_machine_finds_together(
    pin: Pin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scripted meter looks at its pin now and then: a short window is one all the same."""
    monkeypatch.setattr(scripted, "PERIOD_S", 0.1)
    meter = open_meter(f"scripted:,idle_mw={IDLE_MW},active_mw={ACTIVE_MW},pin={pin.path}")
    meter.start()
    pin.pulse()
    pin.pulse()
    trace = meter.stop()
    start, end = (float(t) for t in trace.edges_s)
    first, last = trace.bounds_s
    assert first < start < end < last
    assert trace.energy_j(start, end) == pytest.approx(ACTIVE_MW / 1e3 * (end - start))
    assert trace.energy_j(first, start) == pytest.approx(IDLE_MW / 1e3 * (start - first))
    assert trace.energy_j(end, last) == pytest.approx(IDLE_MW / 1e3 * (last - end))
    assert (np.diff(trace.time_s) > 0).all()


def test_meters_say_who_they_are(helper: Path, pin: Pin) -> None:
    with opened("ina228", helper, pin) as meter:
        assert meter.name.endswith("(ina228)")
    with opened("otii", helper, pin) as meter:
        assert meter.name.endswith("(Arc 0)")


# ---------------------------------------------------------------- one meter each
def test_the_power_shield_is_set_up_and_given_back(pin: Pin) -> None:
    with peers.PowerShield(pin) as shield:
        open_meter(f"lpm01a:{shield.path},voltage=1.8").close()
    assert shield.commands[0] == "htc"
    for command in ("volt 1800m", "output energy", "freq 1k", "eventsrc d7 fal", "pwr on nostatus"):
        assert command in shield.commands
    assert shield.commands[-1] == "hrc"


def test_what_the_power_shield_refuses(pin: Pin) -> None:
    with (
        peers.PowerShield(pin, refuse="volt") as shield,
        pytest.raises(DeviceError, match="refuses 'volt 5000m': Error detail: no such value"),
    ):
        open_meter(f"lpm01a:{shield.path},voltage=5")


@pytest.mark.parametrize("kind", [peers.PowerShield, peers.Ppk2Peer])
def test_lost_samples_are_an_error(kind: Callable[..., Any], pin: Pin) -> None:
    with kind(pin, lose=True) as peer:
        name = "lpm01a" if kind is peers.PowerShield else "ppk2"
        meter = open_meter(f"{name}:{peer.path}", VOLTAGE_V)
        meter.start()
        time.sleep(1.2 if name == "lpm01a" else 0.1)
        with pytest.raises(DeviceError, match="lost samples"):
            meter.stop()
        meter.close()


def test_the_ppk2_is_set_up(pin: Pin) -> None:
    with peers.Ppk2Peer(pin) as kit:
        open_meter(f"ppk2:{kit.path},mode=source", VOLTAGE_V).close()
        open_meter(f"ppk2:{kit.path},mode=ampere", VOLTAGE_V).close()
    source, ampere = kit.commands[: len(kit.commands) // 2 + 1], kit.commands
    assert b"\x11\x02" in source and b"\x0c\x01" in source  # source meter, power on
    assert b"\x11\x01" in ampere
    assert bytes((0x0D, *divmod(3000 - 800 + 32 + 3 * 256, 256))) in kit.commands


def test_otii_needs_one_device_and_a_licence(pin: Pin) -> None:
    with (
        peers.OtiiServer(pin, devices=2) as server,
        pytest.raises(DeviceError, match="2 matching devices: Arc 0, Arc 1"),
    ):
        open_meter(f"otii:127.0.0.1:{server.port}", VOLTAGE_V)
    with peers.OtiiServer(pin, devices=2) as server:
        open_meter(f"otii:127.0.0.1:{server.port},device=Arc 1", VOLTAGE_V).close()
        assert "otii_return_license" in server.commands()
        assert {"device_id": "Arc1", "value": VOLTAGE_V} in [r.get("data") for r in server.requests]
    with (
        peers.OtiiServer(pin, licences=0) as server,
        pytest.raises(DeviceError, match="Cannot reserve licenses"),
    ):
        open_meter(f"otii:127.0.0.1:{server.port}", VOLTAGE_V)


def test_joulescopes(pin: Pin) -> None:
    two = peers.JoulescopeDriver(pin, ("u/js220/000001", "u/js110/000002"))
    with pytest.raises(DeviceError, match="2 Joulescopes match"):
        joulescope.attach(two, parse("joulescope:"), 100_000, 0)
    with pytest.raises(DeviceError, match="0 Joulescopes match: none"):
        joulescope.attach(two, parse("joulescope:u/js220/9"), 100_000, 0)
    with pytest.raises(UsageError, match="rate 300000 Hz"):
        joulescope.attach(two, parse("joulescope:u/js220/000001"), 300_000, 0)
    with pytest.raises(UsageError, match="input 3"):
        joulescope.attach(two, parse("joulescope:u/js110/000002"), 100_000, 3)
    meter = joulescope.attach(two, parse("joulescope:u/js220/000001"), 100_000, 2)
    two.lose = True
    meter.start()
    time.sleep(0.05)
    with pytest.raises(DeviceError, match="lost 512 samples"):
        meter.stop()
    meter.close()
    assert two.open_paths == []


@pytest.mark.parametrize(
    ("chip", "raw"), [(219, 32_000), (226, 32_767), (228, 524_287 << 4)], ids=str
)
def test_a_current_beyond_the_range(helper: Path, pin: Pin, chip: int, raw: int) -> None:
    with ina_port(helper, pin, chip, raw) as port:
        meter = open_meter(f"ina:{port}")
        meter.start()
        pin.pulse()
        time.sleep(0.05)
        with pytest.raises(DeviceError, match="out of the meter's range"):
            meter.stop()


def test_a_helper_without_a_chip(helper: Path, pin: Pin) -> None:
    with ina_port(helper, pin, 0) as port, pytest.raises(DeviceError, match="finds no INA219"):
        open_meter(f"ina:{port}")


def test_garbage_does_not_upset_the_helper(helper: Path, pin: Pin) -> None:
    """It runs under the sanitizers: lines that are too long, no commands, numbers too large."""
    with ina_port(helper, pin, 226) as port:
        with open(port, "wb", buffering=0) as line:
            line.write(b"x" * 31 + b"\n" + b"y" * 32 + b"\n" + b"z" * 500 + b"\n\n\x00\xff\n")
            line.write(b"shunt 99999999999\nshunt\nshunt -1\nstart\nshunt 5\nstop\n")
        meter = open_meter(f"ina:{port}")
        meter.start()
        time.sleep(0.05)
        assert meter.stop().current_a.size > 2
        meter.close()


# ---------------------------------------------------------------- what the C converts
CONVERSIONS = """
#include <stdio.h>
#include "td_ina.h"
int main(void)
{
    enum td_ina_chip chips[] = {TD_INA219, TD_INA226, TD_INA228};
    uint32_t raw[] = {0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x10, 0x7FFFF0, 0x800000, 0xFFFFF0};
    for (int c = 0; c < 3; c++) {
        for (unsigned i = 0; i < sizeof raw / sizeof raw[0]; i++) {
            printf("%d %u %d %d %d\\n", (int)chips[c], (unsigned)raw[i],
                   (int)td_ina_shunt_nv(chips[c], raw[i]), (int)td_ina_bus_uv(chips[c], raw[i]),
                   (int)td_ina_overrange(chips[c], raw[i]));
        }
    }
    printf("%lld\\n", (long long)td_ina_na(-163840000, 2000));
    return 0;
}
"""


def test_conversions_are_those_of_the_data_sheets(tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text(CONVERSIONS)
    folder = ROOT / "firmware" / "meter"
    files = [tmp_path / "main.c", folder / "td_ina.c"]
    subprocess.run(["cc", *SAFE, f"-I{folder}", *files, "-o", tmp_path / "main"], check=True)
    done = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True)
    *lines, nanoamperes = done.stdout.splitlines()
    for line in lines:
        chip, raw, shunt_nv, bus_uv, over = map(int, line.split())
        bits, shift = (20, 4) if chip == 228 else (16, 0)
        counts = raw >> shift & (1 << bits) - 1
        signed = counts - (1 << bits) if counts >> bits - 1 else counts
        # SBOS448: 10 uV and 4 mV; SBOS547: 2.5 uV and 1.25 mV; SLYS021: 78.125 nV and 195.3125 uV.
        assert abs(shunt_nv - signed * SHUNT_NV[chip]) < 1
        bus = {219: (raw & 0xFFFF) >> 3, 226: raw & 0x7FFF, 228: counts}[chip]
        assert abs(bus_uv - bus * {219: 4000, 226: 1250, 228: 195.3125}[chip]) < 1
        top = 32_000 if chip == 219 else (1 << bits - 1) - 1
        assert over == (signed >= top or signed <= (-top if chip == 219 else -top - 1))
    assert int(nanoamperes) == -81_920_000_000


def test_the_sketch_names_no_function_that_is_not_there() -> None:
    """Arduino's tools build it, which the tests do not have: at least its calls are ours."""

    folder = ROOT / "firmware" / "meter"
    headers = (folder / "td_ina.h").read_text() + (folder / "td_meter.h").read_text()
    calls = set(re.findall(r"\btd_\w+(?=\()", (folder / "meter.ino").read_text()))
    assert calls and all(re.search(rf"\b{call}\(", headers) for call in calls)


# ---------------------------------------------------------------- addresses
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing:/dev/x", "no meter is called 'nothing'"),
        ("ppk2:/dev/x", "needs the supply voltage"),
        ("ppk2:/dev/x,voltage=0", "voltage is '0'"),
        ("ppk2:/dev/x,voltage=3.3,pin=8", "pin is '8'"),
        ("ppk2:/dev/x,voltage=3.3,mode=both", "mode is 'both'"),
        ("ppk2:/dev/x,volts=3", "has no option 'volts'"),
        ("lpm01a:/dev/x,voltage", "no meter option: 'voltage'"),
        ("otii:localhost:port,voltage=3", "'port' is no port"),
        ("ina:/dev/x,shunt=-1", "shunt is '-1'"),
        ("scripted:,idle_mw=nan", "idle_mw is 'nan'"),
    ],
)
def test_addresses_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_meter(text)


def test_a_meter_that_is_not_there(tmp_path: Path) -> None:
    for text in (f"lpm01a:{tmp_path / 'x'}", f"ina:{tmp_path / 'x'}", f"ppk2:{tmp_path / 'x'}"):
        with pytest.raises(DeviceError, match="cannot open"):
            open_meter(text, 3.3)
    with pytest.raises(DeviceError, match="Otii's server does not answer"):
        open_meter("otii:127.0.0.1:1", 3.3)


@pytest.mark.parametrize(
    ("kind", "package", "extra"),
    [
        ("ppk2", "ppk2_api.ppk2_api", "ppk2"),
        ("otii", "otii_tcp_client.otii_client", "otii"),
        ("joulescope", "pyjoulescope_driver", "joulescope"),
    ],
)
def test_a_missing_package_is_named(
    kind: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ToolMissingError, match=package) as caught:
        open_meter(f"{kind}:x", 3.3)
    assert f"tinydeploy[{extra}]" in caught.value.hint


def test_the_table_of_meters() -> None:
    from tinydeploy import plugins

    known = {kind.rstrip("0123456789") if kind.startswith("ina") else kind for kind in KINDS}
    assert set(plugins.names("meter")) >= known
    assert address.parse("otii:").name == "otii"
