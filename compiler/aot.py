"""The compiler's front: implements `tinydeploy.ports.Compiler` for both engines."""

from __future__ import annotations

from pathlib import Path

from tinydeploy.compiler.emit import emit
from tinydeploy.compiler.lower import Target, lower
from tinydeploy.compiler.lower.compact import compact
from tinydeploy.compiler.lower.specialise import specialise
from tinydeploy.compiler.native import NativePredictor, firmware_dir, kernels_dir
from tinydeploy.compiler.picture import draw
from tinydeploy.compiler.plan import Plan, plan_memory
from tinydeploy.compiler.program import Program
from tinydeploy.compiler.updatable import emit_updatable
from tinydeploy.errors import UsageError
from tinydeploy.graph import Graph
from tinydeploy.ports import Predictor
from tinydeploy.results import result_directory
from tinydeploy.tflite import read_graph
from tinydeploy.types import Compiled, DeviceProfile

OPTIMIZE_LEVELS = ("size", "balanced", "speed")


class AotCompiler:
    """Turns a `.tflite` into C for one core (`aot`), or bundles it for TFLite-Micro (`tflm`)."""

    def compile(
        self,
        model: Path,
        out: Path,
        *,
        device: DeviceProfile | None = None,
        engine: str = "aot",
        optimize: str = "balanced",
        profile: bool = False,
        standalone: bool = False,
        tflm_arena: tuple[int, str] | None = None,
        updatable: bool = False,
    ) -> Compiled:
        """Write C sources to `out`, whole or not at all.

        With `profile` the sources mark where each layer begins (firmware/include/td_profile.h).

        `standalone` adds the kernels and headers, so that `cc -c out/*.c` compiles, and `plan.svg`,
        a picture of the arena; they are not listed in `files`, which holds the model's own sources.
        `tflm_arena` is the arena of a bundle in bytes and where it was measured; without it the
        host measures.

        `updatable` sources have all that a new version of the same graph changes in one constant.

        Raises UnsupportedModelError naming every layer the engine lacks, UsageError for an unknown
        engine or level.
        """
        if updatable and (engine != "aot" or profile or standalone):
            raise UsageError(
                "only firmware of the engine aot, without a profile, is updatable",
                hint="leave --updatable out, or use --engine aot",
            )
        if engine == "tflm":
            from tinydeploy.compiler.tflm import bundle

            measured = None
            if tflm_arena is not None:
                measured = {"sufficient": tflm_arena[0], "origin": tflm_arena[1]}
            return bundle(
                model,
                out,
                device,
                profile=profile,
                arena=None if measured is None else lambda _: measured,
            )
        if engine != "aot":
            raise UsageError(f"no engine is called {engine!r}", hint="use aot or tflm")
        graph, program, plan = _planned(model, target_of(device, optimize))
        layout = ""
        if updatable:
            sources, layout = emit_updatable(graph, program, plan)
        else:
            sources = emit(graph, program, plan, profile=profile)
        with result_directory(out) as folder:
            for name, text in sources.items():
                (folder / name).write_text(text)
            if standalone:
                _add_kernels(folder)
                (folder / "plan.svg").write_text(draw(graph, program, plan), "utf-8")
        return Compiled(
            directory=out,
            files=tuple(sorted(sources)),
            model_sha256=graph.sha256,
            engine=engine,
            optimize=optimize,
            arena_bytes=plan.arena_bytes,
            profiled_layers=len(graph.ops) if profile else 0,
            arena_bound_bytes=plan.lower_bound_bytes,
            choices=program.choices,
            layout=layout,
        )

    def native(self, model: Path, *, optimize: str = "balanced") -> Predictor:
        """The same C built for the host, loaded. Raises ToolMissingError without a C compiler."""
        graph, program, plan = _planned(model, target_of(None, optimize))
        return NativePredictor(graph, emit(graph, program, plan))


def target_of(device: DeviceProfile | None, optimize: str) -> Target:
    """What a board's core offers the lowering; without a board plain C."""
    if optimize not in OPTIMIZE_LEVELS:
        raise UsageError(
            f"no optimize level is called {optimize!r}", hint=f"use {', '.join(OPTIMIZE_LEVELS)}"
        )
    if device is None:
        return Target(optimize=optimize)
    return Target(device.core, device.dsp, device.helium, device.fpu, optimize)


def _planned(model: Path, target: Target) -> tuple[Graph, Program, Plan]:
    graph = read_graph(model)
    lowered = lower(graph, target)
    choose = compact if target.optimize == "size" else specialise
    program = choose(lowered, target)
    return graph, program, plan_memory(program)


def _add_kernels(folder: Path) -> None:
    for source in sorted(kernels_dir().glob("td_*.[ch]")):
        (folder / source.name).write_bytes(source.read_bytes())
    header = firmware_dir() / "include" / "td_model.h"
    (folder / header.name).write_bytes(header.read_bytes())
