"""`tinydeploy update` end to end: the firmware as a process that is killed, and in QEMU."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinydeploy.cli.main import run
from tinydeploy.cli.updating import CONTENTS
from tinydeploy.devices import delta, protocol, updating
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.loopback import FLASH_FILE, LoopbackRunner
from tinydeploy.devices.platformio import load_build
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.store import sha256_bytes
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build

MODELS = Path(__file__).resolve().parents[1] / "models"
SMALL = MODELS / "dscnn_int8.tflite"
RECORD_BYTES = 32
PAGE_BYTES = 4096


def retrained(model: Path, out: Path, *, share: float, seed: int = 1, step: int = 1) -> Path:
    """`model` with a share of its int8 weights moved by up to `step`, written to `out`."""
    data = bytearray(model.read_bytes())
    rng = np.random.default_rng(seed)
    for tensor in read_graph(bytes(data)).tensors:
        if tensor.data is None or tensor.dtype != "int8" or tensor.data.size < 8:
            continue
        values = tensor.data.reshape(-1)
        at = data.find(values.tobytes())
        assert at >= 0
        chosen = rng.random(values.size) < share
        moved = values.astype(np.int64) + chosen * rng.integers(-step, step + 1, values.size)
        new = np.clip(moved, -127, 127).astype(np.int8)
        data[at : at + values.size] = new.tobytes()
    out.write_bytes(data)
    return out


def build(model: Path, board: str, out: Path) -> Build:
    assert run(["build", str(model), "--device", board, "--updatable", "--out", str(out)]) == 0
    return load_build(out)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("update")


@pytest.fixture(scope="module")
def new_model(folder: Path) -> Path:
    return retrained(SMALL, folder / "dscnn_int8.tflite", share=0.02)


@pytest.fixture(scope="module")
def old(folder: Path) -> Build:
    return build(SMALL, "loopback", folder / "old")


@pytest.fixture(scope="module")
def new(folder: Path, new_model: Path) -> Build:
    return build(new_model, "loopback", folder / "new")


@pytest.fixture
def board(old: Build, tmp_path: Path) -> Path:
    """The folder of a board that was just flashed with the old build."""
    shutil.copytree(old.directory, tmp_path / "board")
    return tmp_path / "board"


def what_runs(board: Path) -> tuple[str, updating.BoardState]:
    """The build_id and the state after a restart."""
    runner = LoopbackRunner()
    with runner.session(load_build(board), find("loopback")) as session:
        return session.identify().build_id, updating.state(session)


def update(board: Path, target: Path, *options: str) -> int:
    return run(["update", str(board), "--to", str(target), *options])


def code_of(build: Build) -> bytes:
    """All of a firmware that is loaded, but for the model's content."""
    elf = Elf(build.elf)
    text = next(s for s in elf.sections if s.name == ".text")
    return elf.read(text.address, text.size)


def test_two_versions_of_a_graph_share_their_code_and_layout(old: Build, new: Build) -> None:
    assert old.layout == new.layout
    assert old.build_id != new.build_id
    assert code_of(old) == code_of(new)
    a, b = updating.content_of(old), updating.content_of(new)
    assert len(a) == len(b)
    assert a != b


