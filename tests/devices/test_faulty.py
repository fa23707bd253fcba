"""Lines that damage bytes: what the faulty port does, and that sessions survive it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import compile_toy, toy_inputs, toy_outputs

from tinydeploy.devices.faulty import Damage, FaultyPort, SlowPort
from tinydeploy.devices.link import Link, SocketPort
from tinydeploy.devices.loopback import NativeFirmware
from tinydeploy.devices.session import Session
from tinydeploy.errors import TinydeployError

ROOT = Path(__file__).resolve().parents[2]


class Memory:
    """A port that keeps what is written and gives what it was given."""

    def __init__(self, data: bytes = b"") -> None:
        self.written = b""
        self._data = data

    def read(self, timeout_s: float) -> bytes:
        data, self._data = self._data, b""
        return data

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        pass


def read_all(port: FaultyPort) -> bytes:
    return b"".join(iter(lambda: port.read(0.02), b""))


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60)), st.integers(0, 2**32))
def test_a_line_without_damage_changes_nothing(parts: list[bytes], seed: int) -> None:
    memory = Memory(b"".join(parts))
    port = FaultyPort(memory, Damage(), seed)
    for part in parts:
        port.write(part)
    assert memory.written == read_all(port) == b"".join(parts)
    assert not port.injected


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=1, max_size=300), st.integers(0, 2**32))
def test_the_same_seed_does_the_same_damage(data: bytes, seed: int) -> None:
    damage = Damage(0.05, 0.05, 0.05, 0.05, delay_s=0.0)
    results = []
    for _ in range(2):
        memory = Memory(data)
        port = FaultyPort(memory, damage, seed)
        port.write(data)
        results.append((memory.written, read_all(port), dict(port.injected)))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("damage", "lengths"),
    [
        (Damage(flip=1.0), {1000}),
        (Damage(drop=1.0), {0}),
        (Damage(duplicate=1.0), {2000}),
        (Damage(delay=1.0, delay_s=0.0), {1000}),
    ],
)
def test_each_kind(damage: Damage, lengths: set[int]) -> None:
    data = bytes(range(250)) * 4
    memory = Memory()
    port = FaultyPort(memory, damage, 1)
    port.write(data)
    assert {len(memory.written)} == lengths
    assert sum(port.injected.values()) == 1000
    if damage.flip:
        flips = [a ^ b for a, b in zip(data, memory.written, strict=True)]
        assert all(bits.bit_count() == 1 for bits in flips)
    if damage.delay:
        assert memory.written == data


def test_the_rate_is_what_it_says() -> None:
    memory = Memory()
    port = FaultyPort(memory, undelayed(0.02), 3)
    for _ in range(100):
        port.write(bytes(1000))
    assert 1700 < sum(port.injected.values()) < 2300
    assert min(port.injected.values()) > 350


def undelayed(rate: float) -> Damage:
    mixed = Damage.mixed(rate)
    return Damage(mixed.flip, mixed.drop, mixed.duplicate, mixed.delay, delay_s=0.0)


# ---------------------------------------------------------------- sessions
@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_toy(tmp_path_factory.mktemp("toy") / "firmware", "-DTD_PORT_HAS_ENERGY")


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rate", [0.001, 0.01])
def test_a_damaged_session_gives_the_truth_or_an_error(elf: Path, rate: float, seed: int) -> None:
    """`bench/link.py` does it a thousand times."""
    inputs = toy_inputs(3, seed)
    truth = toy_outputs(inputs)
    with NativeFirmware(elf, "latency_us=1250 energy_nj=41500") as firmware:
        host, port = firmware.url.removeprefix("socket://").split(":")
        faulty = FaultyPort(SocketPort(host, int(port)), Damage.mixed(rate), seed)
        with Link(faulty, "faulty") as link:
            session = Session(link)
            try:
                session.reset()
                for index in range(3):
                    result = session.infer(b"".join(x[index].tobytes() for x in inputs))
                    assert result.outputs == tuple(y[index].tobytes() for y in truth)
                    assert (result.device_us, result.energy_uj) == (1250, 41.5)
                assert session.counters()["inferences"] == 3
            except TinydeployError as e:
                assert e.hint


@pytest.mark.parametrize("baudrate", [9600, 115_200, 921_600])
def test_a_slow_line_is_waited_for(elf: Path, baudrate: int) -> None:
    """At 9,600 baud the answer to `id` alone takes 0.35 s: nothing is sent twice for that."""
    inputs = toy_inputs(1)
    with NativeFirmware(elf) as firmware:
        host, port = firmware.url.removeprefix("socket://").split(":")
        slow = SlowPort(SocketPort(host, int(port)), baudrate)
        with Link(slow, "slow", baudrate) as link:
            session = Session(link)
            result = session.infer(b"".join(x[0].tobytes() for x in inputs))
            assert result.outputs == tuple(y[0].tobytes() for y in toy_outputs(inputs))
            assert session.resends == 0


# ---------------------------------------------------------------- the fuzzers' seeds
@pytest.fixture(scope="module")
def fuzz() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("fuzz_link", ROOT / "bench" / "fuzz_link.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_link"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["fuzz_link"]


def test_the_firmware_survives_its_seeds(fuzz: ModuleType) -> None:
    found = fuzz.fuzz_firmware(0, 1, None)
    assert found["cases"] == len(list((fuzz.SEEDS / "commands").glob("*.bin"))) > 5
    assert found["edges"] > 300


def test_the_host_survives_its_seeds_and_a_thousand_mutations(fuzz: ModuleType) -> None:
    corpus = [path.read_bytes() for path in sorted((fuzz.SEEDS / "answers").glob("*.bin"))]
    assert len(corpus) > 5
    for stream in corpus:
        for line in stream.split(b"\n"):
            fuzz.parse(line.strip(b"\r"))
    for number in range(1000):
        fuzz.host_case(fuzz.random.Random(number), corpus)
