"""HTML that escapes by itself: text is escaped wherever it goes, only `Html` is not."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"meta", "input", "rect", "line", "br"})


class Html(str):
    """Markup that `el` made, or a constant of ours."""

    __slots__ = ()


def text(value: str) -> Html:
    """Text as markup: escaped, without control characters."""
    return Html(escape("".join(c if c.isprintable() or c == "\n" else "�" for c in value)))


def el(tag: str, *children: str | None, **attributes: object) -> Html:
    """An element. Children that are not Html are escaped, None is left out.

    An attribute that is None or False is left out, True is one without a value. `class_` is
    "class"; other underscores become dashes.
    """
    names = {k: k.rstrip("_").replace("_", "-") for k in attributes}
    written = "".join(
        f" {names[k]}" if v is True else f' {names[k]}="{text(str(v))}"'
        for k, v in attributes.items()
        if v is not None and v is not False
    )
    inside = "".join(c if isinstance(c, Html) else text(c) for c in children if c is not None)
    if tag in _VOID and not inside:
        return Html(f"<{tag}{written}>" if tag in ("meta", "input", "br") else f"<{tag}{written}/>")
    return Html(f"<{tag}{written}>{inside}</{tag}>")


def join(*parts: Html) -> Html:
    """Markup after markup."""
    return Html("".join(parts))
