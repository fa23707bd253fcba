"""Results for people (tables) and for scripts (one JSON value)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from tinydeploy.types import to_json


def print_json(value: Any) -> None:
    """One JSON value on stdout."""
    click.echo(json.dumps(to_json(value), indent=2, allow_nan=False))


def table(head: Sequence[str], rows: Sequence[Sequence[Any]], indent: str = "") -> str:
    """Aligned columns: numbers to the right, text to the left."""
    cells = [[cell(v) for v in row] for row in rows]
    widths = [max(len(r[i]) for r in [list(head), *cells]) for i in range(len(head))]
    right = [all(is_number(row[i]) for row in rows) if rows else False for i in range(len(head))]
    lines = [
        indent
        + "  ".join(
            text.rjust(w) if r else text.ljust(w)
            for text, w, r in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in [list(head), ["-" * w for w in widths], *cells]
    ]
    return "\n".join(lines)


def cell(value: Any) -> str:
    """A value as people read it: thousands separated, None as a dash."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) < 100 else f"{value:,.1f}"
    return _printable(str(value))


def _printable(text: str) -> str:
    """A line that moves no cursor: names and notes may come from strangers."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def is_number(value: Any) -> bool:
    """True for what is aligned to the right."""
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
