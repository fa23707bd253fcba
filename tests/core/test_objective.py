"""core.objective: what may be written, what it means, and that it is never evaluated as code."""

from __future__ import annotations

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.objective import FIGURES, parse_objective


@pytest.mark.parametrize("name", FIGURES)
def test_one_figure(name: str) -> None:
    found = parse_objective(name)
    assert (found.text, found.single, found.weights) == (name, name, {FIGURES[name]: 1.0})
    assert parse_objective(f" 3 * {FIGURES[name]} ") == found


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("0.5*flash_bytes/1e5 + ram", {"flash_bytes": 0.5 / 1e5, "ram_bytes": 1.0}),
        ("2e-1*energy+latency*3", {"energy_uj": 0.2, "latency_us": 3.0}),
        ("1e+2*ram + flash/4 + ram", {"ram_bytes": 101.0, "flash_bytes": 0.25}),
        ("0*ram + flash + instructions", {"flash_bytes": 1.0, "instructions": 1.0}),
    ],
)
def test_a_weighted_sum(text: str, weights: dict[str, float]) -> None:
    found = parse_objective(text)
    assert (found.weights, found.single) == (weights, "")
    assert parse_objective(found.text) == found


@pytest.mark.parametrize(
    "text",
    ["", "beauty", "flash +", "+ flash", "flash - ram", "-1*flash", "flash/0", "0*flash",
     "flash ram", "__import__('os')", "flash*1e999", "flash**2", "value", "flash*ram", "2",
     "flash\n+;ram"],
)  # fmt: skip
def test_nonsense(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_objective(text)
    assert "known: flash" in caught.value.hint
