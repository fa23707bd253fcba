"""The sections of the page, each a function from the report to markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tinydeploy.report import picture
from tinydeploy.report.html import Html, el, join
from tinydeploy.report.values import Anatomy, Board, Report
from tinydeploy.types import Candidate, Constraints, Selection

FIGURES = {
    "flash_bytes": ("Flash", "B"),
    "ram_bytes": ("RAM", "B"),
    "instructions": ("Instructions", ""),
    "latency_us": ("Latency", "µs"),
    "energy_uj": ("Energy", "µJ"),
}
"""Fields of Candidate: head and unit."""

STATES = {"selected": "selected", "sufficient": "sufficient", "rejected": "rejected"}

_LIMITS = {
    "min_metric": "metric at least",
    "max_loss": "loss at most",
    "confidence": "confidence",
    "reference": "reference",
    "max_flash_bytes": "flash at most",
    "max_ram_bytes": "RAM at most",
    "max_instructions": "instructions at most",
    "max_latency_us": "µs at most",
    "max_energy_uj": "µJ at most",
}


def finite(value: float | None) -> float | None:
    """None for what is not a number."""
    return value if value is not None and math.isfinite(value) else None


def number(value: float | None) -> str:
    """As people read it; a dash for what was not measured."""
    value = finite(value)
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) >= 2:
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"


def state(selection: Selection, c: Candidate) -> str:
    """One of STATES."""
    if selection.chosen and selection.chosen.name == c.name:
        return "selected"
    return "sufficient" if c.name in selection.sufficient else "rejected"


def header(report: Report, parts: Sequence[tuple[str, str]]) -> Html:
    """Name, the answer in one sentence, and the way to each section."""
    chosen = [b for b in report.boards if b.selection.chosen]
    variants = {c.name for b in report.boards for c in b.selection.candidates}
    models = {b.selection.chosen.name for b in chosen if b.selection.chosen}
    answer = (
        f"{len(variants)} variants on {len(report.boards)} boards: "
        f"{len(chosen)} have a sufficient one, {len(models)} different."
    )
    links = [el("a", title, href=f"#{anchor}") for title, anchor in parts]
    return el(
        "header",
        el("p", "tinydeploy report", class_="kicker"),
        el("h1", report.name),
        el("p", answer, class_="answer"),
        el("nav", *links, aria_label="Sections"),
    )


# ---------------------------------------------------------------- verdicts
def verdicts(report: Report) -> Html:
    """A card a board."""
    return el("div", *(_card(b) for b in report.boards), class_="cards")


def _card(board: Board) -> Html:
    s, chosen = board.selection, board.selection.chosen
    title = join(el("h3", board.name), el("p", f"{board.core} · {board.description}", class_="dim"))
    limits = _limits(board.constraints)
    said = el("p", f"Smallest by {s.objective}" + (f"; {limits}" if limits else ""), class_="dim")
    if chosen is None:
        return el(
            "article", title, el("p", "No variant is sufficient", class_="chosen none"), said,
            class_="card",
        )  # fmt: skip
    figures = [
        _meter("Flash", chosen.flash_bytes, board.flash_bytes),
        _meter("RAM", chosen.ram_bytes, board.ram_bytes),
    ]
    rows = [(chosen.metric, number(chosen.value))]
    for field in ("instructions", "latency_us", "energy_uj"):
        value = getattr(chosen, field)
        if value is not None:
            head, unit = FIGURES[field]
            told = f"{number(value)} {unit}".strip()
            rows.append((head, f"{told} ({chosen.origin.get(field, 'origin unknown')})"))
    rows.append(("outputs equal the host's", _verified(chosen)))
    return el(
        "article",
        title,
        el("p", chosen.name, class_="chosen"),
        *figures,
        el("dl", *(join(el("dt", k), el("dd", v)) for k, v in rows)),
        el("p", board.evidence, class_="evidence") if board.evidence else None,
        said,
        class_="card",
    )


def _verified(c: Candidate) -> str:
    return {None: "not compared", True: "yes, byte for byte", False: "no"}[c.outputs_verified]


def _meter(name: str, value: int | None, of: int | None) -> Html:
    """A figure and how much of the board it takes."""
    share = f" of {of:,} ({value / of:.0%})" if value is not None and of else ""
    label = el("p", el("b", name), f" {number(value)} B{share}")
    if value is None or not of:
        return el("div", label, class_="meter")
    bar = el(
        "svg",
        el("rect", class_="track", width=100, height=6),
        el("rect", class_="fill", width=f"{min(100 * value / of, 100):.2f}", height=6),
        viewBox="0 0 100 6", preserveAspectRatio="none", aria_hidden="true",
    )  # fmt: skip
    return el("div", label, bar, class_="meter")


def _limits(constraints: Constraints) -> str:
    found = []
    for field, words in _LIMITS.items():
        value = getattr(constraints, field)
        if value is not None:
            found.append(f"{words} {value:,}" if isinstance(value, int) else f"{words} {value}")
    return ", ".join(found)


# ---------------------------------------------------------------- plots and table
def plots(report: Report) -> Html:
    """The controls that plots and table share, and the place where the script draws."""
    boards = [el("option", b.name, value=i) for i, b in enumerate(report.boards)]
    states = [
        el("label", el("input", type="checkbox", checked=True, value=s, class_="state"), " ", s)
        for s in STATES
    ]
    controls = el(
        "form",
        el("label", "Board ", el("select", *boards, id="board")),
        el(
            "label",
            "Name ",
            el("input", type="search", id="filter", placeholder="filter", autocomplete="off"),
        ),
        el("label", el("input", type="checkbox", id="every"), " all boards in the table"),
        el("fieldset", el("legend", "Show", class_="hidden"), *states),
        class_="controls",
        aria_label="Filter plots and table",
    )
    note = el(
        "p",
        "The line is the Pareto front of the sufficient variants; dashed lines are limits. Point "
        "at a mark, or reach it with Tab, for its figures.",
        class_="dim",
    )
    return join(
        controls,
        el("div", id="plots", class_="plots"),
        el("div", id="tip", role="status", hidden=True),
        note,
        el("noscript", el("p", "The plots need JavaScript; the table below does not.")),
    )


def candidates(report: Report) -> Html:
    """Every variant on every board with its reason; sorted and filtered by the script."""
    fields = [
        f
        for f in FIGURES
        if any(getattr(c, f) is not None for b in report.boards for c in b.selection.candidates)
    ]
    # The reason comes before the figures: on narrow screens what is last is out of sight.
    heads = ["Variant", "Verdict", "Why", "Metric", *(_head(f) for f in fields), "Board"]
    numeric = range(3, 4 + len(fields))
    head = el(
        "tr",
        *(
            el(
                "th",
                el("button", h, type="button"),
                scope="col",
                class_="n" if i in numeric else None,
            )
            for i, h in enumerate(heads)
        ),
    )
    rows = [
        _row(i, b, c, fields) for i, b in enumerate(report.boards) for c in b.selection.candidates
    ]
    table = el("table", el("thead", head), el("tbody", *rows), id="table")
    return el("div", table, class_="scroll", tabindex=0, role="region", aria_label="Candidates")


def _head(field: str) -> str:
    head, unit = FIGURES[field]
    return f"{head} {unit}".strip()


def _row(number_: int, board: Board, c: Candidate, fields: Sequence[str]) -> Html:
    s = board.selection
    found = state(s, c)
    told = found + (", on the front" if c.name in s.pareto and found != "selected" else "")
    figures = [
        _cell(getattr(c, f), title=c.origin.get(f) if getattr(c, f) is not None else None)
        for f in fields
    ]
    return el(
        "tr",
        el("th", c.name, scope="row"),
        el("td", el("span", told, class_=f"badge {found}")),
        el("td", s.reasons.get(c.name, "smallest sufficient"), class_="why"),
        _cell(c.value, title=c.metric),
        *figures,
        el("td", board.name, class_="board"),
        data_board=number_,
        data_state=found,
        data_name=c.name,
    )


def _cell(value: float | None, title: str | None = None) -> Html:
    return el("td", number(value), class_="n", title=title, data_v=finite(value))


# ---------------------------------------------------------------- inside a variant
def layers(report: Report) -> Html:
    """A table of layers for each chosen variant, with a bar for what each takes."""
    return join(*(_layers(a, n == 0) for n, a in enumerate(report.anatomies) if a.layers))


def _layers(a: Anatomy, is_open: bool) -> Html:
    measured = bool(a.unit) and any(row.cost is not None for row in a.layers)
    unit = f"{a.unit} ({a.origin})" if measured else "MACs"
    costs = [(row.cost if measured else row.macs) or 0 for row in a.layers]
    most, total = max(costs, default=0) or 1, sum(costs) or 1
    heads = ["#", "Operator", "Output", "MACs", "Weights B", "Activations B", unit, "Share"]
    if not measured:
        del heads[3]
    rows = []
    for row, cost in zip(a.layers, costs, strict=True):
        bar = el(
            "svg",
            el("rect", class_="fill", width=f"{100 * cost / most:.2f}", height=10),
            viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true",
        )  # fmt: skip
        cells = [
            el("td", str(row.index), class_="n"),
            el("th", row.op, scope="row"),
            el("td", row.output),
            el("td", f"{row.macs:,}", class_="n") if measured else None,
            el("td", f"{row.weight_bytes:,}", class_="n"),
            el("td", f"{row.activation_bytes:,}", class_="n"),
            el("td", f"{cost:,.0f}", class_="n"),
            el("td", bar, el("span", f"{cost / total:.1%}"), class_="share"),
        ]
        rows.append(el("tr", *cells))
    head = el("tr", *(el("th", h, scope="col") for h in heads))
    table = el("table", el("thead", head), el("tbody", *rows))
    label = f"Layers of {a.variant} on {a.board}"
    return el(
        "details",
        el("summary", f"{a.variant} on {a.board}: {len(a.layers)} layers"),
        el("div", table, class_="scroll", tabindex=0, role="region", aria_label=label),
        open=is_open,
    )


def memory(report: Report) -> Html:
    """The arena over time, a picture a chosen variant."""
    return join(*(_memory(a, n == 0) for n, a in enumerate(report.anatomies)))


def _memory(a: Anatomy, is_open: bool) -> Html:
    label = f"The arena of {a.variant} on {a.board}: bytes over calls"
    drawn = picture.cleaned(a.plan, label) if a.plan else Html("")
    shown = (
        el("div", drawn, class_="scroll plan", tabindex=0, role="region", aria_label=label)
        if drawn
        else el("p", a.note or "There is no plan to show.", class_="dim")
    )
    title = el("summary", f"{a.variant} on {a.board}: calls from left to right, bytes upwards")
    return el("details", title, shown, open=is_open)


# ---------------------------------------------------------------- provenance
def provenance(report: Report) -> Html:
    """Hashes, tools and data of the chosen, and what the origins of numbers mean."""
    items = [
        el(
            "details",
            el("summary", f"{line.variant}, version {line.version}"),
            _facts(line.facts),
            open=n == 0,
        )
        for n, line in enumerate(report.lineage)
    ]
    return join(*items, el("h3", "Where numbers come from"), _facts(report.origins))


def _facts(facts: Mapping[str, str]) -> Html:
    pairs = (join(el("dt", k), el("dd", v)) for k, v in facts.items())
    return el("dl", *pairs, class_="facts")
