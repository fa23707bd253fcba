"""Real inputs through a device: its outputs, and the samples of what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinydeploy.devices import profile
from tinydeploy.devices.meter.energy import EnergyResult, measure_energy
from tinydeploy.devices.protocol import Identity, TensorInfo
from tinydeploy.devices.session import Inference, Session
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.ports import Meter
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, DeviceProfile, Measurement, Origin, Profile


def measure(
    session: Session,
    build: Build,
    device: DeviceProfile,
    inputs: Sequence[np.ndarray],
    *,
    counter: Callable[[], Sequence[int]] | None = None,
    meter: Meter | None = None,
    method: str = "",
) -> tuple[list[np.ndarray], Measurement]:
    """Run all inputs on the device that `session` speaks to.

    `inputs` holds one array a model input, each (N, *shape without the batch dimension) in the
    model's own dtype. The result holds one array a model output likewise (flat, (N, elements),
    where `build.model_path` is gone: only the model knows shapes), and a measurement with one
    sample an inference. `counter` gives all instruction counts of the emulator so far, one an
    inference. Latency is stored only where the device has real time and its profile says that it
    measures it. Energy is a host `meter`'s, net of idle, one sample a window (see meter/energy.py),
    else the device's own, one an inference, else `estimated` from the board's published power and
    the measured latency, else None.

    Raises WrongFirmwareError, LinkError, FirmwareFaultError, DeviceError; UsageError for inputs
    that are not the model's.
    """
    identity = session.require(build)
    rows = rows_of(identity, inputs)
    before = len(counter()) if counter else 0
    session.reset()
    started, ordered = session.counters()["inferences"], session.inferences
    runs = [session.infer(row) for row in rows]
    _check_restart(session, started + session.inferences - ordered)
    instructions = _counts(counter, before, len(runs)) if counter else None
    latency_us = _latency(identity, device, runs)
    metered = measure_energy(session, rows, runs, meter) if meter else None
    energy_uj = metered.net_uj if metered else _own_energy(device, runs)
    memory = session.memory()
    origin: dict[str, Origin] = {}
    if instructions is not None:
        origin["instructions"] = "emulated"
    if latency_us is not None:
        origin["latency_us"] = "measured"
    if energy_uj is not None:
        origin["energy_uj"] = "measured"
    elif latency_us is not None and device.active_mw is not None:
        energy_uj = tuple(us * device.active_mw / 1000 for us in latency_us)
        origin["energy_uj"] = "estimated"
    return outputs_of(identity, build, runs), Measurement(
        build_id=build.build_id,
        board=device.name,
        samples=len(runs),
        outputs_compared=0,
        outputs_equal=0,
        instructions=instructions,
        latency_us=latency_us,
        energy_uj=energy_uj,
        stack_bytes=memory.stack_used_bytes,
        arena_bytes=memory.arena_bytes,
        origin=origin,
        method="; ".join(
            [method or _method(len(runs), origin), *_energy_method(device, origin, metered)]
        ),
    )


def timed_layers(
    session: Session, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
) -> Profile:
    """The layers of one inference, of the first sample, by the device's own clock.

    Raises as `measure` does, and DeviceError for a device without real time.
    """
    _, result = measure(session, build, device, [x[:1] for x in inputs])
    if result.latency_us is None:
        raise DeviceError(f"{device.name} measures no time", hint="measures_time in its board file")
    return profile.timed(build, device, result.latency_us[-1], session.layers())


def _check_restart(session: Session, expected: int) -> None:
    """A board that restarted has lost the state a model may keep: its results are worth nothing."""
    counted = session.counters()["inferences"]
    if counted != expected:
        raise DeviceError(
            f"the device counts {counted} inferences where {expected} were asked for",
            hint="it restarted in between: check power, watchdog and stack size",
        )


def rows_of(identity: Identity, inputs: Sequence[np.ndarray]) -> list[bytes]:
    """The bytes of each sample, all inputs one after the other. Raises UsageError."""
    if len(inputs) != len(identity.inputs):
        raise UsageError(
            f"the model has {len(identity.inputs)} inputs, got {len(inputs)} arrays",
            hint="one array a model input, in the model's order",
        )
    samples = {len(array) for array in inputs}
    if len(samples) != 1 or samples == {0}:
        raise UsageError(
            f"the inputs hold {sorted(samples)} samples", hint="one or more, equally many each"
        )
    parts = [_raw(array, info) for array, info in zip(inputs, identity.inputs, strict=True)]
    return [b"".join(row) for row in zip(*parts, strict=True)]


def _raw(array: np.ndarray, info: TensorInfo) -> list[bytes]:
    wanted = np.dtype(info.dtype)
    size = array[0].size * wanted.itemsize
    if array.dtype.newbyteorder("=") != wanted or size != info.bytes:
        raise UsageError(
            f"an input sample is {array.dtype}{list(array.shape[1:])}, the model takes "
            f"{info.bytes // wanted.itemsize} x {info.dtype}",
            hint="inputs stand in the model's own dtype and shape, quantized already",
        )
    little = array.astype(wanted.newbyteorder("<"), copy=False)
    return [np.ascontiguousarray(sample).tobytes() for sample in little]


def outputs_of(identity: Identity, build: Build, runs: Sequence[Inference]) -> list[np.ndarray]:
    """One array a model output, (N, *shape without the batch dimension)."""
    shapes = _shapes(build)
    arrays = []
    for index, info in enumerate(identity.outputs):
        dtype = np.dtype(info.dtype).newbyteorder("<")
        flat = np.frombuffer(b"".join(run.outputs[index] for run in runs), dtype)
        shape = shapes[index] if shapes else (info.bytes // dtype.itemsize,)
        arrays.append(flat.reshape(len(runs), *shape).astype(info.dtype))
    return arrays


def _shapes(build: Build) -> list[tuple[int, ...]] | None:
    if not build.model_path.is_file():
        return None
    graph = read_graph(build.model_path)
    return [graph.tensors[index].sample_shape for index in graph.outputs]


def _counts(counter: Callable[[], Sequence[int]], before: int, runs: int) -> tuple[int, ...]:
    counts = tuple(int(n) for n in counter()[before:])
    if len(counts) != runs:
        raise DeviceError(
            f"the emulator counted {len(counts)} inferences, {runs} were asked for",
            hint="the firmware restarted, or its markers are not the ones that are counted",
        )
    return counts


def _latency(
    identity: Identity, device: DeviceProfile, runs: Sequence[Inference]
) -> tuple[float, ...] | None:
    """Samples in microseconds. An emulator's time is virtual and is never one of them."""
    if not device.measures_time or "time" not in identity.capabilities:
        return None
    return tuple(float(run.device_us) for run in runs)


def _own_energy(device: DeviceProfile, runs: Sequence[Inference]) -> tuple[float, ...] | None:
    """Samples in microjoules of the board's own meter, if it has one."""
    if not device.measures_energy:
        return None
    samples = [run.energy_uj for run in runs if run.energy_uj is not None]
    return tuple(samples) if len(samples) == len(runs) else None


def _method(samples: int, origin: dict[str, Origin]) -> str:
    parts = [f"{samples} inputs over the serial protocol"]
    if "instructions" in origin:
        parts.append("guest instructions between the markers around the invoke, by the emulator")
    if "latency_us" in origin:
        parts.append("latency of each invoke by the board's clock")
    return "; ".join(parts)


def _energy_method(
    device: DeviceProfile, origin: dict[str, Origin], metered: EnergyResult | None
) -> list[str]:
    if metered is not None:
        return [metered.method]
    if origin.get("energy_uj") == "estimated":
        source = device.sources.get("power", "its board file")
        return [
            f"energy estimated: {device.active_mw:g} mW of active power ({source}) x latency, "
            "with no regard to what the model does"
        ]
    return ["energy of each inference by the board"] if "energy_uj" in origin else []
