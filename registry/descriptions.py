"""Markdown for the MLflow UI, so that a variant can be chosen there."""

from __future__ import annotations

from collections.abc import Sequence

from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.schema import SELECTED, VersionRecord
from tinydeploy.registry.view import View

_MAX_CHARS = 5000  # of MLflow's column
MOST_ROWS = 60
"""More variants than a description has room for: a row takes 90 characters and more."""
_PADDING = "&nbsp;" * 3


def describe_model(view: View, boards: Sequence[str] = (), variants: int | None = None) -> str:
    """A row a variant, a column a board; bold is what was selected.

    `boards` (on which one of the variants has a run) and `variants` say what there is, if the view
    holds only the first of it.
    """
    boards = boards or sorted({r.board for v in view.current for r in view.of(v)})
    head = [
        f"Variants of **{view.name}**: flash / RAM in bytes on each board, **bold** where selected "
        "(the alias of that name points to it). Open a version for the reasons.",
        "",
        *_table_head("variant", "version", view.current[0].metric if view.current else "", *boards),
    ]
    rows = []
    for version in view.current:
        cells = [_cell(view, version, board) for board in boards]
        rows.append(_line(version.variant, version.version, f"{version.value:.4f}", *cells))
    return _limited(head, rows, variants)


def describe_version(view: View, version: VersionRecord) -> str:
    """What it is, and a row a board: footprint, instructions, selected or why not."""
    # The list of versions shows the beginning of this as plain text.
    head = [
        f"{version.variant}, {version.metric} {version.value:.4f}, "
        f"{version.size_bytes:,} B as .tflite: {version.source} by recipe {version.recipe}.",
        "",
        *_table_head("board", "flash B", "RAM B", "instructions", "latency us", "result"),
    ]
    rows = []
    for record in sorted(view.of(version), key=lambda r: (r.board, r.engine, r.optimize)):
        result = "**selected**" if record.selection == SELECTED else record.reason
        board = record.board
        if len(view.of(version, board)) > 1:
            board += f" ({record.engine}, {record.optimize})"
        rows.append(
            _line(
                board,
                f"{record.footprint.flash_bytes:,}",
                f"{record.footprint.ram_bytes:,}",
                _figure(record, "instructions"),
                _figure(record, "latency_us"),
                result,
            )
        )
    return _limited(head, rows)


def _cell(view: View, version: VersionRecord, board: str) -> str:
    """Flash and RAM of the run that was selected, or else of the newest."""
    records = view.of(version, board)
    if not records:
        return "-"
    record = next((r for r in records if r.selection == SELECTED), records[0])
    text = f"{record.footprint.flash_bytes:,} / {record.footprint.ram_bytes:,}"
    return f"**{text}**" if record.selection == SELECTED else text


def _figure(record: BoardRecord, key: str) -> str:
    value = getattr(record, key)
    return "-" if value is None else f"{value:,.0f} ({record.origin.get(key, 'origin unknown')})"


def _line(*cells: str) -> str:
    """A row. The UI's tables have no padding: no-break spaces keep the columns apart."""
    return "| " + " | ".join(f"{cell.replace('|', '/')}{_PADDING}" for cell in cells) + " |"


def _table_head(*names: str) -> tuple[str, str]:
    return _line(*names), "|" + " --- |" * len(names)


def _limited(head: list[str], rows: list[str], count: int | None = None) -> str:
    """As many rows as MLflow has room for, and how many (of `count`) were left out."""
    text = "\n".join(head)
    count = len(rows) if count is None else count
    for done, row in enumerate(rows):
        rest = f"\n\n{count - done} more"
        if len(text) + 1 + len(row) + len(rest) > _MAX_CHARS:
            return text + rest
        text += f"\n{row}"
    return text
