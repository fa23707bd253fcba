"""What `tinydeploy gate` found: Markdown for people, JUnit XML for CI."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from tinydeploy.pipeline.gate import Check, Limit, Verdict, number


def markdown(model: str, verdicts: Sequence[Verdict]) -> str:
    """A table a board, and every reason below it."""
    return "\n\n".join(_board(model, v) for v in verdicts)


def _board(model: str, verdict: Verdict) -> str:
    word = "passed" if verdict.passed else "**failed**"
    lines = [f"### {_plain(model)} on {_plain(verdict.board)}: {word}"]
    if verdict.checks:
        theirs = verdict.champion or "champion"
        lines += ["", _row("figure", "this model", theirs, "change", "limit", "result")]
        lines.append("| --- | ---: | ---: | ---: | ---: | --- |")
        lines += [_row(*_cells(c)) for c in verdict.checks]
    if verdict.reasons:
        lines += ["", *(f"- {_plain(reason)}" for reason in verdict.reasons)]
    return "\n".join(lines)


def _cells(check: Check) -> list[str]:
    result = "failed" if not check.ok else "ok" if check.limit or check.required else ""
    if check.required:
        said = {None: "not compared", 1.0: "yes", 0.0: "no"}[check.value]
        return [check.name, said, "", "", "yes", result]
    return [
        f"{check.name} ({check.origin})" if check.origin else check.name,
        _figure(check.value, check.unit),
        _figure(check.champion, check.unit),
        _change(check),
        _limit(check.limit, check.bound, check.unit),
        result,
    ]


def _figure(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{number(value)} {unit}".strip()


def _change(check: Check) -> str:
    if check.value is None or check.champion is None:
        return ""
    change = check.value - check.champion
    if not check.unit and abs(check.champion) <= 1:
        return f"{change:+.4f}"
    return f"{change / check.champion:+.2%}" if check.champion else f"{change:+,.0f}"


def _limit(limit: Limit | None, bound: float | None, unit: str) -> str:
    if limit is None:
        return ""
    if limit.kind == "absolute":
        return _figure(limit.value, unit)
    said = f"{limit.value:+g}%" if limit.kind == "percent" else f"{limit.value:+g}"
    return said if bound is None else f"{_figure(bound, unit)} ({said})"


def _row(*cells: str) -> str:
    return "| " + " | ".join(_plain(c).replace("|", "\\|") for c in cells) + " |"


def _plain(text: str) -> str:
    """One line, without what Markdown or HTML would take for its own."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line.replace("&", "&amp;").replace("<", "&lt;")


def junit(model: str, verdicts: Sequence[Verdict]) -> str:
    """A test suite a board, a test case a figure; what kept a board from being judged is an error.

    The format that Jenkins, GitLab and GitHub's reporters read (testmoapp/junitxml).
    """
    root = ElementTree.Element("testsuites", name="tinydeploy gate")
    for verdict in verdicts:
        failed = sum(not c.ok for c in verdict.checks)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_xml(f"{model} on {verdict.board}"),
            tests=str(max(len(verdict.checks), 1)),
            failures=str(failed),
            errors=str(int(bool(verdict.error))),
        )
        if verdict.error:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(verdict.board), name="firmware"
            )
            ElementTree.SubElement(case, "error", message=_xml(verdict.error))
        for check in verdict.checks:
            case = ElementTree.SubElement(
                suite, "testcase", classname=_xml(verdict.board), name=_xml(check.name)
            )
            if not check.ok:
                ElementTree.SubElement(case, "failure", message=_xml(check.reason))
            ElementTree.SubElement(case, "system-out").text = _xml(", ".join(_cells(check)[1:5]))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Without what XML cannot hold; ElementTree escapes the rest."""
    return "".join(c if c.isprintable() else "?" for c in text)
