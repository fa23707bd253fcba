"""Search sources and settings of recipes for the variants that are best on each board.

One Optuna study a board, in one SQLite file: it can be stopped at any time and goes on where it
was. What cannot fit is known from the compiler's plan before anything is built, and what is surely
worse than a variant already found is given up after a part of the validation set. The nets of a
supernet are sources too, and its choices settings like others. With a training set, so is what a
Keras source becomes by the recipes that train.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tinydeploy.config import Config
from tinydeploy.errors import ToolMissingError, UsageError
from tinydeploy.pipeline.deployment import Deployment, Variant
from tinydeploy.pipeline.run import Flow, Tools
from tinydeploy.pipeline.search_board import BoardSearch, Trial
from tinydeploy.pipeline.search_sources import origins_of
from tinydeploy.pipeline.search_space import SourceCost, settings_for
from tinydeploy.pipeline.search_training import EPOCHS, trainings
from tinydeploy.pipeline.study import held
from tinydeploy.types import DeviceProfile

SEED = 7

__all__ = ["Budget", "SearchResult", "Trial", "search"]


@dataclass(frozen=True)
class Budget:
    """When to stop: whichever comes first of minutes and trials a board."""

    minutes: float
    trials: int


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
    *,
    settings: Mapping[str, tuple[str, ...]] | None = None,
    epochs: int = EPOCHS,
    seed: int = SEED,
) -> SearchResult:
    """Search for every board of the configuration; its recipes are not used.

    `settings` replaces values of `search_space.SETTINGS`, and what there is to choose from for
    `trained`; `seed` is the sampler's. With a training set Keras sources are tried trained as well,
    each way so many `epochs`; a training that the time does not suffice for stops after an epoch,
    and goes on there in the next run.
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
    values = {**settings_for(config.optimize), **(settings or {})}
    wanted = values.pop("trained", None)
    ways = trainings(epochs, progress) if config.data.training else {}
    if wanted is not None:
        ways = {trained: way for trained, way in ways.items() if trained in wanted}
    origins = origins_of(config.sources, config.trust_sources, ways)
    if ways and not any(origin.training for origin in origins):
        progress("none of the sources can be trained: only Keras models (.keras or .h5) can")
    trials: list[Trial] = []
    variants: dict[str, Variant] = {}
    spaces = {}
    # Boards share the time; what one does not use is left to those after it.
    end = time.monotonic() + 60 * budget.minutes
    # A board that nothing fits is told before time is spent on the others.
    searches = [
        BoardSearch(config, device, tools, origins, values, progress) for device in devices.values()
    ]
    for number, board in enumerate(searches):
        left = (end - time.monotonic()) / (len(searches) - number)
        spaces[board.device.name] = tuple(board.costs)
        with held(study):
            board.run(optuna, study, time.monotonic() + left, budget.trials, seed)
        trials += board.trials
        for name, variant in board.variants.items():
            known = variants.get(name)
            boards = (*(known.boards if known else ()), *variant.boards)
            runs = {**(known.run_ids or {} if known else {}), **(variant.run_ids or {})}
            variants[name] = dataclasses.replace(variant, boards=boards, run_ids=runs)
    flow = Flow(config, devices, tools, progress)
    return SearchResult(tuple(trials), spaces, flow.choose(list(variants.values())))
