"""The page: sections of markup, a block of data for the plots, our style and our script.

Nothing is loaded from anywhere. The content security policy names our style and our script by
their hashes, so that nothing else could run even if markup slipped in.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from tinydeploy.report import sections
from tinydeploy.report.html import Html, el, join
from tinydeploy.report.values import Report
from tinydeploy.types import to_json


def render(report: Report) -> str:
    """The whole document."""
    style, script = (_asset(f"report.{kind}") for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    head = join(
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"),
        el("meta", name="referrer", content="no-referrer"),
        el("title", f"{report.name}: tinydeploy report"),
        Html(f"<style>{style}</style>"),
    )
    parts = [
        ("Verdict", "verdict", sections.verdicts(report)),
        ("Trade-offs", "tradeoffs", sections.plots(report)),
        ("Candidates", "candidates", sections.candidates(report)),
        ("Layers", "layers", sections.layers(report)),
        ("Memory", "memory", sections.memory(report)),
        ("Provenance", "provenance", sections.provenance(report)),
    ]
    shown = [part for part in parts if part[2]]
    body = join(
        el("a", "Skip to the verdict", href="#verdict", class_="skip"),
        sections.header(report, [(title, anchor) for title, anchor, _ in shown]),
        el("main", *(_section(*part) for part in shown)),
        el("footer", f"Made {report.made} by {report.tool}. This page loads nothing."),
        _data(report),
        Html(f"<script>{script}</script>"),
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _section(title: str, anchor: str, content: Html) -> Html:
    return el(
        "section", el("h2", title, id=f"{anchor}-title"), content,
        id=anchor, aria_labelledby=f"{anchor}-title",
    )  # fmt: skip


def _asset(name: str) -> str:
    return files("tinydeploy.report").joinpath("assets", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _data(report: Report) -> Html:
    """What the script draws, as JSON in which no markup can end the block."""
    value = json.dumps({"boards": list(_points(report))}, allow_nan=False)
    for character in "<>&\u2028\u2029":
        value = value.replace(character, f"\\u{ord(character):04x}")
    return Html(f'<script type="application/json" id="data">{value}</script>')


def _points(report: Report) -> Iterable[dict[str, Any]]:
    for board in report.boards:
        s = board.selection
        yield {
            "name": board.name,
            "limits": {k: v for k, v in to_json(board.constraints).items() if v is not None},
            "candidates": [
                {
                    "name": c.name,
                    "metric": c.metric,
                    "higher": c.higher_is_better,
                    "value": sections.finite(c.value),
                    **{f: sections.finite(getattr(c, f)) for f in sections.FIGURES},
                    "origin": dict(c.origin),
                    "state": sections.state(s, c),
                    "front": c.name in s.pareto,
                    "reason": s.reasons.get(c.name, "smallest sufficient"),
                }
                for c in s.candidates
            ],
        }
