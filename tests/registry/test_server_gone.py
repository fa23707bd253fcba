"""The server goes before or in the middle of a command: what is said, and what a repeat does."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from family import BOARD, choose, registered
from line import Line, line
from mlflow.deployments import get_deploy_client
from projects import project
from servers import Server, postgres_programs

from tinydeploy.cli.main import run
from tinydeploy.errors import UnreachableError
from tinydeploy.registry import history
from tinydeploy.registry.facts import QueueingLifecycle
from tinydeploy.registry.lifecycle import Lifecycle
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.outbox import Outbox
from tinydeploy.registry.queueing import QueueingRegistry

pytestmark = pytest.mark.skipif(postgres_programs() is None, reason="needs PostgreSQL")


@pytest.fixture
def cuttable(
    url: str, shared_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Line]:
    """A line to the server; two variants there, chosen one after the other: 2 is the champion."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    registry = MlflowRegistry(url)
    registered(registry, tmp_path, "float32", "int8")
    for name in ("net-float32", "net-int8"):
        registry.select("family", choose(registry, name))
    with line(shared_server.port) as made:
        yield made


def state(url: str) -> Any:
    """All that a decision changes."""
    view = MlflowRegistry(url).view("family")
    return (
        view.aliases,
        view.pins,
        {v.version: (v.selected.keys(), view.of(v, BOARD)[0].selection) for v in view.versions},
    )


def events(url: str) -> list[str]:
    found = Lifecycle(MlflowRegistry(url)).history("family", BOARD)
    return [f"{e.what} {e.version}" for e in found]


@pytest.mark.parametrize(
    ("answered", "first", "step"), [(True, 4, 1), (False, 3, 3)], ids=["answer", "request"]
)
def test_a_rollback_is_cut_at_each_moment_and_repeated(
    url: str, cuttable: Line, answered: bool, first: int, step: int, capsys: Any
) -> None:
    """The command that the hint names leads to the same state each time, never further back."""
    at = ["family", "--device", BOARD, "--registry"]
    assert run(["rollback", *at, url]) == 0
    wanted, point, repeated = state(url), first, 0
    assert wanted[0] == wanted[1] == {BOARD: "1"}
    while True:
        assert run(["promote", *at, url, "--version", "2"]) == 0
        before = len(events(url))
        capsys.readouterr()
        cuttable.cut(point, answered=answered)
        code = run(["rollback", *at, cuttable.url])
        cut = cuttable.is_cut
        cuttable.mend()
        said = capsys.readouterr().err
        assert code == 7 or code == 0
        if code:
            assert "does not answer" in said
            assert ("; changed before: " in said) is (point > 1)
            assert "; no answer to (it may be done): " in said
            assert "`tinydeploy flash BUNDLE`" in said
            again = re.search("`(tinydeploy rollback [^`]*)`", said)
            assert again, said
            words = shlex.split(again[1])[1:]
            assert words == ["rollback", *at[:-1], "--version", "1"]
            if not answered:
                words = words[:-2]  # only a request was lost: the plain command does as well
            assert run([*words, "--registry", url]) == 0
            repeated += 1
        assert state(url) == wanted
        assert events(url)[before:] == ["rolled back 1"]
        if not cut:
            break
        point += step
    assert repeated >= 2


def test_a_promotion_is_cut_at_each_moment_and_repeated(
    url: str, cuttable: Line, capsys: Any
) -> None:
    at = ["family", "--device", BOARD]
    point = 6
    while True:
        assert run(["pin", *at, "--version", "1", "--registry", url]) == 0
        with MlflowRegistry(url).place.locked() as client:
            client.set_registered_model_alias("family", f"{BOARD}-challenger", "2")
        before = len(events(url))
        code, cut = cut_at(cuttable, point, ["promote", *at], url, capsys)
        assert code == 0
        assert state(url)[:2] == ({BOARD: "2"}, {BOARD: "2"})
        assert events(url)[before:] == ["promoted 2"]
        if not cut:
            break
        point += 1
    assert point > 7


def test_pinning_and_unpinning_are_cut_and_repeated(url: str, cuttable: Line, capsys: Any) -> None:
    at = ["family", "--device", BOARD]
    assert cut_at(cuttable, 2, ["pin", *at], url, capsys) == (0, True)
    assert state(url)[1] == {BOARD: "2"}
    assert cut_at(cuttable, 1, ["unpin", *at], url, capsys) == (0, True)
    assert state(url)[1] == {}
    assert events(url)[-2:] == ["pinned 2", "unpinned 2"]
    assert run(["pin", *at, "--registry", url]) == 0
    # All was done, and only the answer was lost: a repeat says so.
    assert cut_at(cuttable, 2, ["unpin", *at], url, capsys) == (7, True)
    assert "is not pinned" in capsys.readouterr().err
    assert state(url)[0] == {BOARD: "2"}


