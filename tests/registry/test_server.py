"""The registry on an MLflow server with PostgreSQL and a proxied artifact store."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from caches import own_cache_at
from family import BOARD, build, choose, measurement, registered, variant
from projects import project
from servers import Server, postgres_programs

from tinydeploy.cli.main import run
from tinydeploy.config import default_registry
from tinydeploy.errors import RegistryError, UnreachableError
from tinydeploy.registry import garbage
from tinydeploy.registry.choice import Changes
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.outbox import Outbox, outboxes
from tinydeploy.registry.queueing import QueueingRegistry
from tinydeploy.registry.view import View
from tinydeploy.store import sha256_file

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(postgres_programs() is None, reason="needs PostgreSQL")


def comparable(view: View) -> Any:
    """A view without the ids, which differ between two registries."""
    runs = {r.run_id: f"{r.board} {r.engine}" for r in view.records}
    return dataclasses.replace(
        view,
        versions=tuple(
            dataclasses.replace(
                v,
                run_id="",
                manifest_sha256="",  # of files that name the run
                selected={b: runs.get(r, "?") for b, r in v.selected.items()},
            )
            for v in view.versions
        ),
        records=tuple(
            sorted(
                (dataclasses.replace(r, run_id="", parent_run_id="") for r in view.records),
                key=lambda r: (r.board, r.build_id),
            )
        ),
    )


def fill(registry: MlflowRegistry, folder: Path) -> None:
    """Two variants on a board, one chosen."""
    registered(registry, folder, "float32", "int8")
    registry.select("family", choose(registry, "net-int8"))


# ---------------------------------------------------------------- the same as in a folder
def test_a_server_holds_what_a_folder_holds(
    url: str, registry: MlflowRegistry, tmp_path: Path, shared_server: Server
) -> None:
    remote = QueueingRegistry(url)
    for one in (registry, remote):
        fill(one, tmp_path / "work")
        fill(one, tmp_path / "work")
    assert comparable(remote.view("family")) == comparable(registry.view("family"))
    assert remote.selection("family", BOARD) is not None
    artifact = remote.resolve(f"models:/family@{BOARD}")
    assert artifact.path.read_bytes() == registry.resolve(f"family@{BOARD}").path.read_bytes()
    assert remote.evaluation("family", "2") == registry.evaluation("family", "2")
    stored = list((shared_server.folder / "artifacts").rglob("model.tflite"))
    assert artifact.sha256 in {remote.get("family", "2").model_sha256} and stored


def test_evaluated_anew_replaces_what_was_fetched(url: str, tmp_path: Path) -> None:
    remote = QueueingRegistry(url)
    source, artifact, evaluation, data = variant(tmp_path)
    version = remote.register("family", source, artifact, evaluation, data)
    assert remote.evaluation("family", version) == evaluation
    better = dataclasses.replace(evaluation, value=1.0, metrics={"accuracy": 1.0})
    assert remote.register("family", source, artifact, better, data) == version
    assert remote.evaluation("family", version) == better


def test_artifacts_of_deleted_runs_are_removed(
    url: str, tmp_path: Path, shared_server: Server
) -> None:
    remote = QueueingRegistry(url)
    source, artifact, evaluation, data = variant(tmp_path)
    version = remote.register("given-up", source, artifact, evaluation, data)
    run_id = remote.get("given-up", version).run_id
    with remote.place.locked() as client:
        client.delete_model_version("given-up", version)
        client.delete_run(run_id)
    policy = garbage.Policy(hours=0)
    found = garbage.find(remote, "given-up", policy)
    assert [(g.kind, g.id) for g in found] == [("artifacts", run_id)]
    assert list((shared_server.folder / "artifacts").rglob(run_id))
    garbage.remove(remote, found, policy, lambda _: None)
    assert garbage.find(remote, "given-up", policy) == []
    assert not list((shared_server.folder / "artifacts").rglob(run_id))


def test_what_is_made_while_it_is_looked_for_stays(url: str, tmp_path: Path) -> None:
    """The artifacts of a run that another process makes just then are not those of none."""
    remote, other = QueueingRegistry(url), QueueingRegistry(url)
    other.register("meanwhile", *variant(tmp_path, seed=0))
    look = remote.place.artifact_folders

    def made_before(experiment: str) -> list[str]:
        other.register("meanwhile", *variant(tmp_path, seed=1))
        return look(experiment)

    remote.place.artifact_folders = made_before  # type: ignore[method-assign]
    assert garbage.find(remote, "meanwhile", garbage.Policy(keep=2, hours=0)) == []
    with other.place.locked() as client:  # a version of another model
        run_id = other.get("meanwhile", "1").run_id
        client.create_registered_model("theirs")
        source = f"{client.get_run(run_id).info.artifact_uri}/model"
        client.create_model_version("theirs", source, run_id)
        assert remote.database.registered_elsewhere("meanwhile", {run_id, "0" * 32}) == {run_id}
        assert remote.database.registered_elsewhere("theirs", {"0" * 32}) == set()


def test_deploy_and_select_by_command(
    url: str, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    config = project(tmp_path, root, f'registry = "{url}"')
    assert run(["deploy", "--config", str(config), "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["selections"][0]["chosen"]
    assert run(["deploy", "--config", str(config)]) == 0
    assert f"tinydeploy ui --registry {url}" in capsys.readouterr().out
    assert not (tmp_path / "mlruns").exists()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.chdir(tmp_path)
    assert run(["select", "net", "--device", "loopback", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["chosen"]
    assert again["version"] == chosen["version"] == "1"


def test_releasing_by_command(
    url: str, tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Verify, sign, export, import, report and gate, with the server as the only registry."""
    config = project(tmp_path, root, f'registry = "{url}"')
    assert run(["deploy", "--config", str(config)]) == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(own_cache_at(tmp_path / "another machine")))
    model = str(root / "tests/models/dscnn_int8.tflite")

    def said(*words: str, code: int = 0) -> str:
        assert run(list(words)) == code, words
        return str(capsys.readouterr().out)

    said("keys", "new", "ours")
    said("keys", "trust", "ours.pub.pem")
    said("verify", "net@loopback", "--require-signature", code=7)
    said("sign", "net@loopback", "--key", "ours.pem")
    said("verify", "net@loopback", "--require-signature")
    said("export", "net@loopback", "--key", "ours.pem", "-o", "net.zip")
    said("verify", "net.zip", "--require-signature")
    said("import", "net.zip", "--registry", str(tmp_path / "folder"), "--require-signature")
    said("verify", "net/1", "--registry", str(tmp_path / "folder"))
    said("import", "net.zip", "--name", "copy", "--require-signature")
    said("verify", "copy@loopback", "--require-signature")
    said("report", "net", "-o", "net.html")
    assert "dscnn_int8-as-is" in (tmp_path / "net.html").read_text()
    limits = ("--device", "loopback", "--name", "net")
    assert "loopback" in said("gate", model, *limits, "--max-flash", "+0%")
    said("gate", model, *limits, "--max-flash", "10000", code=8)
    assert not (tmp_path / "mlruns").exists()


