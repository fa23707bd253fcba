"""The search on one board: what fits its memory, and its Optuna study."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from tinydeploy import tflite
from tinydeploy.config import Config
from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph_stats import macs
from tinydeploy.pipeline.checks import require_deployable
from tinydeploy.pipeline.deployment import Variant
from tinydeploy.pipeline.host import HostBuild
from tinydeploy.pipeline.run import Flow, Tools
from tinydeploy.pipeline.search_sources import CHOICES, Origin, parameters
from tinydeploy.pipeline.search_space import (
    SourceCost,
    constants_bytes,
    promising,
    recipe_of,
    too_large,
    usual,
)
from tinydeploy.pipeline.search_training import with_training
from tinydeploy.pipeline.sets import APART
from tinydeploy.pipeline.study import opened
from tinydeploy.pipeline.train import OutOfTimeError, require_training_set
from tinydeploy.store import sha256_json
from tinydeploy.types import (
    HIGHER_IS_BETTER,
    Artifact,
    Constraints,
    DeviceProfile,
    Recipe,
    to_json,
)

_PART_SAMPLES = 500
_REPEATS = 200
"""Suggestions in a row that brought nothing new: the space is used up."""
_SURE = 3.3
"""Standard deviations of a share on a part of the samples: one in a thousand, one-sided."""


@dataclass(frozen=True)
class Trial:
    """One variant that was tried on a board. `ended` says why it was not measured, "" if it was.

    One that is `too_large` by its plan cost next to nothing and is not counted as a trial.
    """

    board: str
    number: int
    variant: str
    settings: Mapping[str, str]
    metric: float | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    instructions: float | None = None
    ended: str = ""
    too_large: bool = False


class BoardSearch:
    """The search on one board."""

    def __init__(
        self,
        config: Config,
        device: DeviceProfile,
        tools: Tools,
        origins: list[Origin],
        settings: Mapping[str, tuple[str, ...]],
        progress: Callable[[str], None],
    ) -> None:
        self.flow = Flow(config, {device.name: device}, tools, progress)
        self.device, self.progress = device, progress
        limits = config.limits_for(device.name)
        self.constraints: Constraints = limits.constraints(device.flash_bytes, device.ram_bytes)
        self.settings = settings
        self.end = math.inf
        self.trains = any(origin.training for origin in origins)
        if self.trains:
            require_training_set("search", self.flow.sets.training, config.task)
        self.origins = {origin.name: origin for origin in origins}
        for origin in origins:
            if origin.net and origin.net.training_sha256 == self.flow.validation.sha256:
                raise UsageError(f"{origin.path} was trained on the validation set", hint=APART)
        self.trials: list[Trial] = []
        self.variants: dict[str, Variant] = {}
        self.costs = promising(self.all_costs())
        if not self.costs:
            raise UsageError(
                f"no source fits {device.name}, not even as int8",
                hint="bring smaller models, or a larger board",
            )
        chosen = [self.origins[cost.name] for cost in self.costs]
        self.parameters = parameters(chosen)
        self.by_settings = {tuple(o.settings.items()): o for o in chosen}

    def all_costs(self) -> list[SourceCost]:
        """What each origin costs. A net is not even converted if a part of it does not fit."""
        found: list[SourceCost] = []
        unfit: list[Origin] = []
        for origin in self.origins.values():
            if origin.net and any(other.no_larger(origin) for other in unfit):
                cost = SourceCost(origin.name, origin.path, origin.net.macs, 0, 0, fits=False)
            else:
                cost = self.cost(origin)
            if not cost.fits:
                unfit.append(origin)
            found.append(cost)
        return found

    def cost(self, source: Origin) -> SourceCost:
        """What the source costs as int8, from the compiler's plan; nothing is trained."""
        trained_from = source.settings["source"] if source.training else ""
        try:
            artifact = self.flow.convert(source.stand_in, recipe_of(usual()))
            graph = tflite.read_graph(artifact.path)
            arena, constants = self.plan(artifact)
        except UnsupportedModelError as error:
            self.progress(f"{source.name}: {error.message}")
            return SourceCost(source.name, source.path, 0, 0, 0, False, trained_from)
        work = sum(macs(op, graph) for op in graph.ops)
        fits = not too_large(arena, self.bound(constants), self.constraints)
        return SourceCost(source.name, source.path, work, arena, constants, fits, trained_from)

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
    def run(self, optuna: Any, path: Path, end: float, trials: int, seed: int) -> None:
        """Go on with this board's study until the time or the number of trials is used up."""
        self.end = end
        study = self.opened(optuna, path, trials, seed)
        state = optuna.trial.TrialState
        try:
            for old in study.trials:  # of earlier runs: all about them is in the caches
                if old.state in (state.COMPLETE, state.PRUNED) and old.user_attrs.get("first"):
                    self.trials.append(self.tried(old.number, self.settings_of(dict(old.params))))
            repeats = 0
            while self.counted() < trials and time.monotonic() < end and repeats < _REPEATS:
                trial = study.ask()
                known = self.counted()
                result = self.suggested(trial, trials)
                repeats = 0 if self.counted() > known else repeats + 1
                objectives = self.objectives(result) if result else None
                if result and objectives:
                    for what, over in zip(("RAM", "flash"), self.over(result), strict=True):
                        trial.set_constraint(what, over)
                study.tell(trial, objectives, state=state.COMPLETE if objectives else state.PRUNED)
        except OutOfTimeError as stopped:
            self.progress(f"{self.device.name}: no time left, the next run goes on with: {stopped}")

    def opened(self, optuna: Any, path: Path, trials: int, seed: int) -> Any:
        """This board's study. Trials that an earlier run did not finish are asked for again."""
        identity = {
            "sources": {c.name: self.origins[c.name].sha256 for c in self.costs},
            "seed": seed,
            "constraints": to_json(self.constraints),
            "optimize": self.flow.config.optimize,
            "validation": self.flow.validation.sha256,
            "settings": to_json(self.settings),
        }
        if self.trains and self.flow.sets.training:
            identity["training"] = self.flow.sets.training.sha256
        with warnings.catch_warnings():  # multivariate and group: "experimental"
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, group=True, n_startup_trials=4
            )
        study = opened(
            optuna,
            path,
            study_name=f"{self.flow.config.name}-{self.device.name}-{sha256_json(identity)[:12]}",
            directions=[
                "maximize" if HIGHER_IS_BETTER[self.flow.metric] else "minimize",
                "minimize", "minimize", "minimize",
            ],
            sampler=sampler,
        )  # fmt: skip
        for old in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(old.number, state=optuna.trial.TrialState.FAIL)
            if old.user_attrs.get("first"):
                study.enqueue_trial(old.params)
        if not study.trials:
            for cost in self.costs[: max(1, trials // 2)]:
                study.enqueue_trial(self.parameters_of(cost.name))
        return study

    def counted(self) -> int:
        """Trials so far that cost something."""
        return sum(not t.too_large for t in self.trials)

    def suggested(self, trial: Any, trials: int) -> Trial | None:
        """What comes of the sampler's next suggestion; None if no source has its choices."""
        settings = {"source": trial.suggest_categorical("source", tuple(self.parameters))}
        for key, values in self.parameters[settings["source"]].items():
            name = f"{settings['source']} {key}"
            settings[key] = trial.suggest_categorical(name, values)
        for key, values in self.settings.items():
            settings[key] = trial.suggest_categorical(key, values)
        if self.origin_key(settings) not in self.by_settings:
            return None
        variant = self.variant_name(settings)
        for known in self.trials:
            if known.variant == variant:
                return known
        trial.set_user_attr("first", True)
        self.trials.append(self.tried(trial.number, settings))
        self.report(trials)
        return self.trials[-1]

    def parameters_of(self, name: str) -> dict[str, str]:
        """The sampler's parameters for an origin with the usual settings."""
        own = self.origins[name].settings
        choices = {f"{own['source']} {k}": v for k, v in own.items() if k in CHOICES}
        first = {key: values[0] for key, values in self.settings.items()}
        return {"source": own["source"], **choices, **first}

    def settings_of(self, params: Mapping[str, str]) -> dict[str, str]:
        """Settings from the sampler's parameters: the opposite of `parameters_of`."""
        return {key.removeprefix(f"{params['source']} "): v for key, v in params.items()}

    def origin_key(self, settings: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """Of settings those that say which source or which net it is."""
        return tuple((k, v) for k, v in settings.items() if k == "source" or k in CHOICES)

    def origin(self, settings: Mapping[str, str]) -> Origin:
        """The source, or the net, that settings stand for. Raises KeyError if there is none."""
        return self.by_settings[self.origin_key(settings)]

    def variant_name(self, settings: Mapping[str, str]) -> str:
        """`SOURCE-RECIPE`, as everywhere."""
        origin = self.origin(settings)
        return f"{origin.source_name}-{with_training(settings, origin.training).name}"

    def over(self, trial: Trial) -> tuple[float, float]:
        """Bytes of RAM and of flash above what is allowed; negative below."""
        limits = self.constraints
        pairs = (
            (trial.ram_bytes, limits.max_ram_bytes, limits.board_ram_bytes),
            (trial.flash_bytes, limits.max_flash_bytes, limits.board_flash_bytes),
        )
        ram, flash = (
            float((used or 0) - min((b for b in bounds if b is not None), default=used or 0))
            for used, *bounds in pairs
        )
        return ram, flash

    def report(self, trials: int) -> None:
        """A line of progress about the last trial."""
        last = self.trials[-1]
        found = (
            f"{self.flow.metric} {last.metric}, {last.flash_bytes:,} B" if last.flash_bytes else ""
        )
        self.progress(
            f"{self.device.name}: trial {self.counted()} of {trials}, {last.variant}: "
            f"{last.ended or found}"
        )

    def objectives(self, trial: Trial) -> list[float] | None:
        """The objectives of a trial that was measured."""
        found = (trial.metric, trial.flash_bytes, trial.ram_bytes, trial.instructions)
        if trial.ended or any(v is None for v in found[:3]):
            return None
        return [float(v or 0) for v in found]

    def tried(self, number: int, settings: Mapping[str, str]) -> Trial:
        """Train, convert, bound, evaluate, build and measure, as far as it pays.

        What is trained is bounded before by its stand-in: exactly for `distill` and `qat`, by an
        estimate for methods that choose the width of each layer. What comes of the training is
        bounded itself before anything is built.
        """
        origin = self.origin(settings)
        source, recipe = origin.source, with_training(settings, origin.training)
        variant = self.variant_name(settings)
        trial = Trial(self.device.name, number, variant, settings)
        try:
            if origin.training and (why := self.too_large_untrained(origin, recipe)):
                return dataclasses.replace(trial, ended=why, too_large=True)
            artifact = self.flow.convert(source, recipe, self.end)
            arena, constants = self.plan(artifact)
        except UnsupportedModelError as error:
            return dataclasses.replace(trial, ended=error.message)
        if why := too_large(arena, self.bound(constants), self.constraints):
            return dataclasses.replace(trial, ended=why, too_large=True)
        host = self.flow.host_build(artifact)
        try:
            if why := self.hopeless(artifact, host, arena, self.bound(constants)):
                return dataclasses.replace(trial, ended=why)
            validation = self.flow.validation
            evaluation = self.flow.evaluate(artifact, validation, "validation", host)
            graph = tflite.read_graph(artifact.path)
            board = self.flow.on_board(artifact, graph, self.device, host)
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

    def too_large_untrained(self, origin: Origin, recipe: Recipe) -> str:
        """Why what comes of a training cannot fit, judged by its stand-in, or ""."""
        untrained = recipe_of({**usual(), "activations": recipe.activations})
        arena, constants = self.plan(self.flow.convert(origin.stand_in, untrained))
        why = too_large(arena, self.bound(constants), self.constraints)
        return why and f"{why}, estimated before its training"

    def hopeless(self, artifact: Artifact, host: HostBuild, arena: int, flash: int) -> str:
        """Why a variant is surely no better than one already measured, or "".

        Judged on a part of the validation set, and on what it needs at least. Only shares have a
        known spread, so that only accuracy is judged so.
        """
        part = self.flow.validation.spread(_PART_SAMPLES)
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
