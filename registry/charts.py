"""Pictures for the MLflow UI: Pareto plots of each board, the layers of a profile.

SVG that is the same for the same figures, and the figures themselves as JSON beside it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinydeploy.registry.schema import SELECTED
from tinydeploy.registry.view import View
from tinydeploy.store import write_atomic, write_json

COSTS = {"flash_bytes": "flash, bytes", "ram_bytes": "RAM, bytes", "instructions": "instructions"}
"""What the metric is drawn against: figure -> axis."""
_COLOURS = {"selected": "#0b7a3b", "front": "#1f5fa8", "other": "#9aa4b0"}


def pareto(view: View) -> dict[str, list[dict[str, Any]]]:
    """Board -> a point a current variant that was built for it; what is drawn, and no more."""
    found: dict[str, list[dict[str, Any]]] = {}
    for version in view.current:
        for record in view.of(version):
            found.setdefault(record.board, []).append(
                {
                    "variant": version.variant,
                    "version": version.version,
                    "engine": record.engine,
                    "optimize": record.optimize,
                    "metric": version.metric,
                    "value": version.value,
                    "flash_bytes": record.footprint.flash_bytes,
                    "ram_bytes": record.footprint.ram_bytes,
                    "instructions": record.instructions,
                    "selected": record.selection == SELECTED,
                    "pareto": record.pareto,
                    "reason": record.reason,
                }
            )
    return {board: found[board] for board in sorted(found)}


def write_pareto(folder: Path, points: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """`pareto-BOARD.svg` and `pareto.json` in a folder."""
    write_json(folder / "pareto.json", points)
    for board, rows in points.items():
        write_atomic(folder / f"pareto-{board}.svg", _pareto_svg(board, rows))


def write_layers(folder: Path, found: Mapping[str, Any]) -> None:
    """`layers.svg` in a folder: what each layer of a profile takes, as `profile --json` has it."""
    rows, unit = found["layers"], found["unit"]
    figure = _figure(8.0, 1.2 + 0.26 * len(rows))
    axes = figure.subplots()
    places = range(len(rows))
    axes.barh(places, [row[unit] for row in rows], color=_COLOURS["front"])
    axes.set_yticks(places, [f"{row['layer']} {row['op']} {row['output_shape']}" for row in rows])
    for label in axes.get_yticklabels():
        label.set_parse_math(False)
    axes.invert_yaxis()
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row['share']:.1%}", (row[unit], place), xytext=(3, 0), va="center",
            textcoords="offset points", fontsize=8, parse_math=False,
        )  # fmt: skip
    axes.set_xlabel(f"{unit} ({found['origin'].get(unit, 'origin unknown')})", parse_math=False)
    axes.margins(x=0.1, y=0.02)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8)
    total = f"{found['sum_over_whole']:.1%} of {found['whole']:,.0f}"
    figure.suptitle(
        f"{found['board']}: the layers of an inference, {total} {unit}", parse_math=False,
        fontsize=10,
    )  # fmt: skip
    write_atomic(folder / "layers.svg", _svg(figure))


def _pareto_svg(board: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    shown = [cost for cost in COSTS if any(r[cost] is not None for r in rows)]
    figure = _figure(4.4 * len(shown), 3.6)
    common = _common([row["variant"] for row in rows])
    figure.suptitle(f"{board}: {common}*" if common else board, parse_math=False)
    for number, cost in enumerate(shown):
        axes = figure.add_subplot(1, len(shown), number + 1)
        for row in rows:
            if row[cost] is None:
                continue
            state = "selected" if row["selected"] else "front" if row["pareto"] else "other"
            axes.scatter(
                row[cost], row["value"], s=70 if row["selected"] else 36,
                color=_COLOURS[state], zorder=3,
            )  # fmt: skip
            if state != "other":
                axes.annotate(
                    row["variant"].removeprefix(common), (row[cost], row["value"]),
                    xytext=(-5, -12 if state == "selected" else 5), ha="right",
                    textcoords="offset points", fontsize=8, parse_math=False,
                )  # fmt: skip
        axes.set_xlabel(COSTS[cost])
        axes.grid(alpha=0.3)
        axes.margins(0.15)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.tick_params(labelsize=8)
        if number == 0:
            axes.set_ylabel(rows[0]["metric"], parse_math=False)
    handles = [
        _marker(_COLOURS[key], label)
        for key, label in (
            ("selected", "selected"), ("front", "Pareto front"), ("other", "dominated")
        )
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return _svg(figure)


def _common(names: Sequence[str]) -> str:
    """What all names begin with, up to a dash: it need not stand at every point."""
    first, last = min(names), max(names)
    if first == last:
        return ""
    length = next((i for i, (a, b) in enumerate(zip(first, last)) if a != b), len(first))  # noqa: B905
    return first[: first.rfind("-", 0, length) + 1]


def _figure(width: float, height: float) -> Any:
    """A figure of so many inches; without pyplot, which keeps figures and wants a screen."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _marker(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker="o", linestyle="", label=label)


def _svg(figure: Any) -> bytes:
    import matplotlib

    made = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "tinydeploy", "svg.fonttype": "none"}):
        figure.savefig(made, format="svg", metadata={"Date": None})
    return made.getvalue()
