"""The outbox on disk: entries come and go whole, whoever is killed or reads meanwhile."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tinydeploy.errors import RegistryError
from tinydeploy.registry import outbox as module
from tinydeploy.registry.outbox import Entry, Outbox


@pytest.fixture
def outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outbox:
    """Two entries with a file each."""
    monkeypatch.setenv("TINYDEPLOY_STATE", str(tmp_path))
    made = Outbox("http://nowhere.invalid")
    file = tmp_path / "model"
    file.write_bytes(b"m")
    for name in ("first", "second"):
        made.keep("register", name, {}, {"model.tflite": file})
    return made


def test_a_removal_that_is_killed_leaves_no_half_entry(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(folder: Path, **_: Any) -> None:
        next(folder.rglob("entry.json")).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            outbox.remove(outbox.entries()[0])
    assert [e.model for e in outbox.entries()] == ["second"]
    (left,) = outbox.folder.glob(".[0-9]*")
    with outbox.delivering():
        assert left.exists()  # its process still runs
    os.utime(left, (0, 0))
    with outbox.delivering():
        assert not left.exists()


def test_an_entry_that_is_delivered_meanwhile_is_not_damaged(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = module._read

    def slow(folder: Path) -> Entry:
        if folder == first:
            shutil.rmtree(folder)
        return read(folder)

    first = outbox.entries()[0].folder
    monkeypatch.setattr(module, "_read", slow)
    assert [e.model for e in outbox.entries()] == ["second"]
    (outbox.entries()[0].folder / "entry.json").write_text("{")
    with pytest.raises(RegistryError, match="cannot be read"):
        outbox.entries()
