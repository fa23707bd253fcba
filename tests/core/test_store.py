"""Writes happen whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinydeploy import store


def test_a_failed_write_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    store.write_atomic(path, "old")
    with pytest.raises(TypeError):
        store.write_atomic(path, 3)  # type: ignore[arg-type]
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_block_keeps_the_old_folder(tmp_path: Path) -> None:
    final = tmp_path / "out"
    with store.staged_directory(final) as scratch:
        (scratch / "f").write_text("1")
    with pytest.raises(RuntimeError), store.staged_directory(final) as scratch:
        (scratch / "f").write_text("2")
        raise RuntimeError
    assert (final / "f").read_text() == "1"
    assert list(tmp_path.iterdir()) == [final]


def test_a_finished_block_replaces_the_folder(tmp_path: Path) -> None:
    final = tmp_path / "out"
    for text in "12":
        with store.staged_directory(final) as scratch:
            (scratch / text).write_text(text)
    assert [p.name for p in final.iterdir()] == ["2"]
    assert list(tmp_path.iterdir()) == [final]


def test_hashes_do_not_depend_on_key_order() -> None:
    assert store.sha256_json({"a": 1, "b": 2}) == store.sha256_json({"b": 2, "a": 1})


def test_tree_hash_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    first = store.sha256_tree(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    second = store.sha256_tree(tmp_path)
    (tmp_path / "b.py").write_text("2")
    assert len({first, second, store.sha256_tree(tmp_path)}) == 3
