"""The steps of `tinydeploy gate`: build, run and evaluate a model, and look up its champion."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tinydeploy.cli import options, wiring
from tinydeploy.errors import (
    DoesNotFitError,
    RegistryError,
    UnsupportedModelError,
    UsageError,
)
from tinydeploy.pipeline import evidence
from tinydeploy.pipeline.gate import METRIC, Limit, Verdict, judge
from tinydeploy.types import Artifact, Candidate, DeviceProfile, Evaluation

if TYPE_CHECKING:
    from tinydeploy.pipeline.data import Dataset
    from tinydeploy.registry.mlflow import MlflowRegistry


@dataclass(frozen=True)
class Gate:
    """What is judged and how: the model, its evaluation if there is data, the champion's registry.

    `name` is the registered model whose alias `<board>` is the champion, "" for none.
    """

    artifact: Artifact
    data: Dataset | None
    evaluation: Evaluation | None
    store: MlflowRegistry
    name: str
    samples: int
    engine: str
    optimize: str
    tflm_lib: str
    confidence: float | None = None

    def verdict(self, device: DeviceProfile, limits: Mapping[str, Limit]) -> Verdict:
        """Build the model for a board, run it there, and judge it. Raises what these raise."""
        champion, theirs = self.champion(device.name)
        unproven = self.unproven(limits.get(METRIC), champion, theirs)
        return judge(device.name, self.on_board(device), limits, champion, unproven)

    def unproven(
        self, limit: Limit | None, champion: Candidate | None, theirs: Evaluation | None
    ) -> str:
        """Why the samples do not show that a limit relative to the champion's metric holds.

        Empty if they do, and without a confidence. Raises UsageError for a confidence that has
        nothing to be about.
        """
        if self.confidence is None:
            return ""
        if (
            limit is None
            or limit.kind == "absolute"
            or not (champion and theirs and self.evaluation)
        ):
            raise UsageError(
                "--confidence needs --min-accuracy as a distance to a champion",
                hint='--name NAME --data DATA --min-accuracy "-0.01" --confidence 0.95',
            )
        allowed = limit.bound(theirs.value) or 0.0
        margin = theirs.value - allowed if champion.higher_is_better else allowed - theirs.value
        found = evidence.compare(theirs, self.evaluation, margin, self.confidence, champion.name)
        if isinstance(found, str):
            return f"no evidence: {found}"
        return "" if found.proof == "sufficient" else evidence.words(found, theirs.metric)

    def champion(self, board: str) -> tuple[Candidate | None, Evaluation | None]:
        """What the alias of the board points to, evaluated on the same data as the model.

        Raises RegistryError if a model was named and nothing of it is selected for the board.
        """
        if not self.name:
            return None, None
        found = self.store.view(self.name).champion(board)
        if found is None:
            raise RegistryError(
                f"no version of {self.name} is selected for {board}",
                hint="deploy or select first, or gate by plain numbers, without --name",
            )
        if self.data is None or self.evaluation is None:
            return dataclasses.replace(found, value=None), None
        theirs = self.store.evaluation(self.name, found.version)
        ours = self.evaluation
        if (theirs.data_sha256, theirs.metric) != (ours.data_sha256, ours.metric):
            options.progress(f"evaluate the champion of {board}, {found.name}, on the same data")
            artifact = self.store.artifact(self.name, found.version)
            theirs = wiring.evaluate(artifact, self.data, "aot")
        return dataclasses.replace(found, metric=theirs.metric, value=theirs.value), theirs

    def on_board(self, device: DeviceProfile) -> Candidate:
        """The model's figures on a board; blocked if it is too large or cannot be compiled."""
        from tinydeploy.cli.arrays import random_inputs
        from tinydeploy.pipeline.data import prepare
        from tinydeploy.pipeline.deployment import BoardResult, Variant, candidate
        from tinydeploy.pipeline.fit import require_fit
        from tinydeploy.tflite import read_graph

        artifact = self.artifact
        graph = read_graph(artifact.path)
        if self.data:
            tensor = graph.tensors[graph.inputs[0]]
            inputs = [prepare(self.data.x[: self.samples], tensor, artifact.input)]
        else:
            inputs = random_inputs(graph, self.samples)
        build = measurement = None
        blocked = ""
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            try:
                options.progress(f"build and run on {device.name}")
                build = wiring.build_firmware(
                    artifact.path,
                    device,
                    Path(scratch) / "build",
                    engine=self.engine,
                    optimize=self.optimize,
                    tflm_lib=self.tflm_lib,
                )
                require_fit(build.footprint, device)
                _, measurement = wiring.run_compared(build, device, inputs)
            except (UnsupportedModelError, DoesNotFitError) as e:
                blocked = e.message
        if build and measurement and measurement.stack_bytes is not None:
            footprint = build.footprint.with_stack(measurement.stack_bytes)
            build = dataclasses.replace(build, footprint=footprint)
        result = BoardResult(device.name, build, measurement, blocked)
        variant = Variant(artifact.path.stem, artifact, self.evaluation, (result,))
        return candidate(variant, result, self.metric)

    @property
    def metric(self) -> str:
        """Name of the metric, by the evaluation or by the task."""
        from tinydeploy.pipeline.metrics import DEFAULT_METRIC

        return self.evaluation.metric if self.evaluation else DEFAULT_METRIC[self.artifact.task]
