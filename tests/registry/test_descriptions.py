"""registry.descriptions: the tables that people see in the MLflow UI."""

from __future__ import annotations

from tinydeploy.registry.boards import BoardRecord
from tinydeploy.registry.descriptions import describe_model, describe_version
from tinydeploy.registry.schema import VersionRecord
from tinydeploy.registry.view import View
from tinydeploy.types import Footprint


def version(number: int, name: str = "net") -> VersionRecord:
    return VersionRecord(
        "m", str(number), f"run{number}", f"{name}-int8", "int8", name, "ab", 900, "accuracy", 0.875
    )


def record(number: int, board: str, **new: object) -> BoardRecord:
    footprint = Footprint(61_440, 8_192, 4_096, 10_000, {}, {})
    figures: dict[str, object] = {
        "instructions": 1_234_567,
        "origin": {"instructions": "emulated"},
        **new,
    }
    return BoardRecord(
        f"run{number}-{board}", f"run{number}", board, "aot", "balanced", "", "", "", footprint,
        **figures,  # type: ignore[arg-type]
    )  # fmt: skip


def cells(text: str, first: str) -> list[str]:
    row = next(line for line in text.splitlines() if line.startswith(f"| {first}"))
    return [cell.replace("&nbsp;", "").strip() for cell in row.strip("|").split("|")]


def test_the_model_shows_every_variant_on_every_board() -> None:
    view = View(
        "m",
        (version(1), version(2, "big")),
        (record(1, "m0", selection="selected"), record(1, "m4"), record(2, "m4")),
    )
    text = describe_model(view)
    assert cells(text, "variant") == ["variant", "version", "accuracy", "m0", "m4"]
    assert cells(text, "net-int8")[2:] == ["0.8750", "**61,440 / 8,192**", "61,440 / 8,192"]
    assert cells(text, "big-int8")[1:] == ["2", "0.8750", "-", "61,440 / 8,192"]


def test_a_version_shows_the_result_on_every_board() -> None:
    chosen = record(1, "m4", selection="selected", reason="smallest sufficient")
    other = record(
        1, "m0", selection="rejected", reason="needs 8,192 B | limit 1 B", instructions=None
    )
    text = describe_version(View("m", (version(1),), (chosen, other)), version(1))
    assert text.startswith("net-int8, accuracy 0.8750, 900 B as .tflite")
    assert cells(text, "m4") == [
        "m4", "61,440", "8,192", "1,234,567 (emulated)", "-", "**selected**",
    ]  # fmt: skip
    assert cells(text, "m0")[3:] == ["-", "-", "needs 8,192 B / limit 1 B"]


def test_two_runs_on_a_board_are_told_apart() -> None:
    import dataclasses

    both = record(1, "m4"), dataclasses.replace(record(1, "m4"), optimize="speed")
    text = describe_version(View("m", (version(1),), both), version(1))
    assert cells(text, "m4 (aot, balanced)")
    assert cells(text, "m4 (aot, speed)")


def test_as_much_as_mlflow_has_room_for() -> None:
    many = tuple(version(i, f"net{i}") for i in range(200))
    text = describe_model(View("m", many, tuple(record(0, f"board{i}") for i in range(9))))
    assert len(text) <= 5000
    shown = text.count("-int8")
    assert 5 < shown < 200
    assert text.endswith(f"\n\n{200 - shown} more")
