"""The whole flow: sources x recipes -> artifacts -> boards -> registry -> selection.

Reads from top to bottom. Conversions run one after another in the calling thread (TensorFlow),
evaluation, building and measuring beside them in a few workers; the registry is written in order.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy import tflite
from tinydeploy.config import Config
from tinydeploy.errors import (
    DeviceError,
    DoesNotFitError,
    ToolMissingError,
    UnsupportedModelError,
    UsageError,
)
from tinydeploy.graph import Graph
from tinydeploy.lineage import Lineage, tool_versions
from tinydeploy.pipeline import fit, metrics
from tinydeploy.pipeline.artifact import load_artifact
from tinydeploy.pipeline.cache import StageCache
from tinydeploy.pipeline.checks import require_deployable
from tinydeploy.pipeline.convert import convert
from tinydeploy.pipeline.data import Dataset, load_dataset, prepare
from tinydeploy.pipeline.deployment import BoardResult, Deployment, Variant, candidate
from tinydeploy.pipeline.evaluate import evaluate
from tinydeploy.pipeline.host import HostBuild, compare
from tinydeploy.pipeline.recipe import load_recipe
from tinydeploy.pipeline.select import select
from tinydeploy.pipeline.sets import load_sets
from tinydeploy.pipeline.source import load_source
from tinydeploy.ports import Builder, Compiler, Registry, Runner
from tinydeploy.store import sha256_bytes, sha256_json, write_json
from tinydeploy.types import (
    Artifact,
    Build,
    DeviceProfile,
    Evaluation,
    Measurement,
    ModelSource,
    Recipe,
    Selection,
    from_json,
    to_json,
)


@dataclass(frozen=True)
class Tools:
    """The other rooms, put together by the caller.

    `runner` gives the runner of a board; `fingerprints` holds a hash of each room's code, so that
    cached results never outlive the code that made them.
    """

    compiler: Compiler
    builder: Builder
    runner: Callable[[DeviceProfile], Runner]
    registry: Registry
    fingerprints: Mapping[str, str]


def deploy(
    config: Config,
    devices: Mapping[str, DeviceProfile],
    tools: Tools,
    progress: Callable[[str], None] = lambda _: None,
) -> Deployment:
    """Run the whole flow for one configuration.

    `devices` holds the profile of each board in `config.devices`. A variant that cannot be
    converted, does not fit or fails on a board is reported as such and does not stop the others.
    Raises UsageError for data or sources that make no sense, ToolMissingError when a compiler or
    an emulator is not installed, RegistryError.
    """
    flow = Flow(config, devices, tools, progress)
    sources = [load_source(path, trusted=config.trust_sources) for path in config.sources]
    _require_distinct_names(sources)
    recipes = [load_recipe(name) for name in config.recipes]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        pending = []
        try:
            for source in sources:
                for recipe in recipes:
                    pending.append(flow.start(pool, source, recipe))
            variants = [flow.finish(p) for p in pending]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            for p in pending:
                p.close()
    return flow.choose(variants)


@dataclass
class _Pending:
    """A variant on its way: what the workers are finding out."""

    name: str
    source: ModelSource
    recipe_sha256: str
    artifact: Artifact | None = None
    blocked: str = ""
    host: HostBuild | None = None
    evaluation: Future[Evaluation] | None = None
    boards: list[Future[BoardResult]] = dataclasses.field(default_factory=list)

    def close(self) -> None:
        if self.host:
            self.host.close()


class Flow:
    """The stages of one deployment, each cached by what goes into it."""

    def __init__(
        self,
        config: Config,
        devices: Mapping[str, DeviceProfile],
        tools: Tools,
        progress: Callable[[str], None],
    ) -> None:
        self.config, self.devices, self.tools, self.progress = config, devices, tools, progress
        self.cache = StageCache(config.work)
        self.metric = metrics.DEFAULT_METRIC[config.task]
        self.sets = load_sets(config)
        self.validation = self.sets.validation

    def load(self, path: Path) -> Dataset:
        """A data set; images are resized as the input is described."""
        return load_dataset(path, description=self.config.input)

    # ------------------------------------------------------------ one variant
    def start(self, pool: ThreadPoolExecutor, source: ModelSource, recipe: Recipe) -> _Pending:
        """Convert here and now; hand evaluation and the boards to the workers."""
        pending = _Pending(f"{source.name}-{recipe.name}", source, sha256_json(to_json(recipe)))
        try:
            pending.artifact = artifact = self.convert(source, recipe)
            graph = tflite.read_graph(artifact.path)
            require_deployable(graph)
        except UnsupportedModelError as e:
            pending.blocked = e.message
            self.progress(f"{pending.name}: {e.message}")
            return pending
        model, optimize = artifact.path, self.config.optimize
        pending.host = host = HostBuild(
            lambda: self.tools.compiler.native(model, optimize=optimize)
        )
        pending.evaluation = pool.submit(
            self.evaluate, artifact, self.validation, "validation", host
        )
        pending.boards = [
            pool.submit(self.on_board, artifact, graph, device, host)
            for device in self.devices.values()
        ]
        return pending

    def convert(self, source: ModelSource, recipe: Recipe, deadline: float = math.inf) -> Artifact:
        """The source compressed by a recipe; a training has to end before the `deadline`."""
        calibration = self.sets.calibration if recipe.calibration_samples else None
        training = self.sets.training if recipe.training else None
        key = {
            "code": self.tools.fingerprints["pipeline"],
            "source": [source.name, source.sha256],
            "recipe": to_json(recipe),
            "calibration": calibration.sha256 if calibration else "",
            "training": training.sha256 if training else "",
            "described": to_json([self.config.task, self.config.labels, self.config.input]),
        }

        def make(folder: Path) -> None:
            self.progress(f"convert  {source.name} {recipe.name}")
            convert(
                source,
                recipe,
                folder,
                calibration=calibration,
                training=training,
                description=self.config.input,
                task=self.config.task,
                labels=self.config.labels or self.validation.labels,
                progress=self.progress,
                deadline=deadline,
            )

        def load(folder: Path) -> Artifact:
            return load_artifact(next(folder.glob("*.json")))

        return self.cache.get("convert", key, make, load)

    def host_build(self, artifact: Artifact) -> HostBuild:
        """The artifact's native build, made on first use."""
        optimize = self.config.optimize
        return HostBuild(lambda: self.tools.compiler.native(artifact.path, optimize=optimize))

    def evaluate(
        self, artifact: Artifact, data: Dataset, split: str, host: HostBuild
    ) -> Evaluation:
        """The artifact's metric, computed by the native build."""
        key = {
            "code": [
                self.tools.fingerprints[room] for room in ("pipeline", "compiler", "firmware")
            ],
            "model": artifact.sha256,
            "described": to_json([artifact.task, artifact.input, artifact.metric]),
            "data": data.sha256,
            "split": split,
        }

        def make(folder: Path) -> None:
            result = evaluate(artifact, data, host, split=split, engine="aot")
            write_json(folder / "evaluation.json", to_json(result))

        return self.cache.get("evaluate", key, make, _loader("evaluation.json", Evaluation))

    # ------------------------------------------------------------ one variant on one board
    def on_board(
        self, artifact: Artifact, graph: Graph, device: DeviceProfile, host: HostBuild
    ) -> BoardResult:
        """Build, check the size, run with real inputs, compare."""
        build: Build | None = None
        try:
            build = self.build(artifact, device)
            fit.require_fit(build.footprint, device)
            measurement = self.measure(artifact, graph, build, device, host)
        except ToolMissingError:
            raise
        except (UnsupportedModelError, DoesNotFitError) as e:
            return BoardResult(device.name, build, None, e.message)
        except DeviceError as e:
            return BoardResult(device.name, build, None, e.message, failed=True)
        if measurement.stack_bytes is not None:
            footprint = build.footprint.with_stack(measurement.stack_bytes)
            build = dataclasses.replace(build, footprint=footprint)
        return BoardResult(device.name, build, measurement)

    def build(self, artifact: Artifact, device: DeviceProfile) -> Build:
        """Firmware with this model for this board."""
        config, tools = self.config, self.tools
        key = {
            "code": [tools.fingerprints[room] for room in ("compiler", "devices", "firmware")],
            "model": artifact.sha256,
            "device": to_json(device),
            "engine": config.engine,
            "optimize": config.optimize,
            "tflm_lib": config.tflm_lib if config.engine == "tflm" else "",
        }

        def make(folder: Path) -> None:
            self.progress(f"build    {artifact.path.stem} for {device.name}")
            compiled = tools.compiler.compile(
                artifact.path,
                folder / "source",
                device=device,
                engine=config.engine,
                optimize=config.optimize,
            )
            tools.builder.build(compiled, artifact.path, device, folder / "firmware")

        def load(folder: Path) -> Build:
            return tools.builder.load(folder / "firmware")

        return self.cache.get("build", key, make, load)

    def measure(
        self, artifact: Artifact, graph: Graph, build: Build, device: DeviceProfile, host: HostBuild
    ) -> Measurement:
        """Real inputs on the board; every output compared with the host's, byte for byte."""
        samples = self.validation.x[: self.config.measure_samples]
        inputs = [prepare(samples, graph.tensors[graph.inputs[0]], artifact.input)]
        key = {
            "code": self.tools.fingerprints["devices"],
            "build": [build.build_id, build.firmware_sha256],
            "device": to_json(device),
            "inputs": [sha256_bytes(x.tobytes()) for x in inputs],
        }

        def make(folder: Path) -> None:
            self.progress(f"measure  {artifact.path.stem} on {device.name}")
            outputs, measurement = self.tools.runner(device).run(build, device, inputs)
            measurement = compare(outputs, host.predict(inputs), measurement)
            write_json(folder / "measurement.json", to_json(measurement))

        return self.cache.get("measure", key, make, _loader("measurement.json", Measurement))

    # ------------------------------------------------------------ all variants
    def finish(self, pending: _Pending) -> Variant:
        """Wait for a variant's workers and register what they found."""
        if not (pending.artifact and pending.evaluation):
            return Variant(pending.name, pending.artifact, None, (), pending.blocked)
        return self.register(
            pending.name,
            pending.source,
            pending.recipe_sha256,
            pending.artifact,
            pending.evaluation.result(),
            tuple(f.result() for f in pending.boards),
        )

    def register(
        self,
        variant: str,
        source: ModelSource,
        recipe_sha256: str,
        artifact: Artifact,
        evaluation: Evaluation,
        boards: tuple[BoardResult, ...],
    ) -> Variant:
        """Make a version of this variant, and a run of each board's build."""
        with self.cache.timed("register"):
            registry, name = self.tools.registry, self.config.name
            made = Lineage(recipe_sha256, self.tools.fingerprints, tool_versions())
            version = registry.register(
                name, source, artifact, evaluation, self.sets.logged(), made
            )
            run_ids = {
                b.board: registry.record(name, version, b.build, b.measurement, made)
                for b in boards
                if b.build
            }
        return Variant(variant, artifact, evaluation, boards, version=version, run_ids=run_ids)

    def choose(self, variants: list[Variant]) -> Deployment:
        """Select for each board, make it known, and look at the test set once for the chosen."""
        selections = []
        evaluations = {v.name: v.evaluation for v in variants}
        for device in self.devices.values():
            limits = self.config.limits_for(device.name)
            candidates = [
                candidate(v, b, self.metric)
                for v in variants
                for b in v.boards or [BoardResult(device.name)]
                if b.board == device.name
            ]
            constraints = limits.constraints(device.flash_bytes, device.ram_bytes)
            with self.cache.timed("select"):
                selection = select(
                    device.name,
                    candidates,
                    constraints,
                    self.config.objective,
                    results=lambda c: evaluations[c.name],
                )
                self.tools.registry.select(self.config.name, selection, constraints)
            selections.append(selection)
        return Deployment(
            self.config.name,
            tuple(variants),
            tuple(selections),
            self.test(variants, selections),
            {stage: dataclasses.asdict(t) for stage, t in self.cache.times.items()},
        )

    def test(self, variants: list[Variant], selections: list[Selection]) -> dict[str, Evaluation]:
        """The chosen variants' metric on data that played no part in choosing them."""
        if not self.config.data.test:
            return {}
        data = self.load(self.config.data.test)
        chosen = {s.chosen.name for s in selections if s.chosen}
        results = {}
        for variant in variants:
            if variant.name in chosen and (artifact := variant.artifact):
                host = self.host_build(artifact)
                try:
                    results[variant.name] = self.evaluate(artifact, data, "test", host)
                finally:
                    host.close()
        return results


def _loader(name: str, cls: type[Any]) -> Callable[[Path], Any]:
    """Reads a frozen value of `cls` from `name` in a stage's folder."""
    return lambda folder: from_json(cls, json.loads((folder / name).read_text()))


def _require_distinct_names(sources: list[ModelSource]) -> None:
    names = [s.name for s in sources]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two sources are called {name!r}", hint="variants are named after their files"
            )
