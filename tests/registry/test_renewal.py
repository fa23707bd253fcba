"""A version that is evaluated anew: what was there holds until all of the new is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from family import build, choose, measurement, variant

from tinydeploy.registry import garbage, integrity
from tinydeploy.registry.mlflow import MlflowRegistry
from tinydeploy.registry.schema import TAG_STATE


def test_a_kill_before_the_switch_leaves_what_was(
    registry: MlflowRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking._model_registry.client import ModelRegistryClient

    source, artifact, evaluation, data = variant(tmp_path)
    registry.register("family", source, artifact, evaluation, data)
    made = build(tmp_path / "b", artifact)
    registry.record("family", "1", made, measurement(made))
    registry.select("family", choose(registry, "net-int8"))
    before = registry.view("family")
    better = dataclasses.replace(evaluation, value=0.875, metrics={"accuracy": 0.875})
    original = ModelRegistryClient.set_model_version_tag

    def killed(self: Any, name: str, version: str, key: str, value: str) -> None:
        if key == TAG_STATE:
            raise KeyboardInterrupt
        original(self, name, version, key, value)

    monkeypatch.setattr(ModelRegistryClient, "set_model_version_tag", killed)
    with pytest.raises(KeyboardInterrupt):
        registry.register("family", source, artifact, better, data)
    assert registry.view("family").versions == before.versions
    assert registry.evaluation("family", "1") == evaluation
    assert all(c.problems == () for c in integrity.verify(registry, "family", "1"))
    found = garbage.find(registry, "family", garbage.Policy())
    assert [g.kind for g in found] == ["evaluation"]
    monkeypatch.undo()
    assert registry.register("family", source, artifact, better, data) == "1"
    assert registry.evaluation("family", "1") == better
    garbage.remove(
        registry, garbage.find(registry, "family", garbage.Policy()), garbage.Policy(), print
    )
    assert garbage.find(registry, "family", garbage.Policy()) == []
    assert registry.evaluation("family", "1") == better
    assert all(c.problems == () for c in integrity.verify(registry, "family", "1"))


def test_only_the_one_that_holds_is_kept(registry: MlflowRegistry, tmp_path: Path) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    registry.register("family", source, artifact, evaluation, data)
    for value in (0.25, 0.5, 1.0):
        new = dataclasses.replace(evaluation, value=value, metrics={"accuracy": value})
        registry.register("family", source, artifact, new, data)
    version = registry.get("family", "1")
    states = registry.folder.run_artifacts("family", version.run_id) / "states"
    assert len(list(states.iterdir())) == 3
    garbage.remove(
        registry, garbage.find(registry, "family", garbage.Policy()), garbage.Policy(), print
    )
    assert [f"states/{p.name}" for p in states.iterdir()] == [version.folder]
    assert registry.artifact("family", "1").sha256 == artifact.sha256
    assert registry.evaluation("family", "1").value == version.value == 1.0


def test_a_changed_evaluation_is_noticed_wherever_it_lies(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    source, artifact, evaluation, data = variant(tmp_path)
    registry.register("family", source, artifact, evaluation, data)
    new = dataclasses.replace(evaluation, value=1.0, metrics={"accuracy": 1.0})
    registry.register("family", source, artifact, new, data)
    path = registry.state_folder(registry.get("family", "1")) / "evaluation.json"
    path.write_text(path.read_text().replace('"correct":', '"correct" :'))
    (problem,) = integrity.verify(registry, "family", "1")[0].problems
    assert problem.file == "evaluation.json"
