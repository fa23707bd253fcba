"""`tinydeploy select`: fleets, what-if, explanations, evidence, on a registry without firmware."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from family import build, measurement, variant

from tinydeploy.cli.main import cli
from tinydeploy.errors import NoSufficientVariantError, UsageError
from tinydeploy.registry.mlflow import MlflowRegistry

BOARDS = ("qemu-cortex-m0", "qemu-cortex-m4")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float32 is right 950 times in 1,000, int8 946 times; int8 is smaller on both boards."""
    root = tmp_path_factory.mktemp("shelf")
    store = MlflowRegistry(root)
    for seed, (recipe, wrong, ram) in enumerate((("float32", 50, 12_000), ("int8", 54, 8_000))):
        model, artifact, evaluation, data = variant(root / "m", recipe=recipe, seed=seed)
        correct = (0,) * wrong + (1,) * (1000 - wrong)
        value = sum(correct) / 1000
        evaluation = dataclasses.replace(
            evaluation, value=value, metrics={"accuracy": value}, correct=correct, samples=1000
        )
        version = store.register("family", model, artifact, evaluation, data)
        for board in BOARDS:
            made = build(root / f"{recipe}-{board}", artifact, board)
            footprint = dataclasses.replace(
                made.footprint, ram_bytes=ram, flash_bytes=made.footprint.flash_bytes + ram
            )
            made = dataclasses.replace(made, footprint=footprint)
            found = dataclasses.replace(measurement(made), stack_bytes=None)
            store.record("family", version, made, found)
    return root


def select(registry: Path, *words: object) -> Result:
    devices = [w for b in BOARDS for w in ("--device", b)]
    return CliRunner().invoke(
        cli, ["select", "family", *devices, "--registry", str(registry), *map(str, words)]
    )


def answer(registry: Path, *words: object) -> list[dict[str, Any]]:
    result = select(registry, *words, "--json")
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_evidence_decides_with_a_confidence(shelf: Path) -> None:
    plain = answer(shelf, "--max-loss", "0.006")
    assert [s["chosen"]["name"] for s in plain] == ["net-int8", "net-int8"]
    assert plain[0]["evidence"]["net-int8"]["proof"] == "insufficient evidence"
    strict = answer(shelf, "--max-loss", "0.006", "--confidence", "0.95")
    assert [s["chosen"]["name"] for s in strict] == ["net-float32", "net-float32"]
    assert "insufficient evidence for 0.006 in 1,000 samples" in strict[0]["reasons"]["net-int8"]
    proven = answer(shelf, "--max-loss", "0.02", "--confidence", "0.95")
    assert [s["chosen"]["name"] for s in proven] == ["net-int8", "net-int8"]


def test_what_if_answers_and_changes_nothing(shelf: Path) -> None:
    select(shelf, "--max-loss", "0.02")
    store = MlflowRegistry(shelf)
    before = store.view("family")
    found = select(shelf, "--what-if", "max_loss=0.001", "--what-if", "board_ram_bytes=16_384")
    assert found.exit_code == 0, found.output
    assert found.stdout.count("instead of net-int8; nothing was changed") == 2
    assert store.view("family") == before
    nobody = select(shelf, "--what-if", "max_ram_bytes=10")
    assert isinstance(nobody.exception, NoSufficientVariantError)
    assert "none on qemu-cortex-m0, instead of net-int8" in nobody.stdout
    assert store.view("family") == before
    lifted = answer(shelf, "--what-if", "max_loss=none", "--objective", "ram")
    assert lifted[0]["objective"] == "ram"


def test_a_fleet_gets_one_model(shelf: Path) -> None:
    chosen = answer(shelf, "--fleet", "--objective", "flash/1e5 + ram/1e4")
    assert [s["chosen"]["name"] for s in chosen] == ["net-int8", "net-int8"]
    assert MlflowRegistry(shelf).view("family").aliases == dict.fromkeys(BOARDS, "2")
    assert chosen[0]["reasons"]["net-float32"] == (
        "sufficient on every board, but larger in total than net-int8"
    )


def test_explain_names_every_limit(shelf: Path) -> None:
    words = select(shelf, "--max-loss", "0.006", "--max-ram", "9000", "--explain").stdout
    assert words.count("of 1,000 samples 4 were lost and 0 gained (McNemar's exact test: p = 0.12)")
    assert "RAM       12,000 B  at most 9,000 B" in words
    assert "within 0.006 of the best" in words and "on the Pareto front" in words
    shown = select(shelf, "--max-loss", "0.006", "--confidence", "0.95", "--explain").stdout
    (row,) = {line for line in shown.splitlines() if "0.9460 " in line and "within" in line}
    assert row.endswith("within 0.006 of the best, shown with 95 % confidence  no")
    paragraph = shown.split("net-int8 on qemu-cortex-m0: rejected")[1].split("\n\n")[0]
    assert paragraph.count("insufficient evidence for 0.006") == 1


def test_limits_that_do_not_hold_any_more_are_named(shelf: Path) -> None:
    """The champion may change because a limit was forgotten."""
    select(shelf, "--max-loss", "0.001", "--min-metric", "0.9")
    found = select(shelf, "--min-metric", "0.9")
    for board in BOARDS:
        note = f"note: {board} was last selected with max_loss=0.001; that does not hold now"
        assert note in found.stderr
    assert "note" not in select(shelf, "--min-metric", "0.9").output
    assert "note" not in select(shelf, "--what-if", "min_metric=none").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--what-if", "max_rum=3"], "no limit is called 'max_rum'"),
        (["--what-if", "max_ram_bytes=a"], "'a' is no number"),
        (["--what-if", "max_ram_bytes"], "'' is no number"),
        (["--objective", "beauty"], "no objective is called 'beauty'"),
        (["--max-loss", "0.1", "--confidence", "95"], "a confidence of 95"),
        (["--max-loss", "0.1", "--reference", "x"], "no variant for qemu-cortex-m0 is called 'x'"),
        (["--device", "qemu-cortex-m4"], "a board is named twice"),
    ],
)
def test_bad_input(shelf: Path, words: list[str], message: str) -> None:
    found = select(shelf, *words)
    assert isinstance(found.exception, UsageError), found.output
    assert message in found.exception.message
