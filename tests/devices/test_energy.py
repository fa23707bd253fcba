"""Energy an inference: measured through the firmware's pin, by the host's clock, or estimated."""

from __future__ import annotations

import dataclasses
import statistics
from pathlib import Path

import numpy as np
import pytest
from meter_peers import Pin, PowerShield
from toy import compile_toy, toy_board, toy_build, toy_inputs

from tinydeploy.devices.loopback import LoopbackRunner
from tinydeploy.devices.meter import energy
from tinydeploy.devices.meter.address import open_meter
from tinydeploy.devices.meter.energy import EnergyResult, Window
from tinydeploy.errors import DeviceError
from tinydeploy.ports import Meter
from tinydeploy.trace import PowerTrace
from tinydeploy.types import Measurement

IDLE_MW, ACTIVE_MW = 5.0, 30.0


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real time, a pin, and a model whose inferences take some hundred microseconds."""
    out = tmp_path_factory.mktemp("toy") / "firmware"
    return compile_toy(out, "-DTD_PORT_HAS_TIMESTAMP_PIN")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "WINDOW_S", 0.1)
    monkeypatch.setattr(energy, "IDLE_S", 0.1)
    monkeypatch.setattr(energy, "WINDOWS", 3)


def run(elf: Path, meter: Meter, pin: Pin | None = None) -> Measurement:
    board = toy_board(False, **({"pin": str(pin.path)} if pin else {}))
    _, result = LoopbackRunner(meter=meter).run(toy_build(elf), board, toy_inputs(2))
    return result


@pytest.mark.usefixtures("quick")
def test_a_window_is_cut_by_the_firmwares_pin(elf: Path, tmp_path: Path) -> None:
    pin = Pin(tmp_path / "pin")
    meter = open_meter(f"scripted:,idle_mw={IDLE_MW},active_mw={ACTIVE_MW},pin={pin.path}")
    result = run(elf, meter, pin)
    assert result.origin["energy_uj"] == "measured"
    assert result.energy_uj is not None and len(result.energy_uj) == 3
    assert "cut at the timestamp pin's edges; net of idle (5 mW)" in result.method
    assert "median" in result.method and "IQR" in result.method


@pytest.mark.usefixtures("quick")
def test_a_real_protocol_from_end_to_end(elf: Path, tmp_path: Path) -> None:
    """Native firmware, its pin, a PowerShield on a pseudo terminal: net power times time."""
    pin = Pin(tmp_path / "pin")
    with PowerShield(pin) as shield:
        meter = open_meter(f"lpm01a:{shield.path}", 3.0)
        result = run(elf, meter, pin)
        meter.close()
    assert result.energy_uj is not None and all(uj > 0 for uj in result.energy_uj)
    assert "net of idle (5 mW)" in result.method
    assert "energy by lpm01a:" in result.method


@pytest.mark.usefixtures("quick")
def test_without_the_pin_the_hosts_clock_cuts(elf: Path) -> None:
    """Constant power: nothing is left above idle, and the method says how it was cut."""
    result = run(elf, open_meter(f"scripted:,idle_mw={IDLE_MW}"))
    assert result.energy_uj == pytest.approx((0, 0, 0), abs=1e-9)
    assert "cut by the host's clock" in result.method


def test_net_is_what_stands_above_idle() -> None:
    window = Window(times=100, length_s=2.0, energy_j=0.06, idle_w=0.005)
    assert window.gross_uj == pytest.approx(600)
    assert window.net_uj == pytest.approx(500)
    result = EnergyResult((window, window, window), "here", "me")
    assert "median 500 uJ, IQR 500 to 500 uJ; gross 600 uJ" in result.method


@pytest.mark.usefixtures("quick")
def test_more_edges_than_a_window_has(elf: Path) -> None:
    class Noisy:
        name = "noisy"

        def start(self) -> None:
            pass

        def stop(self) -> PowerTrace:
            times = np.arange(100) / 1000
            return PowerTrace(times, times, times, times[:3])

        def close(self) -> None:
            pass

    with pytest.raises(DeviceError, match="3 edges of the timestamp pin where 2 were due"):
        run(elf, Noisy())


# ---------------------------------------------------------------- without a meter
def test_without_a_meter_energy_is_estimated_and_says_so(tmp_path: Path) -> None:
    elf = compile_toy(tmp_path / "firmware")
    board = dataclasses.replace(
        toy_board(latency_us="1000,2000"),
        measures_energy=False,
        active_mw=40.0,
        sources={"power": "data sheet, table 7"},
    )
    _, result = LoopbackRunner().run(toy_build(elf), board, toy_inputs(2))
    assert result.latency_us == (1000, 2000)
    assert result.energy_uj == (40.0, 80.0)
    assert result.origin["energy_uj"] == "estimated"
    assert "40 mW of active power (data sheet, table 7) x latency" in result.method


@pytest.mark.parametrize("missing", ["active_mw", "measures_time"])
def test_with_power_or_latency_missing_there_is_no_estimate(tmp_path: Path, missing: str) -> None:
    elf = compile_toy(tmp_path / "firmware")
    board = dataclasses.replace(toy_board(latency_us="1000"), measures_energy=False, active_mw=40.0)
    board = dataclasses.replace(board, **{missing: None if missing == "active_mw" else False})
    _, result = LoopbackRunner().run(toy_build(elf), board, toy_inputs(2))
    assert result.energy_uj is None
    assert "energy_uj" not in result.origin


# ---------------------------------------------------------------- recordings
def trace() -> PowerTrace:
    """1 s at 10 samples a second: 1 W for half a second, then 3 W."""
    times = 100 + np.arange(10) / 10
    return PowerTrace(times, np.where(times < 100.45, 0.5, 1.5), np.full(10, 2.0), np.array([]))


@pytest.mark.parametrize(
    ("start", "end", "joules"),
    [(100, 101, 2.0), (100, 100.5, 0.5), (100.5, 101, 1.5), (100.45, 100.55, 0.2),
     (100.01, 100.02, 0.01)],
)  # fmt: skip
def test_energy_of_a_span(start: float, end: float, joules: float) -> None:
    assert trace().energy_j(start, end) == pytest.approx(joules)


@pytest.mark.parametrize(("start", "end"), [(99.9, 100.5), (100.5, 101.2), (100.5, 100.5)])
def test_a_span_that_was_not_recorded(start: float, end: float) -> None:
    with pytest.raises(DeviceError, match=r"the meter recorded from 100\.000 to 101\.000 s"):
        trace().energy_j(start, end)


def test_a_recording_needs_samples() -> None:
    one = np.array([1.0])
    with pytest.raises(DeviceError, match="1 samples"):
        PowerTrace(one, one, one, one)


def test_the_spread_is_that_of_the_windows() -> None:
    windows = tuple(Window(1, 1.0, joules / 1e6, 0.0) for joules in (1, 2, 3, 4, 10))
    low, middle, high = statistics.quantiles((1, 2, 3, 4, 10), n=4, method="inclusive")
    assert (low, middle, high) == (2, 3, 4)
    assert "median 3 uJ, IQR 2 to 4 uJ" in EnergyResult(windows, "here", "me").method


def test_a_device_that_cannot_repeat_says_what_to_do(tmp_path: Path) -> None:
    elf = compile_toy(tmp_path / "firmware", "-DTD_NATIVE_STACK_BYTES=64")
    board = toy_board(latency_us="1000")
    with pytest.raises(DeviceError, match="refused 'infer'"):
        LoopbackRunner(meter=open_meter("scripted:")).run(toy_build(elf), board, toy_inputs(1))
