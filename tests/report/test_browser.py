"""The page in headless Chromium: attacks, plots, table, keyboard, phone, dark and light."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import hostile, report

from tinydeploy.report.page import render

CHROMIUM = Path(os.environ.get("TINYDEPLOY_CHROMIUM", "/usr/bin/chromium"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists():
        pytest.skip("needs chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


class Visit:
    """A page that was opened, and what it complained about or asked for."""

    def __init__(
        self, browser: Any, html: str, folder: Path, width: int = 1280, scheme: str = "light"
    ) -> None:
        path = folder / "report.html"
        path.write_text(html, encoding="utf-8")
        self.page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text))
        self.page.on("pageerror", lambda e: self.complaints.append(str(e)))
        self.page.on("dialog", lambda d: self.complaints.append("dialog"))
        self.page.on("request", lambda r: self.requests.append(r.url))
        self.page.goto(path.as_uri())

    def names(self) -> list[str]:
        """Variants of the rows that are shown, from top to bottom."""
        found: list[str] = self.page.eval_on_selector_all(
            "#table tbody tr:not([hidden])", "rows => rows.map(r => r.dataset.name)"
        )
        return found


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Visit]:
    opened = Visit(browser, render(report()), tmp_path)
    yield opened
    assert opened.complaints == []
    opened.page.close()


def test_no_script_of_others_runs(browser: Any, tmp_path: Path) -> None:
    opened = Visit(browser, render(hostile()), tmp_path)
    page = opened.page
    for board in range(10):
        page.select_option("#board", index=board)
        for mark in page.query_selector_all(".mark")[:3]:
            mark.hover(force=True)
            mark.focus()
    page.fill("#filter", "<script>window.pwned=20</script>")
    page.fill("#filter", "")
    page.click("#table thead button >> nth=0")
    for summary in page.query_selector_all("summary"):
        summary.evaluate("node => node.parentElement.open = true")
    page.wait_for_timeout(200)
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("document.scripts.length") == 2
    assert page.query_selector_all("img, iframe, object, embed, base, a[href^=javascript]") == []
    assert len(opened.requests) == 1 and opened.complaints == []
    page.close()


def test_the_policy_stops_a_script_that_slipped_in(browser: Any, tmp_path: Path) -> None:
    """Were the escaping ever to fail, this is what would be left."""
    html = render(report()).replace(
        "</main>", "<script>window.pwned=1</script><img src=x onerror='window.pwned=2'></main>"
    )
    opened = Visit(browser, html, tmp_path)
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in c for c in opened.complaints)
    assert len(opened.requests) == 1 or not opened.requests[1].startswith("http")
    opened.page.close()


def test_plots_show_what_was_measured(visit: Visit) -> None:
    page = visit.page
    captions = page.eval_on_selector_all("figcaption", "all => all.map(n => n.textContent)")
    assert captions == [
        "accuracy against flash, B", "accuracy against RAM, B", "accuracy against instructions",
    ]  # fmt: skip
    assert page.locator(".plot >> nth=0 >> .mark").count() == 3  # unbuilt has no figures
    assert page.locator(".plot >> nth=0 >> .mark.selected").count() == 1
    assert page.locator(".plot >> nth=0 >> .front").count() == 1
    assert page.locator(".plot >> nth=0 >> .limit").count() == 2  # flash and accuracy


def test_pointing_at_a_mark_tells_and_lights_its_row(visit: Visit) -> None:
    page = visit.page
    page.hover(".plot >> nth=1 >> .mark[data-name=large]", force=True)
    told = page.inner_text("#tip")
    assert "large" in told and "400,000 B" in told
    assert "16,000,000" in told and "(emulated)" in told and "larger than middle" in told
    assert page.eval_on_selector_all("tr.hot", "r => r.map(x => x.dataset.name)") == ["large"]
    assert page.locator(".mark.hot").count() == 3  # the same variant in every plot
    page.keyboard.press("Escape")
    assert page.is_hidden("#tip")


def test_the_keyboard_reaches_marks_and_heads(visit: Visit) -> None:
    page = visit.page
    page.focus("#filter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('mark')"):
            break
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("small: ")
    assert page.is_visible("#tip")
    page.focus("#table thead button >> nth=3")
    page.keyboard.press("Enter")
    assert page.get_attribute("#table thead th >> nth=3", "aria-sort") == "ascending"


def test_sorting_keeps_what_was_not_measured_last(visit: Visit) -> None:
    flash = visit.page.locator("#table thead button", has_text="Flash")
    flash.click()
    assert visit.names() == ["small", "middle", "large", "unbuilt"]
    flash.click()
    assert visit.names() == ["large", "middle", "small", "unbuilt"]
    visit.page.locator("#table thead button", has_text="Variant").click()
    assert visit.names() == ["large", "middle", "small", "unbuilt"]


def test_filters_hold_for_plots_and_table(visit: Visit) -> None:
    page = visit.page
    page.fill("#filter", "A")
    assert visit.names() == ["small", "large"]
    page.uncheck(".state[value=rejected]")
    assert visit.names() == ["large"]
    assert page.locator(".plot >> nth=0 >> .mark").count() == 1
    page.check("#every")
    assert visit.names() == ["large", "large"]
    page.fill("#filter", "nothing")
    assert visit.names() == []
    assert "no variant" in page.inner_text("#plots")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_it_fits_and_can_be_read(browser: Any, tmp_path: Path, width: int, scheme: str) -> None:
    """No sideways scrolling; text contrasts with what is behind it by 4.5 (WCAG 2.2, 1.4.3)."""
    opened = Visit(browser, render(report()), tmp_path, width, scheme)
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ratios = page.evaluate(
        """() => {
          const rgb = (c) => c.match(/[\\d.]+/g).map(Number);
          const light = (c) => {
            const [r, g, b] = rgb(c).slice(0, 3).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = (n) => {
            for (; n; n = n.parentElement) {
              const c = getComputedStyle(n).backgroundColor;
              if (rgb(c)[3] !== 0) return c;
            }
            return "rgb(255, 255, 255)";
          };
          return [...document.querySelectorAll("h1,h2,h3,p,dt,dd,td,th,a,label,summary,.badge")]
            .filter((n) => n.textContent.trim())
            .map((n) => {
              const [a, b] = [light(getComputedStyle(n).color), light(behind(n))];
              return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
            });
        }"""
    )
    assert len(ratios) > 50 and min(ratios) >= 4.5
    assert opened.complaints == []
    page.close()


def test_names_for_those_who_do_not_see(visit: Visit) -> None:
    """Every control, region and picture has an accessible name; headings go down by one."""
    page = visit.page
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("select,input,button,[role=region],[role=img]")]
             .filter((n) => !(n.getAttribute("aria-label") || n.textContent.trim() ||
                              (n.labels && n.labels[0] && n.labels[0].textContent.trim())))
             .map((n) => n.outerHTML)"""
    )
    assert unnamed == []
    levels = page.eval_on_selector_all("h1,h2,h3", "h => h.map(n => +n.tagName[1])")
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert page.get_attribute("html", "lang") == "en"
