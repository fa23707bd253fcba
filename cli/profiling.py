"""One inference, layer by layer: for `profile`, `deploy --profile` and `report --profile`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.cli import options, release, wiring

if TYPE_CHECKING:
    from tinydeploy.types import Build, DeviceProfile


def profile(
    model: Path,
    device: DeviceProfile,
    *,
    engine: str,
    optimize: str,
    tflm_lib: str = "",
    inputs: Path | None = None,
    plain: Build | None = None,
) -> dict[str, Any]:
    """What each layer of a model takes on a board: see `wiring.layer_costs`.

    `inputs` is a file with one input, a seeded random one without it. `plain` is the ordinary
    firmware to compare with, if it is there already. Raises what building and running do.
    """
    from tinydeploy.cli.arrays import load_inputs, random_inputs
    from tinydeploy.pipeline.fit import require_fit
    from tinydeploy.tflite import read_graph

    graph = read_graph(model)
    stacked = [x[:1] for x in (load_inputs(inputs, graph) if inputs else random_inputs(graph, 1))]
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:

        def built(name: str, marks: bool) -> Build:
            return wiring.build_firmware(
                model,
                device,
                Path(scratch, name),
                engine=engine,
                optimize=optimize,
                tflm_lib=tflm_lib,
                profile=marks,
            )

        marked = built("marked", True)
        require_fit(marked.footprint, device)
        _, whole = wiring.runner(device).run(plain or built("plain", False), device, stacked)
        parts = wiring.runner(device).profile(marked, device, stacked)
    return wiring.layer_costs(graph, parts, whole) | {"engine": engine, "optimize": optimize}


def profile_registered(
    target: str,
    registry: Path | str,
    profiles: Iterable[Path],
    *,
    board: str = "",
    inputs: Path | None = None,
    tflm_lib: str = "",
) -> dict[str, Any]:
    """As `profile`, of a registered version on a board; kept with its run there.

    `target` and `board` as for `release.locate`. Every byte is checked first. Raises RegistryError
    for one that was changed, UnreachableError after the run if the result waits in the outbox.
    """
    store = wiring.registry(registry)
    version, record = release.locate(store, target, board)
    device = wiring.devices([record.board], profiles)[record.board]
    label = f"{version.name}/{version.version}"
    options.progress(f"profile {version.variant} on {device.name}")
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        plain = release.build_of(
            label, registry, Path(scratch), signed=release.required(False), board=record.board
        )
        found = profile(
            plain.model_path,
            device,
            engine=plain.engine,
            optimize=plain.optimize,
            tflm_lib=tflm_lib,
            inputs=inputs,
            plain=plain,
        )
        store.record_profile(version.name, version.version, plain, found, wiring.lineage())
    store.require_delivered()
    return {"model": version.name, "version": version.version, **found}
