"""Promote, pin, roll back, history: what the aliases say, and that selection respects it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from family import BOARD, build, choose, measurement, registered, variant

from tinydeploy.cli.main import run
from tinydeploy.errors import RegistryError
from tinydeploy.registry.history import Event, previous
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry

CHALLENGER = f"{BOARD}-challenger"


@pytest.fixture
def life(registry: MlflowRegistry, tmp_path: Path) -> Lifecycle:
    """Three variants on a board, int8 (version 2) chosen."""
    registered(registry, tmp_path, "float32", "int8", "int16x8")
    registry.select("family", choose(registry, "net-int8"))
    return Lifecycle(registry)


def states(registry: MlflowRegistry) -> dict[str, str]:
    """Version -> the state of its run."""
    view = registry.view("family")
    return {v.version: view.of(v, BOARD)[0].selection for v in view.versions}


def what(life: Lifecycle) -> list[tuple[str, str]]:
    return [(e.what, e.version) for e in life.history("family", BOARD)]


def test_a_pinned_board_keeps_its_version_and_gets_a_challenger(life: Lifecycle) -> None:
    registry = life.registry
    life.pin("family", BOARD)
    registry.select("family", choose(registry, "net-int16x8"))
    assert registry.view("family").aliases == {BOARD: "2", CHALLENGER: "3"}
    assert states(registry) == {"1": "rejected", "2": "selected", "3": "challenger"}
    assert registry.get("family", "2").selected.keys() == {BOARD}
    assert registry.get("family", "3").selected == {}
    assert registry.resolve(f"models:/family@{CHALLENGER}").recipe == "int16x8"
    registry.select("family", choose(registry, "net-int8"))  # no other is better any more
    assert registry.view("family").aliases == {BOARD: "2"}
    registry.select("family", choose(registry, None))
    assert registry.view("family").aliases == {BOARD: "2"}  # pinned is pinned
    life.unpin("family", BOARD)
    registry.select("family", choose(registry, "net-float32"))
    assert registry.view("family").aliases == {BOARD: "1"}
    assert what(life) == [
        ("selected", "2"), ("pinned", "2"), ("unpinned", "2"), ("selected", "1")
    ]  # fmt: skip


def test_the_challenger_is_promoted(life: Lifecycle) -> None:
    registry = life.registry
    with pytest.raises(RegistryError, match="no challenger"):
        life.promote("family", BOARD)
    life.pin("family", BOARD)
    registry.select("family", choose(registry, "net-int16x8"))
    result = life.promote("family", BOARD)
    assert (result.before, result.version, result.pinned) == ("2", "3", True)
    view = registry.view("family")
    assert (view.aliases, view.pins) == ({BOARD: "3"}, {BOARD: "3"})
    assert states(registry) == {"1": "rejected", "2": "rejected", "3": "selected"}
    assert "version 3 was promoted by hand" in registry.view("family").records[-2].reason


def test_rolled_back_further_and_further(life: Lifecycle) -> None:
    registry = life.registry
    for name in ("net-int16x8", "net-float32"):
        registry.select("family", choose(registry, name))
    assert life.rollback("family", BOARD, note="crashes").version == "3"
    assert registry.view("family").pins == {BOARD: "3"}
    # The next selection does not bring back what did not work.
    registry.select("family", choose(registry, "net-float32"))
    assert registry.view("family").aliases == {BOARD: "3", CHALLENGER: "1"}
    assert life.rollback("family", BOARD).version == "2"
    with pytest.raises(RegistryError, match="no other version"):
        life.rollback("family", BOARD)
    assert life.rollback("family", BOARD, version="1").version == "1"
    events = life.history("family")
    assert [e.note for e in events if e.what == "rolled back"] == ["crashes", "", ""]
    assert all(e.at and e.by for e in events)
    assert [e.at for e in events] == sorted(e.at for e in events)


def test_a_removed_version_is_no_target(life: Lifecycle) -> None:
    registry = life.registry
    registry.select("family", choose(registry, "net-int16x8"))
    registry.select("family", choose(registry, "net-float32"))
    with registry.place.locked() as client:
        client.delete_model_version("family", "3")
    assert life.rollback("family", BOARD).version == "2"


@pytest.mark.parametrize(
    ("events", "current", "before"),
    [
        ("s1 s2 s3", "3", ["2", "1"]),
        ("s1 s2 s2 s1", "1", ["2", "1"]),
        ("s1 s2 r1", "1", []),
        ("s1 s2 s3 r2", "2", ["1"]),
        ("s1 s2 s3 r2 s4", "4", ["2", "1"]),
        ("s1 s2", "", ["2", "1"]),
        ("", "", []),
    ],
)
def test_what_was_before(events: str, current: str, before: list[str]) -> None:
    words = {"s": "selected", "r": "rolled back"}
    made = [Event(BOARD, words[e[0]], e[1]) for e in events.split()]
    assert [e.version for e in previous(made, current)] == before


def test_only_what_was_built_and_proven_is_promoted(life: Lifecycle, tmp_path: Path) -> None:
    registry = life.registry
    registry.register("family", *variant(tmp_path, recipe="late", seed=8))
    with pytest.raises(RegistryError, match="was not built for"):
        life.promote("family", BOARD, "4")
    _, artifact, *_ = variant(tmp_path, recipe="late", seed=8)
    made = build(tmp_path / "late", artifact)
    registry.record("family", "4", made, measurement(made, outputs_equal=2))
    with pytest.raises(RegistryError, match="computes something else"):
        life.pin("family", BOARD, "4")
    with pytest.raises(RegistryError, match="no version '9'"):
        life.rollback("family", BOARD, "9")
    with pytest.raises(RegistryError, match="not pinned"):
        life.unpin("family", BOARD)
    assert registry.view("family").aliases == {BOARD: "2"}


def test_a_choice_whose_event_was_lost_is_recorded_later(life: Lifecycle) -> None:
    """As if the process had been killed between the alias and the event."""
    registry = life.registry
    with registry.place.locked() as client:
        client.set_registered_model_alias("family", BOARD, "1")
        for key in ("2",):
            client.delete_model_version_tag("family", key, f"selected.{BOARD}")
    registry.select("family", choose(registry, "net-float32"))
    assert what(life) == [("selected", "2"), ("selected", "1")]
    registry.select("family", choose(registry, "net-float32"))
    assert len(what(life)) == 2


def test_flashed_boards_are_in_the_history(life: Lifecycle, tmp_path: Path) -> None:
    _, artifact, *_ = variant(tmp_path, recipe="int8", seed=1)
    record = next(r for r in life.registry.view("family").records if r.selection == "selected")
    note = "bench 3"
    assert life.flashed("family", BOARD, artifact.sha256, record.build_id, note) == "2"
    event = life.history("family")[-1]
    assert (event.what, event.version, event.run_id) == ("flashed", "2", record.run_id)
    assert event.note == note
    with pytest.raises(RegistryError, match="no version with the model"):
        life.flashed("family", BOARD, "0" * 64, "", "")


def test_by_command(life: Lifecycle, capsys: Any) -> None:
    registry = life.registry
    place = ["--registry", str(registry.folder.folder.parent)]
    at = ["family", "--device", BOARD, *place]
    assert run(["pin", *at, "--version", "1", "--note", "for the fair"]) == 0
    assert "is version 1 (net-float32), version 2 before; pinned" in capsys.readouterr().out
    assert run(["rollback", *at, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2"
    assert run(["unpin", *at]) == 0
    assert run(["promote", *at]) == 7
    assert run(["promote", *at, "--version", "3"]) == 0
    capsys.readouterr()
    assert run(["history", *at, "--json"]) == 0
    events = [Event(**e) for e in json.loads(capsys.readouterr().out)]
    assert [e.what for e in events] == [
        "selected", "pinned", "rolled back", "unpinned", "promoted"
    ]  # fmt: skip
    assert run(["history", *at]) == 0
    assert "for the fair" in capsys.readouterr().out
    assert dataclasses.asdict(events[1])["variant"] == "net-float32"


def test_another_moves_the_board_before_the_lock_is_had(
    life: Lifecycle, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = life.registry.place
    other = Lifecycle(MlflowRegistry(place.folder.parent))
    locked = place.locked

    def later() -> Any:
        monkeypatch.setattr(place, "locked", locked)
        other.pin("family", BOARD, "3")
        return locked()

    monkeypatch.setattr(place, "locked", later)
    result = life.promote("family", BOARD, "1")
    assert (result.before, result.version, result.pinned) == ("3", "1", True)
    view = life.registry.view("family")
    assert (view.aliases, view.pins) == ({BOARD: "1"}, {BOARD: "1"})
    assert [v.version for v in view.versions if BOARD in v.selected] == ["1"]
    assert states(life.registry) == {"1": "selected", "2": "rejected", "3": "rejected"}


@pytest.mark.parametrize("version", ["02", "\u0662", "0", "-2", "9" * 30])
def test_a_version_has_one_spelling(life: Lifecycle, version: str) -> None:
    for verb in (life.promote, life.pin, life.rollback):
        with pytest.raises(RegistryError, match="no version"):
            verb("family", BOARD, version)
    assert what(life) == [("selected", "2")]


def test_a_note_moves_no_cursor(life: Lifecycle, capsys: pytest.CaptureFixture[str]) -> None:
    life.pin("family", BOARD, note="first\nsecond \x1b[31m")
    words = ["history", "family", "--registry", str(life.registry.folder.folder.parent)]
    assert run(words) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(r"first\nsecond \x1b[31m")
