"""report: what is escaped, what is kept of a picture, what the page loads (nothing)."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from pages import ATTACKS, PLAN, hostile, report

from tinydeploy.report.html import Html, el
from tinydeploy.report.page import render
from tinydeploy.report.picture import cleaned


class Reader(HTMLParser):
    """Collects tags with their attributes, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_el_escapes_all_but_html() -> None:
    made = el("p", "<b>", el("b", "&"), None, title='"x"', hidden=True, class_="a", data_v=None)
    assert made == '<p title="&quot;x&quot;" hidden class="a">&lt;b&gt;<b>&amp;</b></p>'
    assert el("p", "a\x00b\x1b") == "<p>a\ufffdb\ufffd</p>"
    assert isinstance(made, Html)


def test_the_page_loads_nothing_and_runs_only_its_own_script() -> None:
    page = render(report())
    tags = Reader(page).tags
    assert [t for t, _ in tags].count("script") == 2
    assert not {"img", "iframe", "link", "object", "embed", "base"} & {t for t, _ in tags}
    for tag, attributes in tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        assert "style" not in attributes and "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy.replace("&#x27;", "'")
    assert "unsafe" not in policy and "http" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org)", page)


def test_hostile_text_makes_no_markup() -> None:
    """The same elements as a page of harmless texts has, whatever the texts are."""
    page = render(hostile())
    tags = {t for t, _ in Reader(page).tags}
    assert tags <= {t for t, _ in Reader(render(report())).tags}
    assert [t for t, _ in Reader(page).tags].count("script") == 2
    block = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert block and not set("<>&\u2028\u2029") & set(block[1])
    names = {b["name"] for b in json.loads(block[1])["boards"]}
    assert names == set(ATTACKS)


def test_a_picture_keeps_shapes_text_and_tooltips() -> None:
    kept = cleaned(PLAN, 'the "arena"')
    assert 'role="img" aria-label="the &quot;arena&quot;"' in kept
    assert 'viewBox="0 0 200 100"' in kept
    assert "<title>t0: 0 to 40</title>" in kept and ">0</text>" in kept


@pytest.mark.parametrize(
    "svg",
    [
        "",
        "not svg",
        "<html/>",
        '<!DOCTYPE svg [<!ENTITY a "b">]><svg xmlns="http://www.w3.org/2000/svg">&a;</svg>',
    ],
)
def test_what_is_no_picture_is_left_out(svg: str) -> None:
    assert cleaned(svg, "x") == ""


def test_a_picture_brings_nothing_that_acts() -> None:
    svg = PLAN.replace(
        "<text",
        '<script>alert(1)</script><foreignObject/><image href="http://x"/>'
        '<text onclick="alert(1)" style="fill:url(http://x)"',
    )
    kept = cleaned(svg, "x")
    assert ">0</text>" in kept
    assert not re.search("script|alert|foreign|image|http|style|onclick", kept)


def test_sections_without_content_are_left_out() -> None:
    import dataclasses

    page = render(dataclasses.replace(report(), anatomies=()))
    assert 'id="layers"' not in page and 'id="memory"' not in page and 'id="verdict"' in page
