"""One program at a time on a port, also when the owner is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tinydeploy.devices import lock
from tinydeploy.devices.lock import PortInUseError, held
from tinydeploy.errors import LinkError

PORT = "socket://127.0.0.1:7"
OWNER = f"""
import sys, time
from tinydeploy.devices.lock import held
with held({PORT!r}):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))


def test_a_second_user_is_told_who_the_first_is() -> None:
    with held(PORT), pytest.raises(PortInUseError) as caught, held(PORT):
        pass
    assert f"in use by process {os.getpid()} (" in caught.value.message
    assert "since 20" in caught.value.message
    assert caught.value.hint


def test_a_lock_is_gone_after_the_block_and_leaves_no_file() -> None:
    for _ in range(2):
        with held(PORT):
            pass
    assert list(lock.folder().iterdir()) == []


def test_the_lock_of_a_killed_owner_is_free() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(PortInUseError, match=f"process {owner.pid} "), held(PORT):
            pass
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        with held(PORT):
            pass


def test_two_names_of_one_port_are_one_port(tmp_path: Path) -> None:
    port = tmp_path / "ttyACM0"
    port.touch()
    (tmp_path / "by-id").symlink_to(port)
    with held(str(port)), pytest.raises(PortInUseError), held(str(tmp_path / "by-id")):
        pass
    with held(str(port)), held(str(tmp_path / "ttyACM1")):
        pass


def test_a_lock_without_an_owner_s_name_is_still_one() -> None:
    with held(PORT):
        (path,) = lock.folder().iterdir()
        path.write_text("{")
        with pytest.raises(PortInUseError, match="another program"), held(PORT):
            pass


def test_a_folder_that_somebody_laid_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    lock.folder().symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LinkError, match="somebody else"), held(PORT):
        pass
