"""The Pareto fronts of a search: accuracy against flash, RAM and instructions, a row a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinydeploy.pipeline.search import SearchResult

_AXES = (("flash_bytes", "flash, bytes"), ("ram_bytes", "RAM, bytes"),
         ("instructions", "instructions an inference"))  # fmt: skip


def draw(result: SearchResult, path: Path) -> None:
    """Write an .svg or .png; measured trials as points, those of the Pareto front filled."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "tinydeploy"
    from matplotlib import pyplot

    boards = list(result.spaces)
    size = (4.2 * len(_AXES), 3.2 * len(boards))
    figure, axes = pyplot.subplots(len(boards), len(_AXES), figsize=size, squeeze=False)
    fronts = {s.board: set(s.pareto) for s in result.deployment.selections}
    for row, board in zip(axes, boards, strict=True):
        measured = [t for t in result.trials if t.board == board and not t.ended]
        for axis, (key, label) in zip(row, _AXES, strict=True):
            for trial in measured:
                value = getattr(trial, key)
                if value is None or trial.metric is None:
                    continue
                best = trial.variant in fronts.get(board, set())
                axis.scatter(
                    value, trial.metric, s=28, linewidths=1.2,
                    edgecolors="#1b6ca8", facecolors="#1b6ca8" if best else "none",
                )  # fmt: skip
            axis.set_xscale("log")
            axis.set_xlabel(label)
            axis.grid(alpha=0.25)
        row[0].set_ylabel("metric")
        row[0].set_title(f"{board} (filled: Pareto front)", loc="left", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