def cut_at(line: Line, point: int, words: list[str], url: str, capsys: Any) -> tuple[int, bool]:
    """A command whose answer to a request is lost, then what its hint says: exit code, was it."""
    capsys.readouterr()
    line.cut(point, answered=True)
    code = run([*words, "--registry", line.url])
    cut = line.is_cut
    line.mend()
    if code == 0:
        return code, cut
    again = re.search("`tinydeploy ([^`]*)`", capsys.readouterr().err)
    assert again and code == 7
    return run([*shlex.split(again[1]), "--registry", url]), cut


def test_a_server_that_is_stopped(
    url: str, shared_server: Server, tmp_path: Path, root: Path, capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Decisions change nothing and say so; what happened meanwhile is told when it is back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
    config = project(tmp_path, root, f'registry = "{url}"')
    assert run(["deploy", "--config", str(config)]) == 0
    assert run(["export", "net@loopback", "-o", "net.zip"]) == 0
    assert run(["flash", "net@loopback"]) == 0  # an artifact store keeps no permissions
    target = get_deploy_client("tinydeploy:/loopback")
    for name in ("one", "two"):
        target.create_deployment(name, "models:/net@loopback", config={"registry": url})
    at = ["net", "--device", "loopback"]
    shared_server.stop()
    try:
        for words in (
            ["promote", *at],
            ["pin", *at],
            ["unpin", *at],
            ["rollback", *at, "--note", "resets"],
            ["gc", "--delete"],
            ["import", "net.zip"],
        ):
            capsys.readouterr()
            assert run(words) == 7, words
            said = capsys.readouterr().err
            assert f"{url} does not answer" in said and "; nothing was changed" in said, words
            assert "run it again" in said or f"`tinydeploy {words[0]} net" in said, words
        # What this machine has needs no server: the board gets it, and the record waits.
        before = history.now()
        capsys.readouterr()
        assert run(["flash", "net.zip", "--name", "net", "--note", "by hand"]) == 7
        answer = capsys.readouterr()
        assert "loopback runs build" in answer.out
        assert "`tinydeploy sync` delivers them" in answer.err
        target.delete_deployment("two")
        assert "wait in" in capsys.readouterr().err
        after = history.now()
        waiting = [e.call for e in Outbox(url).entries()]
        assert waiting == ["flashed", "undeployed"]
    finally:
        shared_server.start()
    assert run(["sync", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["overtaken"] == []
    last = Lifecycle(MlflowRegistry(url)).history("net", "loopback")[-1]
    assert (last.what, last.version, last.note) == ("flashed", "1", "by hand")
    assert before < last.at < after and last.run_id
    assert MlflowRegistry(url).view("net").versions[0].deployments == ("one",)
    assert run(["pin", *at]) == 0


def test_a_choice_that_waited_is_not_carried_out_over_a_newer_one(
    url: str, tmp_path: Path, capsys: Any
) -> None:
    registry = MlflowRegistry(url)
    registered(registry, tmp_path, "float32", "int8", "int16x8")
    registry.select("family", choose(registry, "net-float32"))
    gone = QueueingRegistry(url)
    gone.unreachable = UnreachableError("as if it were gone")
    for name in ("net-int16x8", "net-int8"):  # two that waited: the later one holds
        gone.select("family", choose(registry, name))
    assert run(["sync", "--json"]) == 0
    assert registry.view("family").aliases == {BOARD: "2"}
    gone.select("family", choose(registry, "net-float32"))
    kept = gone.outbox.entries()[0].made
    Lifecycle(registry).promote("family", BOARD, "3", note="meanwhile")
    capsys.readouterr()
    assert run(["sync"]) == 0
    said = capsys.readouterr().out
    assert f"of {kept[:19]}Z is not carried out" in said and "version 3 was promoted" in said
    assert registry.view("family").aliases == {BOARD: "3"}
    assert events(url) == ["selected 1", "selected 3", "selected 2", "promoted 3"]
    assert gone.outbox.entries() == []


def test_what_happened_is_told_once(url: str, tmp_path: Path) -> None:
    """The answer was lost, or a delivery was cut off: it is not in the history twice."""
    registry = MlflowRegistry(url)
    registered(registry, tmp_path, "int8")
    sha256 = registry.view("family").versions[0].model_sha256
    gone = QueueingLifecycle(QueueingRegistry(url))
    gone.queue.unreachable = UnreachableError("as if it were gone")
    assert gone.flashed("family", BOARD, sha256, "", "bench") == "pending"
    (entry,) = gone.queue.outbox.entries()
    fresh = QueueingRegistry(url)
    fresh._send(entry)
    fresh.send_first()
    assert fresh.outbox.entries() == []
    assert events(url) == ["flashed 1"]
