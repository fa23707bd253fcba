"""The ports: what the pipeline asks of the other rooms. Implementations live in those rooms.

Siblings never import each other; `cli/wiring.py` puts the implementations together, and
`devices/loopback.py` ships fakes with which the whole flow runs without hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tinydeploy.lineage import Lineage
from tinydeploy.trace import PowerTrace
from tinydeploy.types import (
    Artifact,
    Build,
    Compiled,
    Constraints,
    DeviceProfile,
    Evaluation,
    Measurement,
    ModelSource,
    Profile,
    Selection,
)


class Predictor(Protocol):
    """A model that runs on the host."""

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for N samples.

        `inputs` holds one array a model input, each (N, *shape without the batch dimension) in the
        model's own dtype; the result holds one array a model output, (N, *shape) likewise.
        """

    def close(self) -> None:
        """Release what it holds."""


class Compiler(Protocol):
    """Turns a `.tflite` into C for one core, and into a library of the host."""

    def compile(
        self,
        model: Path,
        out: Path,
        *,
        device: DeviceProfile | None = None,
        engine: str = "aot",
        optimize: str = "balanced",
        profile: bool = False,
    ) -> Compiled:
        """Write C sources to `out`, whole or not at all.

        With `profile` they mark where each layer begins. Raises UnsupportedModelError naming the
        layer whose op is missing.
        """

    def native(self, model: Path, *, optimize: str = "balanced") -> Predictor:
        """The same C built for the host: computes exactly what the device computes."""


class Builder(Protocol):
    """Links compiled sources into firmware for a board."""

    def build(self, compiled: Compiled, model: Path, device: DeviceProfile, out: Path) -> Build:
        """Firmware, linker map and build.json in `out`, whole or not at all.

        Raises ToolMissingError or DeviceError. Does not judge whether it fits: see `pipeline.fit`.
        """

    def load(self, directory: Path) -> Build:
        """The build that `build` wrote to a folder. Raises UsageError if there is none."""


class Runner(Protocol):
    """A board, real or emulated, that carries a build."""

    def run(
        self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Measurement]:
        """Flash `build`, send the inputs (as for Predictor.predict), read outputs and counters.

        Raises WrongFirmwareError, LinkError, FirmwareFaultError, DeviceError. The measurement's
        `outputs_compared` is 0: the caller compares.
        """

    def profile(self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]) -> Profile:
        """Flash a build that was compiled with `profile` and take the last inference apart.

        Raises as `run` does, and UsageError for a build that marks no layers.
        """

    def identify(self, build: Build, device: DeviceProfile) -> Any:
        """Flash `build` and return what the board says it runs. Raises as `run` does."""


class Meter(Protocol):
    """An energy meter in the board's supply line.

    It records between `start` and `stop`; windows are cut out of the recording afterwards, at the
    edges of the firmware's timestamp pin where it is wired to the meter, else by the host's clock.
    """

    name: str

    def start(self) -> None:
        """Begin to record. Returns when samples arrive. Raises DeviceError if none do."""

    def stop(self) -> PowerTrace:
        """End the recording. Raises DeviceError if samples were lost."""

    def close(self) -> None:
        """Release the meter; the board stays powered."""


class Registry(Protocol):
    """Where variants, runs and selections are kept."""

    def register(
        self,
        name: str,
        source: ModelSource,
        artifact: Artifact,
        evaluation: Evaluation,
        data: Mapping[str, Any],
        lineage: Lineage | None = None,
    ) -> str:
        """The model version of this variant, created by the last call or found if it exists.

        `data` describes the data sets: name -> {"path", "sha256", "samples", "context"};
        `lineage` says what made the variant.
        """

    def record(
        self,
        name: str,
        version: str,
        build: Build,
        measurement: Measurement | None,
        lineage: Lineage | None = None,
    ) -> str:
        """Run id of the child run for (version, board, engine, optimize), created or found."""

    def select(
        self, name: str, selection: Selection, constraints: Constraints | None = None
    ) -> None:
        """Point the alias `<board>` at the chosen version and tag it; remove it if none is.

        `constraints` are what the selection was made under, and are kept with it.
        """
