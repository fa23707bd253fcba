"""Reports of invented figures, and one whose every text is an attack."""

from __future__ import annotations

import dataclasses
from typing import Any

from tinydeploy.report.values import Anatomy, Board, LayerRow, Lineage, Report
from tinydeploy.types import Candidate, Constraints, Selection

ATTACKS = (
    "<script>window.pwned = 1</script>",
    "<img src=x onerror='window.pwned=2'>",
    '"><svg onload=window.pwned=3>',
    "</script><script>window.pwned=4</script>",
    "'-(window.pwned=5)-'",
    "javascript:window.pwned=6//",
    "<!--<script>window.pwned=7",
    "\u2028window.pwned=8\u2029]]>",
    "</title></style><iframe srcdoc='<script>parent.pwned=9</script>'>",
    "{{constructor.constructor('window.pwned=10')()}}",
)
PLAN = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><title>arena</title>'
    '<rect x="1" y="2" width="30" height="40" fill="#4c78a8"><title>t0: 0 to 40</title></rect>'
    '<text x="1" y="90">0</text></svg>'
)


def candidate(name: str, value: float, flash: int, **more: Any) -> Candidate:
    origin: Any = {"instructions": "emulated"}
    settled = {"ram_bytes": 4_000, "instructions": flash * 40, "origin": origin, **more}
    return Candidate(name, name, "accuracy", value, flash_bytes=flash, **settled)


def selection(board: str) -> Selection:
    """`middle` is chosen; `large` is on the front; `small` and `unbuilt` are rejected."""
    found = (
        candidate("small", 0.85, 10_000),
        candidate("middle", 0.91, 20_000),
        candidate("large", 0.93, 400_000),
        Candidate("unbuilt", "u", "accuracy", 0.94, blocked="too large"),
    )
    return Selection(
        board, "flash", found[1], found, ("middle", "large"),
        {"small": "accuracy 0.850 < 0.900", "large": "larger than middle", "unbuilt": "too large"},
        sufficient=("middle", "large"),
    )  # fmt: skip


def board(name: str, description: str = "a board") -> Board:
    limits = Constraints(min_metric=0.9, max_flash_bytes=300_000)
    return Board(name, description, "cortex-m4", selection(name), limits, 1_000_000, 50_000)


def report() -> Report:
    """Two boards, layers, a plan, lineage."""
    layers = (
        LayerRow(0, "CONV_2D", "1×2", 900, 10, 20, 5_000.0),
        LayerRow(1, "SOFTMAX", "1×2", 0, 0, 4, 90.0),
    )
    return Report(
        "family",
        "2026-01-01 00:00 UTC",
        "tinydeploy 0",
        (board("board-a"), board("board-b")),
        (Anatomy("middle", "board-a", layers, "instructions", "emulated", PLAN),
         Anatomy("middle", "board-b", note="no plan")),
        (Lineage("middle", "2", {"model sha256": "ab" * 32}),),
        {"emulated": "an emulator"},
    )  # fmt: skip


def hostile() -> Report:
    """Every text that could come from a model, a board or a registry is an attack."""
    boards = []
    for attack in ATTACKS:
        s = selection(attack)
        candidates = tuple(
            dataclasses.replace(
                c,
                name=f"{attack}{i}",
                metric=attack,
                origin={"instructions": attack},  # type: ignore[dict-item]
                blocked=attack if c.blocked else "",
            )
            for i, c in enumerate(s.candidates)
        )
        reasons = {c.name: attack for c in candidates[:1] + candidates[2:]}
        names = tuple(c.name for c in candidates[1:3])
        s = dataclasses.replace(
            s, objective=attack, chosen=candidates[1], candidates=candidates, pareto=names,
            reasons=reasons, sufficient=names,
        )  # fmt: skip
        limits = Constraints(reference=attack, max_loss=0.1)
        boards.append(Board(attack, attack, attack, s, limits, 10, 10, attack))
    svg = PLAN.replace("t0", "x&lt;script>window.pwned=11&lt;/script>").replace(
        "<text",
        '<script>window.pwned=12</script><a href="javascript:window.pwned=13">'
        '<text onload="window.pwned=14"',
    ).replace("</svg>", "</a></svg>")  # fmt: skip
    return Report(
        ATTACKS[0], ATTACKS[1], ATTACKS[2], tuple(boards),
        tuple(
            Anatomy(a, a, (LayerRow(0, a, a, 1, 1, 1, 2.0),), a, a, svg, a) for a in ATTACKS
        ),
        tuple(Lineage(a, a, {a: a}) for a in ATTACKS),
        {a: a for a in ATTACKS},
    )  # fmt: skip