def test_another_machine_selects_by_the_samples(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """All that a paired test needs comes from the server: the other machine has nothing."""
    first = MlflowRegistry(url)
    right = {"float32": 1900, "int8": 1899, "int4": 1860}  # of 2,000 samples
    for seed, (recipe, count) in enumerate(right.items()):
        source, artifact, evaluation, data = variant(tmp_path / "here", recipe=recipe, seed=seed)
        artifact.path.write_bytes(artifact.path.read_bytes() + bytes(12 - 4 * seed))
        sha256 = sha256_file(artifact.path)
        size = artifact.path.stat().st_size
        artifact = dataclasses.replace(artifact, sha256=sha256, size_bytes=size)
        evaluation = dataclasses.replace(
            evaluation, model_sha256=sha256, value=count / 2000, samples=2000,
            metrics={"accuracy": count / 2000}, correct=(1,) * count + (0,) * (2000 - count),
        )  # fmt: skip
        version = first.register("family", source, artifact, evaluation, data)
        made = build(tmp_path / "here" / recipe, artifact)
        first.record("family", version, made, measurement(made))
    shutil.rmtree(tmp_path / "here")
    monkeypatch.setenv("TINYDEPLOY_CACHE", str(tmp_path / "there"))
    monkeypatch.setenv("TINYDEPLOY_STATE", str(tmp_path / "there" / "state"))
    monkeypatch.chdir(tmp_path)
    arguments = ["select", "family", "--device", BOARD, "--registry", url, "--json"]
    assert run([*arguments, "--max-loss", "0.01", "--confidence", "0.95"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"]["name"] == "net-int8"
    assert found["evidence"]["net-int8"]["proof"] == "sufficient"
    assert found["evidence"]["net-int8"]["lost"] == 1
    assert found["evidence"]["net-int4"]["proof"] == "inferior"
    assert "above 0.01" in found["reasons"]["net-int4"]
    assert MlflowRegistry(url).view("family").aliases == {BOARD: found["chosen"]["version"]}


def test_only_a_servers_tracking_uri_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    for uri, place in (("sqlite:///x.db", Path("a")), ("http://b:5000", "http://b:5000")):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert default_registry(Path("a")) == place


# ---------------------------------------------------------------- many at once
def worker(*arguments: str | Path | int) -> Any:
    command = [sys.executable, str(HERE / "faults_worker.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_eight_at_once_register_one_variant_once(url: str, tmp_path: Path) -> None:
    report = worker("race", url, tmp_path / "work", 8)
    assert report["ends"] == [0] * 8
    after = report["after"]
    assert after["versions"] == ["int8"]
    assert after["records"] == 1
    assert len(after["runs"]) == 2 and all("FINISHED" in r for r in after["runs"])
    (version,) = after["aliases"].values()
    view = MlflowRegistry(url).view("family")
    assert view.versions[0].version == version
    assert view.versions[0].selected == {BOARD: view.records[0].run_id}
    assert view.records[0].selection == "selected"


def test_eight_at_once_lose_nothing(url: str, tmp_path: Path) -> None:
    report = worker("crowd", url, tmp_path / "work", 8)
    assert report["ends"] == [0] * 8
    after = report["after"]
    assert sorted(after["versions"]) == [f"int8-{i}" for i in range(1, 9)]
    assert after["records"] == 8
    assert len(after["runs"]) == 16 and all("FINISHED" in r for r in after["runs"])


def test_who_moves_a_board_at_once_leaves_one_choice(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = QueueingRegistry(url), QueueingRegistry(url)
    registered(mine, tmp_path, "float32", "int8", "int16x8")
    mine.select("family", choose(mine, "net-float32"))
    point = Changes.point

    def later(self: Changes, writer: Any) -> None:
        monkeypatch.setattr(Changes, "point", point)
        Lifecycle(other).pin("family", BOARD, "3")
        point(self, writer)

    monkeypatch.setattr(Changes, "point", later)
    Lifecycle(mine).promote("family", BOARD, "2")
    view = other.view("family")
    assert (view.aliases, view.pins) == ({BOARD: "2"}, {BOARD: "2"})
    assert [v.version for v in view.versions if BOARD in v.selected] == ["2"]
    assert [r.selection for r in view.records].count("selected") == 1


def test_who_evaluates_one_version_at_once_mixes_nothing(url: str, tmp_path: Path) -> None:
    """One of the evaluations holds, as a whole: files, tags, metrics of all its runs."""
    report = worker("renew", url, tmp_path / "work", 2)
    assert report["ends"] == [0, 0]
    assert report["value"] == report["evaluation"][0] == report["evaluation"][1]
    assert report["value"] in (0.07, 0.08)  # the last of one of the two
    assert report["tags"] == report["holds"]
    assert report["metrics"] == [["board", report["value"]], ["variant", report["value"]]]
    assert report["f1"] == [report["expected_f1"]]
    assert report["after"]["broken"] == []
    # The artifacts are those of runs that the tests before deleted.
    assert set(report["left"]) <= {"evaluation", "artifacts"}
    assert report["left"].count("evaluation") == 7
    assert report["still_left"] == []


# ---------------------------------------------------------------- the server goes
def test_a_server_that_is_gone_gets_it_later(
    url: str, shared_server: Server, tmp_path: Path, root: Path, capsys: Any
) -> None:
    remote = QueueingRegistry(url)
    _, artifact, *_ = model = variant(tmp_path / "work")
    version = remote.register("family", *model)
    made = build(tmp_path / "work" / "b", artifact)
    other = variant(tmp_path / "work", recipe="int16x8", seed=4)
    shared_server.stop()
    try:
        # In the middle: the version is there, its run on a board and another variant wait.
        assert remote.record("family", version, made, measurement(made)) == "pending"
        assert remote.register("family", *other) == "pending-int16x8"
        late = build(tmp_path / "work" / "c", other[1])
        assert remote.record("family", "pending-int16x8", late, measurement(late)) == "pending"
        with pytest.raises(UnreachableError, match=r"does not answer: .*refused") as caught:
            remote.require_delivered()
        assert "`tinydeploy sync` delivers" in caught.value.hint
        with pytest.raises(UnreachableError):
            remote.view("family")
        # A whole deployment ends with its table, and the news that it waits.
        config = project(tmp_path / "late", root, f'registry = "{url}"')
        assert run(["deploy", "--config", str(config), "--json"]) == 7
        answer = capsys.readouterr()
        assert json.loads(answer.out)["selections"][0]["chosen"]["version"] == "pending-as-is"
        assert "6 results wait" in answer.err
        assert run(["sync"]) == 7
        assert len(Outbox(url).entries()) == 6
    finally:
        shared_server.start()
    shutil.rmtree(tmp_path / "work")
    capsys.readouterr()
    assert run(["sync", "--dry-run", "--json"]) == 0
    (waiting,) = json.loads(capsys.readouterr().out)
    assert waiting["waiting"][:3] == ["record family", "register family", "record family"]
    assert run(["sync"]) == 0
    assert outboxes() == []
    view = MlflowRegistry(url).view("family")
    assert [v.recipe for v in view.versions] == ["int8", "int16x8"]
    assert len(view.records) == 2
    net = MlflowRegistry(url).view("net")
    assert net.aliases == {"loopback": "1"}
    assert net.versions[0].selected == {"loopback": net.records[0].run_id}
    assert run(["sync"]) == 0
    assert "nothing waits" in capsys.readouterr().out


def test_a_delivery_that_is_cut_off_goes_on(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = QueueingRegistry(url)
    queue.unreachable = UnreachableError("as if it were gone")
    _, artifact, *_ = model = variant(tmp_path)
    made = build(tmp_path / "b", artifact)
    for _ in range(2):
        version = queue.register("family", *model)
        queue.record("family", version, made, measurement(made))
    again = QueueingRegistry(url)
    send = again._send

    def cut_off(entry: Any) -> None:
        send(entry)
        raise KeyboardInterrupt  # delivered, but not yet taken out of the outbox

    monkeypatch.setattr(again, "_send", cut_off)
    with pytest.raises(KeyboardInterrupt):
        again.deliver()
    assert len(again.outbox.entries()) == 4
    # What waits goes before what is new.
    fresh = QueueingRegistry(url)
    assert fresh.register("family", *variant(tmp_path, recipe="int16x8", seed=2)) == "2"
    assert fresh.outbox.entries() == []
    assert [v.recipe for v in fresh.view("family").versions] == ["int8", "int16x8"]
    assert len(fresh.view("family").records) == 1


def test_a_server_that_comes_back_in_time_is_waited_for(
    url: str, shared_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "10")
    model = variant(tmp_path)
    shared_server.stop()
    back = threading.Thread(target=lambda: (time.sleep(1), shared_server.start()))
    back.start()
    try:
        remote = QueueingRegistry(url)
        assert remote.register("family", *model) == "1"
        assert remote.outbox.entries() == []
    finally:
        back.join()


def test_what_is_no_mlflow_server(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught:
        MlflowRegistry("http://127.0.0.1:1").models()
    assert isinstance(caught.value, UnreachableError)
    assert "127.0.0.1:1" in caught.value.message
    with pytest.raises(RegistryError, match="not a folder"):
        MlflowRegistry("http://127.0.0.1:1").folder  # noqa: B018
