"""Zip files of strangers: nothing is written that should not be, nothing outside the folder."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tinydeploy.errors import RegistryError
from tinydeploy.registry import archive

Fill = Callable[[zipfile.ZipFile], None]


def made(path: Path, fill: Fill) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("good.txt", "good")
        fill(z)
    return path


def named(*names: str) -> Fill:
    return lambda z: [z.writestr(n, "x") for n in names] and None


def info(name: str, mode: int, data: str = "x") -> Fill:
    def fill(z: zipfile.ZipFile) -> None:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        z.writestr(entry, data)

    return fill


def many(z: zipfile.ZipFile) -> None:
    for i in range(archive.MAX_FILES):
        z.writestr(f"f{i}", "")


def zeros(z: zipfile.ZipFile) -> None:
    z.writestr("zeros", bytes(64 << 20), zipfile.ZIP_DEFLATED, 9)


def bzip2(z: zipfile.ZipFile) -> None:
    z.writestr("b", "x", zipfile.ZIP_BZIP2)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("fill", "why"),
    [
        (named("../out.txt"), "leads out"),
        (named("/out.txt"), "name"),
        (named("a/../../out.txt"), "leads out"),
        (named("a/./b"), "leads out"),
        (named("a\\..\\out.txt"), "name"),
        (named("C:/out.txt"), "name"),
        (named("a//b"), "name"),
        (named("a/"), "name"),
        (named("x" * 300), "name"),
        (named("new\nline"), "name"),
        (named("ümlaut"), "name"),
        (named("trailing. "), "name"),
        (named("twice", "twice"), "twice"),
        (named("Case", "case"), "twice"),
        (named("good.txt/below"), "below a file"),
        (info("link", stat.S_IFLNK | 0o777, "/etc/passwd"), "plain file"),
        (info("pipe", stat.S_IFIFO | 0o644), "plain file"),
        (info("device", stat.S_IFBLK | 0o644), "plain file"),
        (many, "2,001 files"),
        (zeros, "67,108,864 bytes"),
        (bzip2, "packed in an unknown way"),
    ],
)
def test_refused_before_anything_is_written(tmp_path: Path, fill: Fill, why: str) -> None:
    bad = made(tmp_path / "bad.zip", fill)
    into = tmp_path / "into"
    with pytest.raises(RegistryError, match=why) as e:
        archive.unpack(bad, into)
    assert e.value.exit_code == 7 and e.value.hint
    assert not into.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip"]


def patched(path: Path, offset: int, layout: str, value: int) -> None:
    """Change a field of the last entry of the central directory."""
    data = bytearray(path.read_bytes())
    struct.pack_into(layout, data, data.rindex(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)


def test_an_entry_that_lies_about_its_size(tmp_path: Path) -> None:
    for size in (3, 5_000):
        bad = made(tmp_path / "bad.zip", lambda z: z.writestr("a", "x" * 100))
        patched(bad, 24, "<I", size)
        with pytest.raises(RegistryError):
            archive.unpack(bad, tmp_path / f"into{size}")


def test_an_encrypted_entry(tmp_path: Path) -> None:
    bad = made(tmp_path / "bad.zip", named("a"))
    patched(bad, 8, "<H", 1)
    with pytest.raises(RegistryError, match="encrypted"):
        archive.unpack(bad, tmp_path / "into")


def test_entries_that_share_bytes(tmp_path: Path) -> None:
    """The overlapping zip bomb: every entry of the directory points to the same data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        z.writestr("a0", bytes(range(256)) * 4000)
    data = buffer.getvalue()
    at = data.rindex(b"PK\x01\x02")
    entry, end = data[at : data.rindex(b"PK\x05\x06")], data[data.rindex(b"PK\x05\x06") :]
    entries = b"".join(entry.replace(b"a0", f"a{i}".encode()) for i in range(5))
    tail = bytearray(end)
    struct.pack_into("<HHII", tail, 8, 5, 5, len(entries), at)
    (tmp_path / "bad.zip").write_bytes(data[:at] + entries + tail)
    with pytest.raises(RegistryError, match="overlap"):
        archive.unpack(tmp_path / "bad.zip", tmp_path / "into")


def test_what_is_no_zip_file(tmp_path: Path) -> None:
    good = made(tmp_path / "good.zip", named("a")).read_bytes()
    for content in (b"", b"PK", b"\0" * 1000, good[:-10], good[: len(good) // 2]):
        (tmp_path / "bad.zip").write_bytes(content)
        with pytest.raises(RegistryError):
            archive.unpack(tmp_path / "bad.zip", tmp_path / "into")
    with pytest.raises(RegistryError, match="cannot be read"):
        archive.unpack(tmp_path / "none.zip", tmp_path / "into")


def test_every_flipped_byte_is_read_or_refused(tmp_path: Path) -> None:
    """Damage ends as RegistryError or as other content, never as another exception."""
    good = made(tmp_path / "good.zip", named("a/b")).read_bytes()
    for at in range(len(good)):
        data = bytearray(good)
        data[at] ^= 0xFF
        (tmp_path / "bad.zip").write_bytes(data)
        try:
            archive.unpack(tmp_path / "bad.zip", tmp_path / f"into{at}")
        except RegistryError:
            continue
    assert {p.name for p in tmp_path.iterdir() if not p.name.startswith("into")} == {
        "good.zip", "bad.zip",
    }  # fmt: skip


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """The entry itself says UTF-8 and is none; the directory at the end says otherwise."""
    data = bytearray(made(tmp_path / "a.zip", named("a/b")).read_bytes())
    data[7], data[30] = 0x08, 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(RegistryError, match="refused"):
        archive.unpack(tmp_path / "a.zip", tmp_path / "into")


def test_pack_and_unpack(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    (folder / "sub").mkdir(parents=True)
    (folder / "b.bin").write_bytes(bytes(range(256)))
    (folder / "sub" / "a.txt").write_text("a")
    archive.pack(folder, tmp_path / "1.zip")
    (folder / "b.bin").touch()
    (folder / "b.bin").chmod(0o755)
    archive.pack(folder, tmp_path / "2.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    archive.unpack(tmp_path / "1.zip", tmp_path / "g")
    assert {p.relative_to(tmp_path / "g").as_posix(): p.read_bytes()
            for p in (tmp_path / "g").rglob("*") if p.is_file()} == {
        "b.bin": bytes(range(256)), "sub/a.txt": b"a",
    }  # fmt: skip
