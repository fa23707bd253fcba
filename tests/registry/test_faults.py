"""A full disk, damage, kills at random points, two at once: nothing half registered."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from family import BOARD, build, choose, measurement, registered, variant

from tinydeploy.errors import RegistryError
from tinydeploy.registry.mlflow import MlflowRegistry

HERE = Path(__file__).parent


def test_a_moved_registry_can_be_read_but_not_written(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    registered(registry, tmp_path, "int8")
    registry.select("family", choose(registry, "net-int8"))
    (tmp_path / "elsewhere").mkdir()
    os.rename(registry.folder.folder, tmp_path / "elsewhere" / "mlruns")
    moved = MlflowRegistry(tmp_path / "elsewhere")
    assert moved.resolve(f"family@{BOARD}").path.is_file()
    with pytest.raises(RegistryError, match="belong to") as caught:
        moved.register("family", *variant(tmp_path, seed=3))
    assert "absolute paths" in caught.value.hint


def test_a_damaged_database_is_said_to_be(registry: MlflowRegistry, tmp_path: Path) -> None:
    registry.folder.database.write_bytes(b"no database " * 1000)
    with pytest.raises(RegistryError, match="the database is damaged") as caught:
        registry.register("family", *variant(tmp_path))
    assert (caught.value.exit_code, bool(caught.value.hint)) == (7, True)
    assert registry.folder.database.read_bytes() == b"no database " * 1000


@pytest.mark.parametrize("room", [0, 20_000, 150_000])
def test_files_that_cannot_grow_leave_nothing_half_registered(
    registry: MlflowRegistry, tmp_path: Path, room: int
) -> None:
    """Without room the database cannot be written; with more, the firmware image cannot."""
    model = variant(tmp_path)
    made = build(tmp_path / "b", model[1])
    made.elf.write_bytes(bytes(2_000_000))

    def register_all() -> str:
        version = registry.register("family", *model)
        return registry.record("family", version, made, measurement(made))

    with registry.folder.locked():
        pass  # MLflow is imported before files stop growing
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(RegistryError) as caught:
            register_all()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "full" in caught.value.message or "cannot be written" in caught.value.message
    assert "space" in caught.value.hint
    for version in registry.variants("family") if registry.models() else []:
        assert registry.artifact("family", version.version).sha256 == model[1].sha256
    run_id = register_all()
    view = registry.view("family")
    assert [v.version for v in view.versions] == ["1"]
    assert [r.run_id for r in view.records] == [run_id]
    assert [r.status for r in registry.database.runs("family")] == ["FINISHED"] * 2


# ---------------------------------------------------------------- in processes of their own
def worker(*arguments: str | Path | int, before: tuple[str, ...] = ()) -> Any:
    """The JSON that faults_worker.py prints."""
    command = [*before, sys.executable, str(HERE / "faults_worker.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_killed_anywhere_and_run_again(tmp_path: Path) -> None:
    """15 kills spread over all that register, record and select do."""
    report = worker("kills", tmp_path / "root", tmp_path / "work", 5)
    expected = report["expected"]
    assert expected["versions"] == ["int8"]
    assert expected["records"] == 1
    assert expected["aliases"] == {BOARD: "1"}
    assert len(expected["runs"]) == 2
    killed = 0
    for result in report["results"]:
        for end, seen in zip(result["ends"], result["between"], strict=False):
            killed += end == -9
            # A version that can be seen is whole: `look` has read its model.
            assert seen["versions"] in ([], ["int8"]), result
            assert seen["records"] <= len(seen["versions"]), result
            assert set(seen["aliases"]) <= {BOARD}
            assert (seen["broken"], seen["unfound"]) == ([], []), result
        assert result["ends"][-1] == 0
        assert result["after"] == expected, result
    assert killed >= 5  # the first of each three, and the others if there was work left


def test_a_deployment_killed_anywhere_and_run_again(tmp_path: Path) -> None:
    """`bench/kills.py` does the same at 50 points."""
    report = worker("deploys", tmp_path / "root", tmp_path / "work", 2)
    expected = report["expected"]
    assert (len(expected["versions"]), expected["records"]) == (2, 2)
    assert set(expected["aliases"]) == {"loopback"}
    for result in report["results"]:
        (seen,) = result["between"]
        assert (seen["broken"], seen["unfound"]) == ([], []), result
        assert set(seen["aliases"]) <= {"loopback"}
        assert result["ends"][-1] == 0
        after = result["after"]
        assert (after["broken"], after["orphans"]) == ([], [])
        assert len(after["versions"]) == after["records"] == 2


def test_killed_while_the_database_is_made(tmp_path: Path) -> None:
    report = worker("first", tmp_path / "root", tmp_path / "work")
    assert report["results"] == [[-9, False]] * 2
    assert report["last"] == 0
    assert report["after"]["aliases"] == {BOARD: "1"}
    assert [name for name in report["left"] if "scratch" in name] == []


def test_two_at_once_register_once(registry: MlflowRegistry, tmp_path: Path) -> None:
    report = worker("race", registry.folder.folder.parent, tmp_path / "work", 2)
    assert report["ends"] == [0, 0]
    assert report["after"]["versions"] == ["int8"]
    assert report["after"]["records"] == 1
    assert len(report["after"]["runs"]) == 2


def can_mount() -> bool:
    """True where an unprivileged user may mount a file system in a namespace of their own."""
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.mark.skipif(not can_mount(), reason="needs a file system that may be filled up")
def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=4m none {disk} && exec " + '"$@"'
    report = worker(
        "full", disk / "root", tmp_path / "work", before=("unshare", "-rm", "sh", "-c", mount, "sh")
    )
    assert any("the disk is full" in m for m in report["messages"])
    assert all("full" in m or not m for m in report["messages"])
    assert report["after"]["versions"] == ["int8"]
    assert report["after"]["orphans"] == []
    assert [r for r in report["after"]["runs"] if "FINISHED" not in r] == []
