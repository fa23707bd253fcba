"""Folders of results: replaced as a whole, but nothing of the user's is lost with them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tinydeploy.errors import UsageError
from tinydeploy.results import SUMS_FILE, read_sums, result_directory


def write(final: Path, *names: str, ours: tuple[str, ...] = ()) -> None:
    with result_directory(final, ours) as scratch:
        for name in names:
            (scratch / name).parent.mkdir(exist_ok=True)
            (scratch / name).write_text(name)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_a_result_replaces_an_earlier_one(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write(out, "a.c", "lib/b.c")
    subprocess.run(["sha256sum", "--check", "--quiet", SUMS_FILE], cwd=out, check=True)
    (tmp_path / "link").symlink_to(out)
    write(tmp_path / "link", "c.c")
    (tmp_path / "link").unlink()
    assert files(out) == {"c.c", SUMS_FILE}
    assert set(read_sums(out)) == {"c.c"}
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("mine", ["main.c", "lib/main.c", ".git/HEAD", "a.c", SUMS_FILE])
def test_what_is_the_users_stays(mine: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "a.c", "lib/b.c")
    (out / mine).parent.mkdir(exist_ok=True)
    (out / mine).write_text("mine")
    before = files(out)
    with pytest.raises(UsageError, match="would be replaced, but"):
        write(out, "a.c")
    assert files(out) == before and (out / mine).read_text() == "mine"
    assert list(tmp_path.iterdir()) == [out]


def test_what_may_have_changed_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out, "firmware.elf", "build.json")
    (out / "firmware.elf").write_text("damaged")
    (out / SUMS_FILE).write_text("damaged")
    write(out, "firmware.elf", ours=("firmware.*", "build.json"))
    assert (out / "firmware.elf").read_text() == "firmware.elf"


def test_files_links_and_what_comes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="is a file"):
        write(tmp_path / "file", "a.c")
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="link in it"):
        write(out, "a.c")
    (out / "link").unlink()
    with pytest.raises(UsageError, match=r"late\.c in it"), result_directory(out) as scratch:
        (scratch / "a.c").write_text("a")
        (out / "late.c").write_text("mine")
    assert (tmp_path / "file").read_text() == "mine" and files(out) == {"late.c"}
