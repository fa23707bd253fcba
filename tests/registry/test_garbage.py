"""gc: what is needed is never listed, and everything that is left behind is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from family import BOARD, build, choose, measurement, registered, variant

from tinydeploy.cli.main import run
from tinydeploy.registry.garbage import Garbage, Policy, find, remove
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.store import staged_left


def retrained(registry: MlflowRegistry, folder: Path, seed: int, board: str = BOARD) -> str:
    """A new version of the one variant net-int8, on a board; selected."""
    model = variant(folder, seed=seed)
    version = registry.register("family", *model)
    made = build(folder / f"{seed}", model[1], board)
    registry.record("family", version, made, measurement(made))
    registry.select("family", choose(registry, "net-int8", board))
    return version


def listed(registry: MlflowRegistry, policy: Policy | None = None) -> list[tuple[str, str]]:
    return [(g.kind, g.id) for g in find(registry, "family", policy or Policy())]


def versions(registry: MlflowRegistry, policy: Policy | None = None) -> list[str]:
    return [id for kind, id in listed(registry, policy) if kind == "version"]


def test_what_is_needed_is_kept(registry: MlflowRegistry, tmp_path: Path) -> None:
    for seed in range(8):
        retrained(registry, tmp_path, seed)
    life = Lifecycle(registry)
    # 8 is chosen and the newest, 7 is what a rollback would take.
    assert versions(registry) == ["1", "2", "3", "4", "5", "6"]
    assert versions(registry, Policy(rollbacks=3)) == ["1", "2", "3", "4"]
    assert versions(registry, Policy(keep=5)) == ["1", "2", "3"]
    sha256 = registry.get("family", "3").model_sha256
    life.flashed("family", BOARD, sha256, "", "")
    life.pin("family", BOARD, "2")
    registry.select("family", choose(registry, "net-int8"))  # 8 is the challenger
    with registry.place.locked() as client:
        client.set_registered_model_alias("family", "mine", "5")
        client.set_model_version_tag("family", "4", "deployment.bench", "loopback")
    assert versions(registry) == ["1", "6", "7"]
    before = registry.view("family")
    remove(registry, find(registry, "family", Policy()), Policy(), lambda _: None)
    after = registry.view("family")
    assert [v.version for v in after.versions] == ["2", "3", "4", "5", "8"]
    assert after.aliases == before.aliases
    for version in after.versions:
        assert registry.artifact("family", version.version).sha256 == version.model_sha256
        assert len(after.of(version)) == 1
    assert listed(registry) == []
    folders = registry.place.artifact_folders("family")
    assert sorted(folders) == sorted(r.run_id for r in registry.database.runs("family"))


def test_a_removal_that_is_cut_off_is_found_again(registry: MlflowRegistry, tmp_path: Path) -> None:
    for seed in range(3):
        retrained(registry, tmp_path, seed)
    policy = Policy(rollbacks=0)
    whole = find(registry, "family", policy)
    assert len(whole) >= 6
    while garbage := find(registry, "family", policy):
        remove(registry, garbage[:1], policy, lambda _: None)  # as if killed after each step
    assert [v.version for v in registry.view("family").versions] == ["3"]
    assert len(registry.place.artifact_folders("family")) == 3  # variant, board, history


def test_what_killed_processes_leave(registry: MlflowRegistry, tmp_path: Path) -> None:
    registered(registry, tmp_path, "int8")
    registry.select("family", choose(registry, "net-int8"))
    with registry.place.locked() as client:
        experiment = client.get_experiment_by_name("family")
        tags = {"tinydeploy.kind": "variant", "tinydeploy.key": "x"}
        begun = client.create_run(experiment.experiment_id, tags=tags).info.run_id
        ended = client.create_run(experiment.experiment_id, tags=tags).info.run_id
        client.set_terminated(ended)
        tags = {"tinydeploy.kind": "board", "tinydeploy.key": "y", "mlflow.parentRunId": begun}
        child = client.create_run(experiment.experiment_id, tags=tags).info.run_id
        client.set_terminated(child)
    artifacts = registry.folder.artifacts / "family"
    for run_id in (begun, ended, "0" * 32):
        (artifacts / run_id / "artifacts").mkdir(parents=True)
    (artifacts / "models").mkdir()  # of MLflow itself: none of ours
    found = set(listed(registry))
    assert found == {
        *(("run", run_id) for run_id in (begun, ended, child)),
        *(("artifacts", run_id) for run_id in (begun, ended, "0" * 32)),
    }
    remove(registry, find(registry, "family", Policy()), Policy(), lambda _: None)
    assert listed(registry) == []
    assert registry.selection("family", BOARD) is not None
    assert (artifacts / "models").is_dir()


def test_what_others_registered_or_deleted(registry: MlflowRegistry, tmp_path: Path) -> None:
    """A run of ours may be another model's version; the run of a version may be deleted."""
    registered(registry, tmp_path, "int8")
    used = registry.get("family", "1").run_id
    with registry.place.locked() as client:
        experiment = client.get_experiment_by_name("family")
        tags = {"tinydeploy.kind": "variant", "tinydeploy.key": "x"}
        theirs = client.create_run(experiment.experiment_id, tags=tags).info.run_id
        client.set_terminated(theirs)
        client.create_registered_model("theirs")
        client.create_model_version("theirs", "file:elsewhere", theirs)
        client.delete_run(used)
    folder = registry.folder.artifacts / "family" / theirs / "artifacts"
    folder.mkdir(parents=True)
    assert listed(registry) == []
    with registry.place.locked() as client:
        client.delete_model_version("theirs", "1")
    assert set(listed(registry)) == {("run", theirs), ("artifacts", theirs)}


