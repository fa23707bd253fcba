"""Search sources and settings of recipes for the variants that are best on each board.

One Optuna study a board, in one SQLite file: it can be stopped at any time and goes on where it
was. What cannot fit is known from the compiler's plan before anything is built, and what is surely
worse than a variant already found is given up after a part of the validation set.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tinydeploy import tflite
from tinydeploy.config import Config
from tinydeploy.errors import ToolMissingError, UnsupportedModelError, UsageError
from tinydeploy.graph_stats import macs
from tinydeploy.pipeline.checks import require_deployable
from tinydeploy.pipeline.deployment import Deployment, Variant
from tinydeploy.pipeline.host import HostBuild
from tinydeploy.pipeline.run import Flow, Tools
from tinydeploy.pipeline.search_space import (
    SourceCost,
    constants_bytes,
    promising,
    recipe_of,
    settings_for,
    too_large,
    usual,
)
from tinydeploy.pipeline.source import load_source
from tinydeploy.store import sha256_json
from tinydeploy.types import (
    HIGHER_IS_BETTER,
    Artifact,
    Constraints,
    DeviceProfile,
    ModelSource,
    to_json,
)

SEED = 7
_PART_SAMPLES = 500
_REPEATS = 50
"""Suggestions in a row that were tried before: the space is used up."""
_SURE = 3.3
"""Standard deviations of a share on a part of the samples: one in a thousand, one-sided."""


@dataclass(frozen=True)
class Budget:
    """When to stop: whichever comes first of minutes and trials a board."""

    minutes: float
    trials: int


@dataclass(frozen=True)
class Trial:
    """One variant that was tried on a board. `ended` says why it was not measured, "" if it was."""

    board: str
    number: int
    variant: str
    settings: Mapping[str, str]
    metric: float | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: float | None = None
    ended: str = ""


@dataclass(frozen=True)
class SearchResult:
    """All trials of all boards, old ones included, and the deployment of those measured."""

    trials: tuple[Trial, ...]
    spaces: Mapping[str, tuple[SourceCost, ...]]
    deployment: Deployment


def search(
    config: Config,
    devices: Mapping[str, DeviceProfile],
    tools: Tools,
    study: Path,
    budget: Budget,
    progress: Callable[[str], None] = lambda _: None,
) -> SearchResult:
    """Search for every board of the configuration; its recipes are not used.

    Every variant that was measured is registered, and selected from as by `run.deploy`.
    Raises ToolMissingError without Optuna, otherwise as `run.deploy` does.
    """
    try:
        import optuna
    except ImportError as error:
        raise ToolMissingError(
            "searching needs the package optuna", hint="pip install 'tinydeploy[search]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if not config.data.calibration:
        raise UsageError("searching needs a calibration set", hint="[data] calibration")
    sources = [load_source(path, trusted=config.trust_sources) for path in config.sources]
    trials: list[Trial] = []
    variants: dict[str, Variant] = {}
    spaces = {}
    # Boards share the time; what one does not use is left to those after it.
    end = time.monotonic() + 60 * budget.minutes
    for number, device in enumerate(devices.values()):
        left = (end - time.monotonic()) / (len(devices) - number)
        board = _Board(config, device, tools, sources, progress)
        spaces[device.name] = tuple(board.costs)
        board.run(optuna, study, time.monotonic() + left, budget.trials)
        trials += board.trials
        for name, variant in board.variants.items():
            known = variants.get(name)
            boards = (*(known.boards if known else ()), *variant.boards)
            runs = {**(known.run_ids or {} if known else {}), **(variant.run_ids or {})}
            variants[name] = dataclasses.replace(variant, boards=boards, run_ids=runs)
    flow = Flow(config, devices, tools, progress)
    return SearchResult(tuple(trials), spaces, flow.choose(list(variants.values())))


class _Board:
    """The search on one board."""

    def __init__(
        self,
        config: Config,
        device: DeviceProfile,
        tools: Tools,
        sources: list[ModelSource],
        progress: Callable[[str], None],
    ) -> None:
        self.flow = Flow(config, {device.name: device}, tools, progress)
        self.device, self.progress = device, progress
        limits = config.limits_for(device.name)
        self.constraints: Constraints = limits.constraints(device.flash_bytes, device.ram_bytes)
        self.settings = settings_for(config.optimize)
        self.sources = {source.name: source for source in sources}
        self.trials: list[Trial] = []
        self.variants: dict[str, Variant] = {}
        self.costs = promising([self.cost(source) for source in sources])
        if not self.costs:
            raise UsageError(
                f"no source fits {device.name}, not even as int8",
                hint="bring smaller models, or a larger board",
            )

    def cost(self, source: ModelSource) -> SourceCost:
        """What the source costs as int8, from the compiler's plan."""
        try:
            artifact = self.flow.convert(source, recipe_of(usual()))
            graph = tflite.read_graph(artifact.path)
            arena, constants = self.plan(artifact)
        except UnsupportedModelError as error:
            self.progress(f"{source.name}: {error.message}")
            return SourceCost(source.name, source.path, 0, 0, 0, fits=False)
        work = sum(macs(op, graph) for op in graph.ops)
        fits = not too_large(arena, self.bound(constants), self.constraints)
        return SourceCost(source.name, source.path, work, arena, constants, fits)

    def plan(self, artifact: Artifact) -> tuple[int, int]:
        """Arena and constants in bytes; nothing is built."""
        graph = tflite.read_graph(artifact.path)
        require_deployable(graph)
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            compiled = self.flow.tools.compiler.compile(
                artifact.path,
                Path(scratch) / "source",
                device=self.device,
                engine=self.flow.config.engine,
                optimize=self.flow.config.optimize,
            )
        return compiled.arena_bytes, constants_bytes(graph)

    def bound(self, constants: int) -> int:
        """What constants take in flash at least: `size` may store them in fewer bits."""
        return constants // 8 if self.flow.config.optimize == "size" else constants

    # ------------------------------------------------------------ the study
    def run(self, optuna: Any, path: Path, end: float, trials: int) -> None:
        """Go on with this board's study until the time or the number of trials is used up."""
        names = [cost.name for cost in self.costs]
        identity = {
            "sources": {n: self.sources[n].sha256 for n in names},
            "constraints": to_json(self.constraints),
            "optimize": self.flow.config.optimize,
            "validation": self.flow.validation.sha256,
            "settings": to_json(self.settings),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        study = optuna.create_study(
            study_name=f"{self.flow.config.name}-{self.device.name}-{sha256_json(identity)[:12]}",
            storage=f"sqlite:///{path}",
            load_if_exists=True,
            directions=[
                "maximize" if HIGHER_IS_BETTER[self.flow.metric] else "minimize",
                "minimize", "minimize", "minimize",
            ],
            sampler=optuna.samplers.TPESampler(seed=SEED, multivariate=True, n_startup_trials=4),
        )  # fmt: skip
        for old in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(old.number, state=optuna.trial.TrialState.FAIL)
        if not study.trials:
            for cost in self.costs[: max(1, trials // 2)]:
                study.enqueue_trial({"source": cost.name, **usual()})
        for old in study.trials:  # of earlier runs: everything about them is in the caches
            if old.state.is_finished() and old.params and old.user_attrs.get("first"):
                self.trials.append(self.tried(old.number, dict(old.params)))
        repeats = 0
        while len(self.trials) < trials and time.monotonic() < end and repeats < _REPEATS:
            trial = study.ask()
            settings = {"source": trial.suggest_categorical("source", names)}
            for name, values in self.settings.items():
                settings[name] = trial.suggest_categorical(name, values)
            variant = self.variant_name(settings)
            result = next((t for t in self.trials if t.variant == variant), None)
            if result is None:
                trial.set_user_attr("first", True)
                result = self.tried(trial.number, settings)
                self.trials.append(result)
                self.report(trials)
                repeats = 0
            else:
                repeats += 1
            objectives = self.objectives(result)
            state = optuna.trial.TrialState
            study.tell(trial, objectives, state=state.COMPLETE if objectives else state.PRUNED)

    def variant_name(self, settings: Mapping[str, str]) -> str:
        """`SOURCE-RECIPE`, as everywhere."""
        return f"{settings['source']}-{recipe_of(settings).name}"

    def report(self, trials: int) -> None:
        """A line of progress about the last trial."""
        last = self.trials[-1]
        found = (
            f"{self.flow.metric} {last.metric}, {last.flash_bytes:,} B" if last.flash_bytes else ""
        )
        self.progress(
            f"{self.device.name}: trial {len(self.trials)} of {trials}, {last.variant}: "
            f"{last.ended or found}"
        )

    def objectives(self, trial: Trial) -> list[float] | None:
        """The objectives of a trial that was measured."""
        found = (trial.metric, trial.flash_bytes, trial.ram_bytes, trial.instructions)
        if trial.ended or any(v is None for v in found[:3]):
            return None
        return [float(v or 0) for v in found]

    def tried(self, number: int, settings: Mapping[str, str]) -> Trial:
        """Convert, bound, evaluate a part, evaluate all, build and measure, as far as it pays."""
        source, recipe = self.sources[settings["source"]], recipe_of(settings)
        variant = self.variant_name(settings)
        trial = Trial(self.device.name, number, variant, settings)
        try:
            artifact = self.flow.convert(source, recipe)
            arena, constants = self.plan(artifact)
        except UnsupportedModelError as error:
            return dataclasses.replace(trial, ended=error.message)
        if why := too_large(arena, self.bound(constants), self.constraints):
            return dataclasses.replace(trial, ended=why)
        host = self.flow.host_build(artifact)
        try:
            if why := self.hopeless(artifact, host, arena, self.bound(constants)):
                return dataclasses.replace(trial, ended=why)
            validation = self.flow.validation
            evaluation = self.flow.evaluate(artifact, validation, "validation", host)
            graph = tflite.read_graph(artifact.path)
            board = self.flow.on_board(variant, artifact, graph, self.device, host)
        finally:
            host.close()
        made = sha256_json(to_json(recipe))
        self.variants[variant] = self.flow.register(
            variant, source, made, artifact, evaluation, (board,)
        )
        build, measured = board.build, board.measurement
        counted = measured.instructions if measured else None
        return dataclasses.replace(
            trial,
            metric=evaluation.value,
            flash_bytes=build.footprint.flash_bytes if build else None,
            ram_bytes=build.footprint.ram_bytes if build else None,
            instructions=fmean(counted) if counted else None,
            ended=board.blocked,
        )

    def hopeless(self, artifact: Artifact, host: HostBuild, arena: int, flash: int) -> str:
        """Why a variant is surely no better than one already measured, or "".

        Judged on a part of the validation set, and on what it needs at least. Only shares have a
        known spread, so that only accuracy is judged so.
        """
        part = self.flow.validation.head(_PART_SAMPLES)
        if self.flow.metric != "accuracy" or len(part) == len(self.flow.validation):
            return ""
        value = self.flow.evaluate(artifact, part, "part of validation", host).value
        spread = math.sqrt(max(value * (1 - value), 1 / len(part)) / len(part))
        for other in self.trials:
            if self.objectives(other) is None or other.metric is None:
                continue
            worse = value + _SURE * spread < other.metric
            if worse and flash >= (other.flash_bytes or 0) and arena >= (other.ram_bytes or 0):
                return f"surely worse than {other.variant}, and no smaller"
        return ""
