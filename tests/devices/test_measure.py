"""Real inputs through the native firmware: outputs, samples, and what must not be there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from toy import compile_toy, toy_board, toy_build, toy_inputs, toy_outputs

from tinydeploy.devices.link import open_link
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.devices.measure import measure
from tinydeploy.devices.session import Session
from tinydeploy.errors import DeviceError, UsageError, WrongFirmwareError
from tinydeploy.types import Measurement, from_json, to_json

SCRIPT = "latency_us=1250,1300 energy_nj=41500,42000,42500"
N = 5


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware", "-DTD_PORT_HAS_ENERGY")


@contextmanager
def talking(elf: Path, script: str = SCRIPT) -> Iterator[Session]:
    with NativeFirmware(elf, script) as firmware, open_link(firmware.url) as link:
        yield Session(link, infer_timeout_s=5)


def counting(session: Session, each: int = 1000, surplus: int = 0) -> Callable[[], Sequence[int]]:
    """A counter as an emulator gives it: an inference of somebody else came first."""
    return lambda: [7] + [each + i for i in range(session.inferences + surplus)]


def test_a_board_with_clock_and_meter(elf: Path) -> None:
    inputs = toy_inputs(N)
    with talking(elf) as session:
        outputs, result = measure(session, toy_build(elf), toy_board(), inputs)
    for got, expected in zip(outputs, toy_outputs(inputs), strict=True):
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert (got == expected).all()
    assert result.latency_us == (1250.0, 1300.0, 1250.0, 1300.0, 1250.0)
    assert result.energy_uj == (41.5, 42.0, 42.5, 41.5, 42.0)
    assert result.instructions is None
    assert result.origin == {"latency_us": "measured", "energy_uj": "measured"}
    assert (result.samples, result.outputs_compared, result.outputs_equal) == (N, 0, 0)
    assert (result.arena_bytes, result.stack_bytes) == (216, None)
    assert result.build_id == "1" * 64
    assert "latency" in result.method
    assert from_json(Measurement, to_json(result)) == result


def test_two_measurements_are_the_same(elf: Path) -> None:
    results = []
    for _ in range(2):
        with talking(elf) as session:
            results.append(measure(session, toy_build(elf), toy_board(), toy_inputs(N))[1])
    assert results[0] == results[1]


def test_a_second_measurement_starts_from_the_models_first_state(elf: Path) -> None:
    inputs = toy_inputs(N)
    with talking(elf) as session:
        runs = [measure(session, toy_build(elf), toy_board(), inputs)[0] for _ in range(2)]
    assert (runs[0][1] == runs[1][1]).all()


def test_what_a_profile_does_not_measure_is_none(elf: Path) -> None:
    with talking(elf) as session:
        _, result = measure(session, toy_build(elf), toy_board(False), toy_inputs(N))
    assert (result.latency_us, result.energy_uj, result.origin) == (None, None, {})


def test_an_emulator_gives_instructions_and_never_time(tmp_path: Path) -> None:
    elf = compile_toy(tmp_path / "firmware", "-DTD_INSTRUCTION_COUNTER=1")
    with talking(elf, "latency_us=1250") as session:
        assert session.identify().capabilities == {"virtual-time", "instructions"}
        counter = counting(session)
        _, result = measure(session, toy_build(elf), toy_board(), toy_inputs(N), counter=counter)
    assert result.instructions == (1000, 1001, 1002, 1003, 1004)
    assert result.latency_us is None
    assert result.energy_uj is None
    assert result.origin == {"instructions": "emulated"}


@pytest.mark.parametrize("surplus", [-1, 1])
def test_counts_that_do_not_match_the_inferences(elf: Path, surplus: int) -> None:
    with talking(elf) as session:
        session.infer(bytes(108))
        counter = counting(session, surplus=0)
        broken = counting(session, surplus=surplus)
        calls = iter([counter, broken])
        with pytest.raises(DeviceError, match=f"counted {N + surplus} inferences, {N} were"):
            measure(
                session,
                toy_build(elf),
                toy_board(),
                toy_inputs(N),
                counter=lambda: next(calls)(),
            )


def test_a_restart_spoils_the_measurement(elf: Path) -> None:
    restarted = pytest.raises(DeviceError, match=r"counts \d+ inferences where 20")
    with talking(elf, f"{SCRIPT} fault=reboot@18") as session, restarted as caught:
        measure(session, toy_build(elf), toy_board(), toy_inputs(20))
    assert "restarted" in caught.value.hint


def test_wrong_firmware(elf: Path) -> None:
    with talking(elf) as session, pytest.raises(WrongFirmwareError):
        measure(session, toy_build(elf, build_id="3" * 64), toy_board(), toy_inputs(1))


def spoilt(change: Callable[[list[np.ndarray]], list[np.ndarray]]) -> list[np.ndarray]:
    return change(toy_inputs(2))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (spoilt(lambda x: x[:1]), "has 2 inputs, got 1 arrays"),
        (spoilt(lambda x: [x[0], x[1][:1]]), r"hold \[1, 2\] samples"),
        (spoilt(lambda x: [a[:0] for a in x]), r"hold \[0\] samples"),
        (spoilt(lambda x: [x[0].astype(np.uint8), x[1]]), r"uint8\[100\], .* 100 x int8"),
        (spoilt(lambda x: [x[0], x[1].astype(np.float64)]), r"float64\[2\], .* 2 x float32"),
        (spoilt(lambda x: [x[0][:, :99], x[1]]), r"int8\[99\], .* 100 x int8"),
    ],
)
def test_inputs_that_are_not_the_models(elf: Path, inputs: list[np.ndarray], message: str) -> None:
    with talking(elf) as session, pytest.raises(UsageError, match=message) as caught:
        measure(session, toy_build(elf), toy_board(), inputs)
    assert caught.value.hint


def test_inputs_in_any_memory_order(elf: Path) -> None:
    first, second = toy_inputs(N)
    shaped = np.asfortranarray(first.reshape(N, 10, 10))
    big = second.astype(second.dtype.newbyteorder(">"))
    with talking(elf) as session:
        outputs, _ = measure(session, toy_build(elf), toy_board(), [shaped, big])
    assert (outputs[1] == toy_outputs([first, second])[1]).all()
