"""`tinydeploy.toml`: what to deploy, where, and what is good enough.

Every key is documented here and in the README; unknown keys are errors. Paths are relative to
the file. Command-line options override single keys.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tinydeploy.errors import UsageError
from tinydeploy.names import require_name
from tinydeploy.objective import parse_objective
from tinydeploy.tomlfile import parse, read_toml
from tinydeploy.types import Constraints, Engine, InputDescription, Optimize, Task


@dataclass(frozen=True)
class DataConfig:
    """Labelled data: `.npz` with `x` and `y`, or a folder of images with a folder a class."""

    validation: Path
    """Variants are judged and chosen on these samples."""
    calibration: Path | None = None
    """Representative samples for quantization; needed by every integer recipe."""
    training: Path | None = None
    """What recipes that train learn from; the others leave it alone."""
    test: Path | None = None
    """Looked at once, for the chosen variants only."""


@dataclass(frozen=True)
class LimitsConfig:
    """What is good enough; a key left out is no limit."""

    min_metric: float | None = None
    """Least value of the task's metric (greatest, for an error metric)."""
    max_loss: float | None = None
    """Greatest distance to the metric of the reference: the best variant, unless one is named."""
    confidence: float | None = None
    """With it (0.95), a loss must be shown to be below max_loss by a paired test."""
    reference: str | None = None
    """The variant that max_loss is the distance to."""
    max_flash_bytes: int | None = None
    max_ram_bytes: int | None = None
    max_instructions: int | None = None
    """Greatest mean number of instructions an inference."""
    max_latency_us: float | None = None
    max_energy_uj: float | None = None

    def constraints(self, flash_bytes: int, ram_bytes: int) -> Constraints:
        """These limits together with a board's own."""
        return Constraints(
            **{name: getattr(self, name) for name in self.__dataclass_fields__},
            board_flash_bytes=flash_bytes,
            board_ram_bytes=ram_bytes,
        )


@dataclass(frozen=True)
class Config:
    """One `tinydeploy.toml`."""

    name: str
    """Name of the registered model."""
    sources: tuple[Path, ...]
    """Trained models: `.keras`, `.h5`, `.onnx`, `.pt2`, `.tflite`, the folder of a SavedModel."""
    devices: tuple[str, ...]
    """Boards, by the names of `tinydeploy devices list`."""
    data: DataConfig
    recipes: tuple[str, ...] = ("float32", "int8", "int16x8")
    task: Task = "classify"
    labels: tuple[str, ...] = ()
    input: InputDescription | None = None
    """How raw data becomes the float input: `dtype`, `scale`, `mean`, `resize`, `layout`."""
    trust_sources: bool = False
    """Whether sources may bring code (Lambda layers) and read files outside their folders."""
    engine: Engine = "aot"
    optimize: Optimize = "balanced"
    tflm_lib: str = ""
    """TFLite-Micro for the `tflm` engine: a folder with its sources, or OWNER/NAME for lib_deps."""
    objective: str = "flash"
    """What "smallest" means: a figure, or a weighted sum (see `objective.py`)."""
    measure_samples: int = 3
    """Validation inputs sent to each board; every output is compared with the host's."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    device_limits: Mapping[str, LimitsConfig] = field(default_factory=dict)
    """`[device_limits.NAME]`: replaces `limits` for one board."""
    profiles: tuple[Path, ...] = ()
    """Folders with more board files."""
    registry: Path | str = Path()
    """Folder that holds `mlruns/`, or the URL of an MLflow server."""
    work: Path = Path(".tinydeploy")
    """Folder for converted models and builds; it can be deleted at any time."""

    def limits_for(self, device: str) -> LimitsConfig:
        """The limits that hold on one board."""
        return self.device_limits.get(device, self.limits)


def load_config(path: Path) -> Config:
    """Read and check a configuration file. Raises UsageError with file, line and field."""
    path = path.resolve()
    values = read_toml(path)
    config = parse(Config, values, path)
    folders = {key: (path.parent / getattr(config, key)).resolve() for key in ("registry", "work")}
    library = path.parent / config.tflm_lib
    if config.tflm_lib and library.is_dir():
        config = dataclasses.replace(config, tflm_lib=str(library.resolve()))
    config = dataclasses.replace(config, **folders)
    if "registry" not in values:
        config = dataclasses.replace(config, registry=default_registry(path.parent))
    elif is_url(values["registry"]):
        config = dataclasses.replace(config, registry=values["registry"])
    require_name(f"{path}: name", config.name)
    for key in ("sources", "devices", "recipes"):
        if not getattr(config, key):
            raise UsageError(f"{path}: {key} is empty")
    if config.measure_samples < 1:
        raise UsageError(f"{path}: measure_samples must be at least 1")
    try:
        parse_objective(config.objective)
    except UsageError as e:
        raise UsageError(f"{path}: objective: {e.message}", hint=e.hint) from None
    for device in config.device_limits:
        if device not in config.devices:
            raise UsageError(
                f"{path}: [device_limits.{device}] is for a board that is not in devices"
            )
    return config


def is_url(text: str) -> bool:
    """True for the address of a server."""
    return text.startswith(("http://", "https://"))


def default_registry(folder: Path) -> Path | str:
    """Where to register if nothing is said: the server in MLFLOW_TRACKING_URI, or `folder`.

    A tracking URI that is not a server's is not followed: its database may be another program's.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return uri if is_url(uri) else folder