def test_update_sends_little_and_stays(
    board: Path, old: Build, new: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(board, new.directory, "--dry-run", "--json") == 0
    planned = json.loads(capsys.readouterr().out)
    assert what_runs(board)[0] == old.build_id
    assert update(board, new.directory, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["delta_bytes"] == planned["delta_bytes"] < done["content_bytes"] / 5
    assert done["content_sha256"] == sha256_bytes(updating.content_of(new))
    assert done["base_sha256"] == sha256_bytes(updating.content_of(old))
    assert done["outputs_equal"] == done["outputs_compared"] == 3
    assert what_runs(board)[0] == new.build_id
    state = what_runs(board)[1]
    assert (state.slot, state.sha256) == ("a", done["content_sha256"])
    assert update(board, new.directory, "--json") == 0  # nothing to do
    assert json.loads(capsys.readouterr().out)["delta_bytes"] == 0
    assert update(board, old.directory, "--json") == 0  # and back
    back = json.loads(capsys.readouterr().out)
    assert back["slot"] == "b"
    assert back["known_base"]
    assert what_runs(board)[0] == old.build_id


def test_content_that_the_host_does_not_know_is_replaced_as_a_whole(
    board: Path, old: Build, new: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(board, new.directory) == 0
    shutil.rmtree(board / CONTENTS)
    capsys.readouterr()
    assert update(board, old.directory, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert not done["known_base"]
    assert done["content_bytes"] < done["delta_bytes"] < done["content_bytes"] + 8
    assert what_runs(board)[0] == old.build_id


def test_tflite_is_built_for_the_board(board: Path, new_model: Path, tmp_path: Path) -> None:
    assert update(board, new_model, "--out", str(tmp_path / "next")) == 0
    assert what_runs(board)[0] == load_build(tmp_path / "next").build_id


def test_other_graph_is_refused_and_nothing_is_sent(
    board: Path, old: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(board, MODELS / "conv1d_int8.tflite") == 2
    assert "another graph" in capsys.readouterr().err
    assert what_runs(board)[0] == old.build_id
    assert what_runs(board)[1].slot == "factory"


def test_ordinary_firmware_is_refused(
    new: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = tmp_path / "plain"
    assert run(["build", str(SMALL), "--device", "loopback", "--out", str(plain)]) == 0
    assert update(plain, new.directory) == 2
    assert "updatable" in capsys.readouterr().err
    symbols = Elf(load_build(plain).elf).symbols()
    only_here = ("td_update", "td_delta", "td_do_", "td_sha256")
    assert not [name for name in symbols if name.startswith(only_here)]


@pytest.mark.parametrize("board_name", ["qemu-cortex-m0", "nucleo-f446re"])
def test_board_without_writable_flash_is_refused(
    board_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "build")
    assert run(["build", str(SMALL), "--device", board_name, "--updatable", "--out", out]) == 2
    assert "does not write flash" in capsys.readouterr().err


def test_unsigned_model_is_refused_where_signatures_are_required(
    board: Path, old: Build, new: Build, new_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert update(board, new_model, "--require-signature") == 2
    assert update(board, new.directory, "--require-signature") != 0
    assert "sign" in capsys.readouterr().err
    assert what_runs(board)[0] == old.build_id


def test_model_that_fails_its_proof_is_taken_back(board: Path, old: Build, new: Build) -> None:
    def doubt() -> None:
        raise DeviceError("outputs differ")

    runner = LoopbackRunner()
    with (
        runner.session(load_build(board), find("loopback")) as session,
        pytest.raises(DeviceError, match="outputs differ"),
    ):
        updating.update(session, new, {}, doubt)
    build_id, state = what_runs(board)
    assert build_id == old.build_id
    assert state.slot == "factory"


def test_content_with_another_hash_than_announced_is_refused_over_the_line(
    board: Path, old: Build, new: Build
) -> None:
    """Right layout, base and CRC: only the SHA-256 tells that it is not what was meant."""
    content = updating.content_of(new)
    before, crc = (f"{protocol.crc32(c):08x}" for c in (updating.content_of(old), content))
    sha256 = sha256_bytes(content)
    wrong = f"{int(sha256[0], 16) ^ 1:x}{sha256[1:]}"
    announced = ("stage", new.layout[:8], before, crc)
    with LoopbackRunner().session(load_build(board), find("loopback")) as session:
        for missing in (announced, (*announced, sha256[1:]), (*announced, "g" + sha256[1:])):
            assert session.ask(*missing, refusals=True).name == "syntax"
        session.ask(*announced, wrong)
        change, at = delta.encode(updating.content_of(old), content), 0
        while at < len(change):
            part = protocol.fitting(change[at : at + 900], 900)
            at = session.ask("patch", at, part).number("at")
        assert session.ask("commit", crc, refusals=True).name == "content"
        assert session.ask("commit", crc, refusals=True).name == "input"
    assert what_runs(board)[0] == old.build_id
    assert update(board, new.directory) == 0
    assert what_runs(board)[1].sha256 == sha256


def test_firmware_that_checks_by_crc_only_is_refused(
    board: Path, new: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The protocol before: its `id` says so, all else is the board's own."""
    with LoopbackRunner().session(load_build(board), find("loopback")) as session:
        earlier = replace(session.identify(), protocol=2)
        monkeypatch.setattr(session, "identify", lambda: earlier)
        with pytest.raises(UsageError, match=r"protocol 2.* by CRC-32 only") as refusal:
            updating.update(session, new, {}, lambda: None)
    assert "build --updatable" in (refusal.value.hint or "")


def test_killed_at_any_byte_the_board_runs_a_whole_model(
    board: Path, old: Build, new: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL inside the flash driver: while erasing, writing, and at every place of the records
    that switch, start the trial and confirm."""
    content = updating.content_of(new)
    hashes = {
        old.build_id: sha256_bytes(updating.content_of(old)),
        new.build_id: sha256_bytes(content),
    }
    written = -(-len(content) // RECORD_BYTES) * RECORD_BYTES
    records = PAGE_BYTES + written
    cuts = [0, 1, 2000, PAGE_BYTES, PAGE_BYTES + 1, PAGE_BYTES + 1000, records - 1]
    cuts += [records + n for n in (0, 1, 31, 32, 33, 63, 64, 65, 95, 96)]
    ran = []
    for cut in cuts:
        (board / FLASH_FILE).unlink(missing_ok=True)
        monkeypatch.setenv("TD_NATIVE_CUT", str(cut))
        assert update(board, new.directory) == (0 if cut == records + 96 else 6)
        monkeypatch.delenv("TD_NATIVE_CUT")
        build_id, state = what_runs(board)
        assert state.sha256 == hashes[build_id]
        ran.append((build_id, what_runs(board)[0]))
        assert update(board, new.directory) == 0
        assert what_runs(board)[0] == new.build_id
    before_the_switch = [pair for cut, pair in zip(cuts, ran, strict=True) if cut < records + 32]
    assert set(before_the_switch) == {(old.build_id, old.build_id)}
    # Committed, not tried yet: the start after the cut is the trial, the next one goes back.
    assert ran[cuts.index(records + 32)] == (new.build_id, old.build_id)
    assert ran[cuts.index(records + 64)] == (old.build_id, old.build_id)
    assert ran[cuts.index(records + 96)] == (new.build_id, new.build_id)


def test_update_in_qemu(folder: Path, new_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Armv7E-M code, its own layout of structs; RAM stands in for the flash there."""
    build(SMALL, "qemu-cortex-m4", folder / "m4")
    capsys.readouterr()
    assert update(folder / "m4", new_model, "--json") == 0
    done = json.loads(capsys.readouterr().out)
    assert done["outputs_equal"] == 3
    assert done["base_sha256"] == sha256_bytes(updating.content_of(load_build(folder / "m4")))
    assert done["delta_bytes"] < done["content_bytes"] / 5
