"""registry.mlflow against MLflow itself: what its own client sees; nothing is done twice."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import family
import pytest
from family import BOARD, DATA, build, choose, client_of, measurement, registered, variant

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.registry.database import Database
from tinydeploy.registry.integrity import verify
from tinydeploy.registry.mlflow import MlflowRegistry, ui_command
from tinydeploy.types import Build, Constraints, from_json


def state(registry: MlflowRegistry) -> list[str]:
    """All that is in the database, to compare before and after."""
    with sqlite3.connect(registry.folder.database) as connection:
        return list(connection.iterdump())


# ---------------------------------------------------------------- register
def test_a_version_holds_the_variant(registry: MlflowRegistry, tmp_path: Path) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    assert registry.register("family", source, artifact, evaluation, data) == "1"
    client = client_of(registry)
    version = client.get_model_version("family", "1")
    assert version.tags["variant"] == "net-int8"
    assert version.tags["model_sha256"] == artifact.sha256
    assert version.tags["accuracy"] == "0.75"
    run = client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"accuracy": 0.75, "model_bytes": artifact.size_bytes}
    assert run.data.params["recipe"] == "int8"
    for key, sha256 in {
        "model_sha256": artifact.sha256,
        "source_sha256": source.sha256,
        "calibration_sha256": artifact.data_sha256,
        "data.validation_sha256": data["validation"]["sha256"],
    }.items():
        assert run.data.tags[key] == sha256
    assert registry.artifact("family", "1") == dataclasses.replace(
        artifact, path=registry.artifact("family", "1").path
    )
    assert registry.artifact("family", "1").path.read_bytes() == artifact.path.read_bytes()


def test_source_and_data_sets_are_logged(registry: MlflowRegistry, tmp_path: Path) -> None:
    source, *more = variant(tmp_path)
    registry.register("family", source, *more)
    version = registry.get("family", "1")
    inputs = client_of(registry).get_run(version.run_id).inputs.dataset_inputs
    found = {
        i.dataset.name: (
            i.dataset.digest,
            json.loads(i.dataset.source)["uri"],
            json.loads(i.dataset.profile),
            {tag.key: tag.value for tag in i.tags}["mlflow.data.context"],
        )
        for i in inputs
    }
    assert found.pop("net") == (
        source.sha256[:12], str(source.path), {"format": "keras", "sha256": source.sha256},
        "source",
    )  # fmt: skip
    assert found == {
        name: (
            d["sha256"][:12], d["path"], {"num_rows": d["samples"], "sha256": d["sha256"]},
            d["context"],
        )
        for name, d in DATA.items()
    }  # fmt: skip


def test_mlflow_reads_the_model_folder(registry: MlflowRegistry, tmp_path: Path) -> None:
    from mlflow.models import Model

    _, artifact, *_ = model = variant(tmp_path)
    registry.register("family", *model)
    folder = registry.artifact("family", "1").path.parent
    assert client_of(registry).get_model_version("family", "1").source == folder.as_uri()
    loaded = Model.load(folder)
    assert loaded.flavors["tinydeploy"]["data"] == "model.tflite"
    assert loaded.flavors["tinydeploy"]["model_sha256"] == artifact.sha256
    assert loaded.run_id == registry.get("family", "1").run_id
    (entry,) = loaded.signature.inputs.inputs
    assert (entry.type.name, entry.shape[0]) == ("int8", -1)


def test_again_is_no_work_and_needs_no_mlflow(registry: MlflowRegistry, tmp_path: Path) -> None:
    model = variant(tmp_path)
    made = build(tmp_path / "b", model[1])
    ids = registry.register("family", *model), registry.record("family", "1", made, None)
    registry.select("family", choose(registry, "net-int8"))
    before = state(registry)
    code = (
        "import sys; sys.path.append(sys.argv[1]); from pathlib import Path; import family\n"
        "from tinydeploy.registry.mlflow import MlflowRegistry\n"
        "registry, folder = MlflowRegistry(Path(sys.argv[2])), Path(sys.argv[3])\n"
        "model = family.variant(folder)\n"
        "made = family.build(folder / 'b', model[1])\n"
        "print(registry.register('family', *model), registry.record('family', '1', made, None))\n"
        f"registry.select('family', registry.selection('family', {BOARD!r}))\n"
        "assert 'mlflow' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    root = registry.folder.folder.parent
    helpers = str(Path(family.__file__).parent)
    arguments = [sys.executable, "-c", code, helpers, str(root), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.split()) == ids
    assert state(registry) == before


def test_other_weights_are_another_version(registry: MlflowRegistry, tmp_path: Path) -> None:
    assert registry.register("family", *variant(tmp_path, seed=0)) == "1"
    assert registry.register("family", *variant(tmp_path, seed=1)) == "2"
    assert registry.register("family", *variant(tmp_path, seed=0)) == "1"
    assert [v.version for v in registry.variants("family")] == ["2"]  # the newest of its name


def test_evaluated_anew_keeps_the_version(registry: MlflowRegistry, tmp_path: Path) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    registry.register("family", source, artifact, evaluation, data)
    made = build(tmp_path / "b", artifact)
    run_id = registry.record("family", "1", made, measurement(made))
    better = dataclasses.replace(evaluation, value=0.875, metrics={"accuracy": 0.875})
    for _ in range(2):
        assert registry.register("family", source, artifact, better, data) == "1"
    assert registry.get("family", "1").value == 0.875
    client = client_of(registry)
    for run in (registry.get("family", "1").run_id, run_id):
        assert client.get_run(run).data.metrics["accuracy"] == 0.875
    assert registry.record("family", "1", made, measurement(made)) == run_id


def test_a_deleted_model_file_comes_back(registry: MlflowRegistry, tmp_path: Path) -> None:
    model = variant(tmp_path)
    registry.register("family", *model)
    path = registry.artifact("family", "1").path
    path.unlink()
    with pytest.raises(RegistryError, match="incomplete"):
        registry.artifact("family", "1")
    assert registry.register("family", *model) == "1"
    assert registry.artifact("family", "1").sha256 == model[1].sha256
    assert path.is_file()  # where MLflow itself loads it from


def test_a_changed_model_file_is_not_handed_out(registry: MlflowRegistry, tmp_path: Path) -> None:
    registry.register("family", *variant(tmp_path))
    registry.artifact("family", "1").path.write_bytes(b"changed")
    with pytest.raises(RegistryError, match="sha256"):
        registry.artifact("family", "1")


def test_a_model_that_is_not_the_artifact_leaves_nothing(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    content = artifact.path.read_bytes()
    artifact.path.write_bytes(content + b"changed")
    with pytest.raises(RegistryError, match="sha256"):
        registry.register("family", source, artifact, evaluation, data)
    assert registry.models() == []
    assert registry.database.runs("family") == []
    assert list(registry.folder.artifacts.rglob("*.tflite")) == []
    artifact.path.write_bytes(content)
    assert registry.register("family", source, artifact, evaluation, data) == "1"


def test_an_evaluation_of_another_model_is_refused(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    other = dataclasses.replace(evaluation, model_sha256="0" * 64)
    with pytest.raises(UsageError, match="another model"):
        registry.register("family", source, artifact, other, data)


# ---------------------------------------------------------------- record
def test_a_board_is_a_child_run(registry: MlflowRegistry, tmp_path: Path) -> None:
    _, artifact, *_ = model = variant(tmp_path)
    version = registry.register("family", *model)
    made = build(tmp_path / "b", artifact)
    measured = measurement(made)
    run_id = registry.record("family", version, made, measured)
    run = client_of(registry).get_run(run_id)
    assert run.data.tags["mlflow.parentRunId"] == registry.get("family", version).run_id
    assert run.data.tags["origin.instructions"] == "emulated"
    assert run.data.tags["origin.flash_bytes"] == "linker"
    assert run.data.tags["build_id"] == made.build_id
    assert run.data.tags["firmware_sha256"] == made.firmware_sha256
    assert run.data.metrics["flash_bytes"] == made.footprint.flash_bytes
    assert run.data.metrics["flash.weights"] == made.footprint.flash["weights"]
    assert "latency_us" not in run.data.metrics
    folder = registry.folder.run_artifacts("family", run_id)
    assert (folder / "firmware.elf").read_bytes() == made.elf.read_bytes()
    raw = json.loads((folder / "measurement.json").read_text())
    assert from_json(type(measured), raw) == measured


def test_deleted_firmware_comes_back(registry: MlflowRegistry, tmp_path: Path) -> None:
    _, artifact, *_ = model = variant(tmp_path)
    version = registry.register("family", *model)
    made = build(tmp_path / "b", artifact)
    measured = measurement(made)
    gone = registry.record("family", version, made, measured)
    shutil.rmtree(registry.folder.run_artifacts("family", gone))
    said = [(p.file, p.reason) for c in verify(registry, "family", "") for p in c.problems]
    assert said == [("manifest.json", "is missing"), ("build.json", "is missing")]
    run_id = registry.record("family", version, made, measured)
    assert not [p for c in verify(registry, "family", "") for p in c.problems]
    assert registry.record("family", version, made, measured) == run_id != gone


def test_one_run_a_board_engine_and_level(registry: MlflowRegistry, tmp_path: Path) -> None:
    _, artifact, *_ = model = variant(tmp_path)
    registry.register("family", *model)
    made = build(tmp_path / "b", artifact)

    def record(built: Build, **new: Any) -> str:
        return registry.record("family", "1", built, measurement(built, **new))

    first = record(made)
    assert record(made) == first
    assert registry.record("family", "1", made, None) == first  # does not lose the measurement
    fast = dataclasses.replace(made, optimize="speed", build_id="fast")
    assert record(fast) != first
    second = record(made, instructions=(5, 5, 5))
    assert second != first
    active = registry.view("family").records
    assert {r.run_id for r in active} == {second, record(fast)}
    assert client_of(registry).get_run(first).info.lifecycle_stage == "deleted"
    names = [c.name for c in registry.candidates("family", BOARD)]
    assert sorted(names) == ["net-int8 (aot, balanced)", "net-int8 (aot, speed)"]
    assert [c.name for c in registry.candidates("family", BOARD, optimize="speed")] == ["net-int8"]


def test_an_older_run_left_by_a_kill_is_removed(registry: MlflowRegistry, tmp_path: Path) -> None:
    _, artifact, *_ = model = variant(tmp_path)
    registry.register("family", *model)
    made = build(tmp_path / "b", artifact)
    old = registry.record("family", "1", made, measurement(made, instructions=(1, 1, 1)))
    new = registry.record("family", "1", made, measurement(made))
    client_of(registry).restore_run(old)  # as if the process had died before it deleted it
    assert registry.record("family", "1", made, measurement(made)) == new
    assert [r.run_id for r in registry.database.runs("family") if f"@{BOARD}" in r.name] == [new]


def test_what_cannot_be_recorded(registry: MlflowRegistry, tmp_path: Path) -> None:
    _, artifact, *_ = model = variant(tmp_path)
    made = build(tmp_path / "b", artifact)
    with pytest.raises(RegistryError, match="no version '1'"):
        registry.record("family", "1", made, None)
    registry.register("family", *model)
    with pytest.raises(UsageError, match="another model"):
        registry.record("family", "1", dataclasses.replace(made, model_sha256="0" * 64), None)
    with pytest.raises(UsageError, match="not a name"):
        registry.record("family", "1", dataclasses.replace(made, board="a board"), None)
    made.elf.unlink()
    with pytest.raises(RegistryError, match=r"firmware\.elf"):
        registry.record("family", "1", made, None)
    assert [r for r in registry.database.runs("family") if f"@{BOARD}" in r.name] == []


# ---------------------------------------------------------------- names
@pytest.mark.parametrize("uri", ["models:/family", "runs:/abc", "family@a b", "../x@y", ""])
def test_what_names_no_model(registry: MlflowRegistry, uri: str) -> None:
    with pytest.raises(UsageError, match="names no model"):
        registry.resolve(uri)


def test_unknown_names_are_answered_with_the_known(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    registry.register("family", *variant(tmp_path))
    with pytest.raises(RegistryError, match="no model called 'famly'") as caught:
        registry.view("famly")
    assert "family" in caught.value.hint


# ---------------------------------------------------------------- MLflow's own view
def test_the_database_says_what_mlflow_says(registry: MlflowRegistry, tmp_path: Path) -> None:
    """The tables of MLflow that are read directly mean what is thought."""
    registered(registry, tmp_path, "float32", "int8")
    registry.select("family", choose(registry, "net-int8"), Constraints(min_metric=0.5))
    client = client_of(registry)
    client.log_metric(registry.get("family", "1").run_id, "not_a_number", float("nan"))
    client.delete_model_version("family", registry.register("family", *variant(tmp_path, seed=5)))
    ours = registry.database.model("family")
    theirs = client.get_registered_model("family")
    assert ours is not None
    assert (ours.tags, ours.description) == (theirs.tags, theirs.description)
    assert dict(ours.aliases) == {k: str(v) for k, v in theirs.aliases.items()}
    versions = {v.version: v for v in client.search_model_versions("name = 'family'")}
    assert {v.version for v in ours.versions} == {str(v) for v in versions} == {"1", "2"}
    for v in ours.versions:
        other = client.get_model_version("family", v.version)
        assert (v.run_id, v.tags, v.description) == (other.run_id, other.tags, other.description)
    experiment = client.get_experiment_by_name("family")
    runs = {r.info.run_id: r for r in client.search_runs([experiment.experiment_id])}
    found = registry.database.runs("family")
    assert {r.run_id for r in found} == set(runs)
    for run in found:
        data = runs[run.run_id].data
        assert (run.row.tags, run.row.params) == (data.tags, data.params)
        assert repr(sorted(run.row.metrics.items())) == repr(sorted(data.metrics.items()))
        assert run.status == runs[run.run_id].info.status
        assert run.name == runs[run.run_id].info.run_name


def test_a_registry_that_cannot_be_written_can_be_read(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a read-only share, where SQLite can make no files beside the database."""
    registry.register("fam", *variant(tmp_path))
    there = Database(tmp_path / "mlflow.db")
    beside = there.path.with_name("mlflow.db-wal")
    with sqlite3.connect(registry.folder.database) as source, sqlite3.connect(there.path) as copy:
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=WAL")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert beside.exists() and there.models() == ["fam"]  # somebody has it open for writing
    copy.close()
    with there.connection() as query:
        assert query("SELECT name FROM registered_models") == [("fam",)]
        assert not beside.exists()


def test_the_ui_needs_something_to_show(registry: MlflowRegistry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="nothing is registered"):
        ui_command(tmp_path / "nothing", 5000)
    command, environment = ui_command(registry.folder.folder.parent, 5123)
    assert command[0] == sys.executable
    assert registry.folder.uri in command
    assert command[-2:] == ["--port", "5123"]
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
