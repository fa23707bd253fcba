"""SVG of others made harmless: only shapes and text are kept, of these only plain attributes."""

from __future__ import annotations

from xml.etree import ElementTree

from tinydeploy.report.html import Html, el

_TAGS = {
    "svg": ("width", "height", "viewBox", "font-family", "font-size"),
    "g": (),
    "title": (),
    "rect": ("x", "y", "width", "height", "fill", "fill-opacity", "stroke", "stroke-width"),
    "line": ("x1", "x2", "y1", "y2", "stroke", "stroke-dasharray"),
    "text": ("x", "y", "text-anchor", "font-size"),
}


def cleaned(svg: str, label: str) -> Html:
    """The picture as inline markup with an accessible name, empty if it is not well-formed SVG."""
    if "<!" in svg:  # no document types, no entities
        return Html("")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:
        return Html("")
    if _name(root) != "svg":
        return Html("")
    width, height = root.get("width", ""), root.get("height", "")
    if width.isdigit() and height.isdigit():
        root.set("viewBox", f"0 0 {width} {height}")
    return _element(root, role="img", aria_label=label)


def _element(node: ElementTree.Element, **more: object) -> Html:
    tag = _name(node)
    attributes = {**{k: v for k, v in node.attrib.items() if k in _TAGS[tag]}, **more}
    children: list[str] = [node.text or ""]
    for child in node:
        if _name(child) in _TAGS:
            children.append(_element(child))
        children.append(child.tail or "")
    kept = [c for c in children if isinstance(c, Html) or (tag in ("text", "title") and c.strip())]
    return el(tag, *kept, **attributes)


def _name(node: ElementTree.Element) -> str:
    return str(node.tag).removeprefix("{http://www.w3.org/2000/svg}")
