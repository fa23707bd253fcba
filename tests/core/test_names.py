"""names: what can be called how, and names made of any text."""

from __future__ import annotations

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.names import as_name, require_name


@pytest.mark.parametrize("name", ["qemu-cortex-m4", "a_b", "7", "_x", "n" * 100])
def test_names(name: str) -> None:
    assert require_name("board", name) == name


@pytest.mark.parametrize(
    "name", ["", "a b", "a/b", "a:b", "ä", "a\n", "../x", "..", "-x", "--version", "n" * 101]
)
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        require_name("board", name)
    assert caught.value.hint and len(caught.value.message) < 80


@pytest.mark.parametrize(
    ("text", "name"),
    [("kws", "kws"), ("my net (1)", "my-net-1"), ("<b>", "b"), ("-x", "x"), ("門", "model")],
)
def test_a_name_of_any_text(text: str, name: str) -> None:
    assert as_name(text) == name == require_name("source", name)


def test_a_name_of_a_very_long_text() -> None:
    assert require_name("source", as_name("é x" * 500))
