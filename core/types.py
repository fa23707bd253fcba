"""The values that flow: ModelSource -> Artifact -> Evaluation -> Build -> Measurement -> Selection.

All are frozen. Units stand in the names. `None` means *not measured*, never zero. Identity is the
sha256 of content. `to_json`/`from_json` turn any of them into plain JSON values and back. The
values of selection stand in `selection.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from tinydeploy.compression import Calibration, Mix
from tinydeploy.recipes import Recipe as Recipe
from tinydeploy.recipes import Training as Training
from tinydeploy.selection import Candidate as Candidate
from tinydeploy.selection import CandidateTable as CandidateTable
from tinydeploy.selection import Constraints as Constraints
from tinydeploy.selection import Evidence as Evidence
from tinydeploy.selection import Origin as Origin
from tinydeploy.selection import Selection as Selection
from tinydeploy.values import from_json as from_json
from tinydeploy.values import to_json as to_json

Task = Literal["classify", "regress", "anomaly"]
Engine = Literal["aot", "tflm"]
Optimize = Literal["size", "balanced", "speed"]

HIGHER_IS_BETTER: Mapping[str, bool] = MappingProxyType(
    {"accuracy": True, "auc": True, "rmse": False, "mae": False}
)
"""The metrics of all tasks, and whether more of them is better."""


# ---------------------------------------------------------------- models
@dataclass(frozen=True)
class InputDescription:
    """How raw data becomes the model's float input: ``(resize(raw) * scale) - mean``.

    `dtype` is the dtype of the raw data (what a user's `.npz` or images hold); `resize` is
    (height, width) or None; `scale` and `mean` apply to every element; "channels-first" data
    (N, C, H, W), as PyTorch has it, is turned to channels last before anything else. An artifact
    without a description takes its raw data as it is: float is quantized, integers must already be
    in the model's own dtype.
    """

    dtype: str = "float32"
    scale: float = 1.0
    mean: float = 0.0
    resize: tuple[int, int] | None = None
    layout: Literal["as-is", "channels-first"] = "as-is"


@dataclass(frozen=True)
class ModelSource:
    """A trained model as the user brought it; `signature` is that of a SavedModel, "" for its own.

    A SavedModel is a folder, and its `sha256` that of all its files. Of a `trusted` one code that
    it brings along may run (Lambda layers), and files outside its folder may be read.
    """

    path: Path
    format: Literal["keras", "tflite", "savedmodel", "onnx", "torch"]
    sha256: str
    name: str
    signature: str = ""
    trusted: bool = False


@dataclass(frozen=True)
class Artifact:
    """A `.tflite` file and what a board needs beside the weights.

    `data_sha256` is the hash of the calibration samples that were used, "" without calibration;
    `training_sha256` that of the training set of a recipe that trains.
    `agreement` holds the largest absolute difference of each output of the float model from what
    the source's own framework computes, where the two were compared. `calibration` is None
    without one, `mix` unless the recipe chose the weights layer by layer.
    """

    path: Path
    sha256: str
    size_bytes: int
    recipe: str
    source_name: str
    source_sha256: str
    data_sha256: str
    task: Task = "classify"
    metric: str = "accuracy"
    labels: tuple[str, ...] = ()
    input: InputDescription | None = None
    threshold: float | None = None
    agreement: Mapping[str, float] = field(default_factory=dict)
    training_sha256: str = ""
    calibration: Calibration | None = None
    mix: Mix | None = None


@dataclass(frozen=True)
class Evaluation:
    """A metric over a labelled data set, computed by one engine.

    `metrics` holds every metric of the task (`rmse` and `mae` for `regress`). What paired tests
    need is kept a sample: `correct` holds 0/1 for `classify`; `per_sample` the mean
    `squared_error` and `absolute_error` for `regress`, `score` and `label` for `anomaly`.
    """

    model_sha256: str
    data_sha256: str
    split: str
    engine: str
    metric: str
    value: float
    samples: int
    metrics: Mapping[str, float] = field(default_factory=dict)
    correct: tuple[int, ...] = ()
    per_sample: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


# ---------------------------------------------------------------- boards
@dataclass(frozen=True)
class DeviceProfile:
    """One board, read from `devices/profiles/NAME.toml`.

    `devices/boardfile.py` explains and checks each field.
    `flash_bytes` and `ram_bytes` are what firmware may use. `platform` is "native" for boards that
    are a process of the host, "qemu" and "renode" for emulated ones, otherwise PlatformIO's
    platform name. `port` names the file below `firmware/ports/` that implements `td_port.h`.

    Of real boards: `usb` holds "vid:pid" (lower-case hex) of each serial port it may show, `baud`
    the speed that its firmware opens; `supply_v` is the chip's supply on the board, `active_mw` the
    published power of the chip while it runs at `clock_hz` (`sources["power"]` says under which
    conditions), None where no source was found. `platformio` holds `version`
    (of the platform), `board`, `framework`; `upload` holds `protocol` and what the protocol's tool
    has to know; `sources` says where each fact is from.
    """

    name: str
    description: str
    core: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    platform: str
    arch_flags: tuple[str, ...] = ()
    toolchain_prefix: str = ""
    flash_origin: int = 0
    ram_origin: int = 0
    port: str = ""
    defines: Mapping[str, str] = field(default_factory=dict)
    emulator: Mapping[str, str] = field(default_factory=dict)
    fpu: bool = False
    dsp: bool = False
    helium: bool = False
    counts_instructions: bool = False
    measures_time: bool = False
    measures_energy: bool = False
    mcu: str = ""
    usb: tuple[str, ...] = ()
    baud: int = 115_200
    supply_v: float | None = None
    active_mw: float | None = None
    platformio: Mapping[str, str] = field(default_factory=dict)
    upload: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    tested_on_hardware: bool = False
    source: str = ""

    @property
    def real(self) -> bool:
        """True for a board that one can hold: its firmware is uploaded, its port is opened."""
        return self.platform not in ("host", "native", "qemu", "renode")


# ---------------------------------------------------------------- builds and measurements
@dataclass(frozen=True)
class KernelChoice:
    """A kernel that could compute a layer, with what it was judged by.

    `instructions` and `cycles` of an inference are estimated from the kernel's code and the layer's
    shape; `cycles` is None where the core has no published table or none was worked out. The
    layer's constants take `flash_bytes`.
    """

    layer: int
    kernel: str
    instructions: int
    cycles: int | None
    flash_bytes: int
    chosen: bool


@dataclass(frozen=True)
class Compiled:
    """C sources of one model for one core, in `directory`; `files` are relative to it.

    `unsupported` is part of what `compile --json` prints and empty: such a model is refused.
    `profiled_layers` is the number of layers that the sources mark (`td_profile_mark`), 0 in all
    sources but those made for a profile. `arena_bound_bytes` is what no plan of the arena can be
    below, None where no plan was made here. `choices` are the kernels that were weighed for each
    layer for which the core has kernels of its own. `layout` is the sha256 of the
    sources without the model's numbers, where these can be exchanged on the board, "" otherwise.
    """

    directory: Path
    files: tuple[str, ...]
    model_sha256: str
    engine: str
    optimize: str
    arena_bytes: int
    unsupported: tuple[str, ...] = ()
    profiled_layers: int = 0
    arena_bound_bytes: int | None = None
    choices: tuple[KernelChoice, ...] = ()
    layout: str = ""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a linked firmware.

    `flash` splits `flash_bytes` into weights, tables, engine_code, protocol, libc_startup;
    `ram` splits `ram_bytes` into arena, io, engine_statics, stack, protocol, libc. Both add up.
    `ram["stack"]` is the reserved size until a device has reported its high-water mark.
    """

    flash_bytes: int
    ram_bytes: int
    arena_bytes: int
    code_bytes: int
    flash: Mapping[str, int]
    ram: Mapping[str, int]

    def with_stack(self, high_water_bytes: int) -> Footprint:
        """The same with the stack a device really used instead of the reserved one."""
        ram = {**self.ram, "stack": high_water_bytes}
        return replace(self, ram=ram, ram_bytes=sum(ram.values()))


@dataclass(frozen=True)
class Build:
    """A linked firmware in `directory` (firmware.elf, .bin, .map, build.json).

    `build_id` is the sha256 of model, engine, optimize level, board and compiler; the device
    reports it and the host demands it. `layout` names all but the model's numbers: builds of the
    same one can be turned into each other on the board (`tinydeploy update`); "" for others.
    """

    directory: Path
    elf: Path
    build_id: str
    board: str
    engine: str
    optimize: str
    compiler: str
    model_path: Path
    model_sha256: str
    firmware_sha256: str
    footprint: Footprint
    layout: str = ""


@dataclass(frozen=True)
class Measurement:
    """What one board did with real inputs.

    `instructions`, `latency_us` and `energy_uj` hold every raw sample, one an inference, or None;
    with a host meter `energy_uj` holds one a window, the mean of many inferences, net of idle.
    `origin` names the origin of each of those keys that is not None. `outputs_compared` of the
    `samples` inferences were compared byte for byte with the host's, `outputs_equal` were equal.
    """

    build_id: str
    board: str
    samples: int
    outputs_compared: int
    outputs_equal: int
    instructions: tuple[int, ...] | None = None
    cycles_model: int | None = None
    latency_us: tuple[float, ...] | None = None
    energy_uj: tuple[float, ...] | None = None
    stack_bytes: int | None = None
    arena_bytes: int | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
    method: str = ""


@dataclass(frozen=True)
class LayerCost:
    """What one layer of a model took in one inference; None for what was not counted or timed.

    `layer` is the operator's index in the model, `begun` how often the engine turned to it.
    `classes` counts its instructions by class (see firmware/qemu/README.md), `functions` by the
    function that they belong to, most first.
    """

    layer: int
    begun: int
    instructions: int | None = None
    cycles_model: int | None = None
    latency_us: float | None = None
    classes: Mapping[str, int] = field(default_factory=dict)
    functions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """One inference, layer by layer, on a board whose firmware marks where each layer begins.

    The totals are those of the whole inference, what belongs to no layer included; what the marks
    cost is subtracted from all counts. `origin` as for Measurement.
    """

    build_id: str
    board: str
    layers: tuple[LayerCost, ...]
    instructions: int | None = None
    cycles_model: int | None = None
    latency_us: float | None = None
    origin: Mapping[str, Origin] = field(default_factory=dict)