def test_what_is_needed_by_now_stays(registry: MlflowRegistry, tmp_path: Path) -> None:
    """What was listed may be pinned, or get its version, before it is removed."""
    for seed in range(3):
        retrained(registry, tmp_path, seed)
    with registry.place.locked() as client:
        experiment = client.get_experiment_by_name("family").experiment_id
        tags = {"tinydeploy.kind": "variant", "tinydeploy.key": "x"}
        ended = client.create_run(experiment, tags=tags).info.run_id
        client.set_terminated(ended)
    policy = Policy(rollbacks=0)
    found = find(registry, "family", policy)
    assert {g.id for g in found} >= {"1", "2", ended}
    Lifecycle(registry).pin("family", BOARD, "1")
    with registry.place.locked() as client:
        client.create_model_version("family", "file:elsewhere", ended)
    remove(registry, found, policy, lambda _: None)
    assert {v.version for v in registry.view("family").versions} >= {"1", "3"}
    assert [g.id for g in found if g.kind == "version"] == ["1", "2"]
    assert registry.artifact("family", "1").sha256 == registry.get("family", "1").model_sha256
    assert ended in {r.run_id for r in registry.database.runs("family")}


def test_a_model_that_never_came_to_a_version(registry: MlflowRegistry) -> None:
    with registry.place.locked() as client:
        experiment = client.create_experiment("family", registry.place.location("family"))
        client.create_run(experiment, tags={"tinydeploy.kind": "variant"})
    (garbage,) = find(registry, "family", Policy())
    assert isinstance(garbage, Garbage) and garbage.kind == "run"
    assert registry.database.experiments() == ["family"]


def test_staged_folders_of_ended_processes(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys; from tinydeploy.store import staged_directory\n"
        "with staged_directory(pathlib.Path(sys.argv[1]) / 'stage' / 'key'): os._exit(1)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (mine,) = tmp_path.glob("stage/.key.*")
    alive = tmp_path / "stage" / mine.name.replace(mine.name.split("-")[1].split(".")[0], "1")
    alive.mkdir()
    other = tmp_path / "stage" / ".key.000000-1.abcdefgh"
    other.mkdir()
    (tmp_path / "stage" / ".pio").mkdir()
    assert staged_left([tmp_path], 24) == [mine]
    os.utime(other, (time.time() - 90_000,) * 2)
    assert set(staged_left([tmp_path], 24)) == {mine, other}


def test_by_command(
    registry: MlflowRegistry, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        retrained(registry, tmp_path, seed)
    place = ["--registry", str(registry.folder.folder.parent)]
    assert run(["gc", *place, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["deleted"] is False
    assert [g["id"] for g in answer["registry"] if g["kind"] == "version"] == ["1"]
    assert len(registry.view("family").versions) == 3
    assert run(["gc", "family", *place, "--delete"]) == 0
    assert "removed" in capsys.readouterr().out
    assert len(registry.view("family").versions) == 2
    assert run(["gc", *place]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    assert run(["gc", "familly", *place, "--delete"]) == 7
    assert "registered: family" in capsys.readouterr().err
