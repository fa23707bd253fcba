"""The trials of a search and their fronts: the metric against flash, RAM and instructions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tinydeploy.types import HIGHER_IS_BETTER

if TYPE_CHECKING:
    from tinydeploy.pipeline.search import SearchResult

_AXES = (("flash_bytes", "flash, bytes"), ("ram_bytes", "RAM, bytes"),
         ("instructions", "instructions an inference"))  # fmt: skip
_GOOD, _OTHER = "#1b6ca8", "#9aa5ae"


def front(points: list[tuple[float, float]], higher_is_better: bool) -> list[tuple[float, float]]:
    """Of (cost, metric) those that no other one beats in both, cheapest first."""
    found: list[tuple[float, float]] = []
    for cost, metric in sorted(points, key=lambda p: (p[0], -p[1] if higher_is_better else p[1])):
        if not found or (metric > found[-1][1] if higher_is_better else metric < found[-1][1]):
            found.append((cost, metric))
    return found


def draw(result: SearchResult, path: Path) -> None:
    """Write an .svg or .png: a row a board, with every trial that has figures.

    A line joins the trials that are best for their flash, RAM or instructions alone. Those that the
    board's selection found sufficient and on its Pareto front are filled, others that it can run
    are rings, and those that it cannot run are crosses.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "tinydeploy"
    from matplotlib import pyplot

    boards = list(result.spaces)
    size = (4.2 * len(_AXES), 3.4 * len(boards))
    figure, axes = pyplot.subplots(len(boards), len(_AXES), figsize=size, squeeze=False)
    fronts = {s.board: set(s.pareto) for s in result.deployment.selections}
    evaluations = [v.evaluation for v in result.deployment.variants if v.evaluation]
    metric = evaluations[0].metric if evaluations else "accuracy"
    for row, board in zip(axes, boards, strict=True):
        trials = [t for t in result.trials if t.board == board]
        for axis, (key, label) in zip(row, _AXES, strict=True):
            shown = [
                (float(getattr(t, key)), float(t.metric), t)
                for t in trials
                if t.metric is not None and getattr(t, key) is not None
            ]
            can_run = [(x, y) for x, y, t in shown if not t.ended]
            line = front(can_run, HIGHER_IS_BETTER[metric])
            axis.step(*zip(*line, strict=True), where="post", color=_GOOD, lw=1) if line else None
            for x, y, trial in shown:
                if trial.ended:
                    axis.scatter(x, y, s=26, marker="x", color=_OTHER, zorder=2)
                    continue
                best = trial.variant in fronts.get(board, set())
                axis.scatter(
                    x, y, s=28, linewidths=1.2, zorder=3, edgecolors=_GOOD if best else _OTHER,
                    facecolors=_GOOD if best else "white",
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlabel(label)
            axis.grid(alpha=0.25)
        without = sum(t.metric is None for t in trials)
        row[0].set_ylabel(metric)
        title = f"{board}: {len(trials)} trials" + (f", {without} given up early" * (without > 0))
        row[0].set_title(title, loc="left", fontsize=10)
        row[-1].set_title("filled: sufficient, on the Pareto front", loc="right", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
