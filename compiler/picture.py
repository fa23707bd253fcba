"""A memory plan as a picture: calls from left to right, the arena's bytes from bottom to top.

Plain SVG text, the same for the same plan. A block's tooltip names what it holds.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from tinydeploy.compiler.plan import Block, Plan
from tinydeploy.compiler.program import Program
from tinydeploy.graph import Graph

_CALL_WIDTH = 28
_HEIGHT = 480
_LEFT, _TOP, _BOTTOM = 84, 34, 30
_TENSOR, _SCRATCH, _BOUND = "#4c78a8", "#f58518", "#c0392b"


def draw(graph: Graph, program: Program, plan: Plan) -> str:
    """The picture of a plan; the dashed line is what no plan can be below."""
    columns = max(len(program.calls), 1)
    width = _LEFT + columns * _CALL_WIDTH + 12
    arena = max(plan.arena_bytes, 1)

    def y(offset: float) -> float:
        return _TOP + _HEIGHT * (1 - offset / arena)

    title = (
        f"arena {plan.arena_bytes:,} bytes, lower bound {plan.lower_bound_bytes:,}, "
        f"{len(program.calls)} calls"
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{_TOP + _HEIGHT + _BOTTOM}" font-family="sans-serif" font-size="11">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20">{escape(title)}</text>',
    ]
    for quarter in range(5):
        offset = arena * quarter // 4
        lines += [
            f'<line x1="{_LEFT}" x2="{width - 12}" y1="{y(offset):.1f}" y2="{y(offset):.1f}" '
            'stroke="#ddd"/>',
            f'<text x="{_LEFT - 6}" y="{y(offset) + 4:.1f}" text-anchor="end">{offset:,}</text>',
        ]
    for block in plan.blocks:
        first, last = max(block.first, 0), min(block.last, columns - 1)
        lines.append(
            f'<rect x="{_LEFT + first * _CALL_WIDTH}" y="{y(block.offset + block.size):.1f}" '
            f'width="{(last - first + 1) * _CALL_WIDTH - 2}" '
            f'height="{_HEIGHT * block.size / arena:.1f}" '
            f'fill="{_TENSOR if block.tensors else _SCRATCH}" fill-opacity="0.45" stroke="#333" '
            f'stroke-width="0.5"><title>{escape(_tooltip(graph, program, block))}</title></rect>'
        )
    bound = y(plan.lower_bound_bytes)
    lines.append(
        f'<line x1="{_LEFT}" x2="{width - 12}" y1="{bound:.1f}" y2="{bound:.1f}" '
        f'stroke="{_BOUND}" stroke-dasharray="4 3"/>'
    )
    for number, call in enumerate(program.calls):
        lines.append(
            f'<text x="{_LEFT + (number + 0.4) * _CALL_WIDTH:.1f}" y="{_TOP + _HEIGHT + 16}" '
            f'text-anchor="middle">{number}<title>{escape(_clean(call.kernel))}</title></text>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _tooltip(graph: Graph, program: Program, block: Block) -> str:
    where = f"{block.offset:,} to {block.offset + block.size:,}"
    if not block.tensors:
        return (
            f"scratch of call {block.first}, {_clean(program.calls[block.first].kernel)}: {where}"
        )
    names = [
        _clean(graph.tensors[t].name) if t < len(graph.tensors) else f"temporary {t}"
        for t in block.tensors
    ]
    return f"{', '.join(names)}: {where}"


def _clean(name: str) -> str:
    """A name from the model without what XML cannot hold."""
    return "".join(c if c.isprintable() else "?" for c in name)[:200]
