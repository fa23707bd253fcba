"""Zip files with deterministic bytes, and zip files of strangers taken apart with care."""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from tinydeploy.errors import RegistryError
from tinydeploy.store import FULL, write_atomic

MAX_FILES = 2_000
MAX_FILE_BYTES = 128 << 20
MAX_TOTAL_BYTES = 256 << 20
MAX_RATIO = 200  # of a file's size to its compressed size; text of zeros is beyond it, models not
_MAX_NAME = 200
_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip file can say
_NAME = re.compile(r"[\w.@+ ()-]+(/[\w.@+ ()-]+)*", flags=re.ASCII)
_CHUNK = 1 << 20


def pack(folder: Path, out: Path) -> None:
    """All files below `folder` in a zip file at `out`; the same files give the same bytes.

    Entries are sorted, stored uncompressed (so that no zlib has a say), and carry a fixed time
    and mode.
    """
    buffer = io.BytesIO()
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            info = zipfile.ZipInfo(name, _TIME)
            info.create_system = 3  # Unix, whatever this machine is
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(info, (folder / name).read_bytes())
    write_atomic(out, buffer.getvalue())


def unpack(path: Path, into: Path) -> None:
    """The files of a zip file below the empty folder `into`.

    Raises RegistryError, before a byte is written, for names that lead out of the folder, links,
    duplicates (also those that only differ in case), encrypted or otherwise packed entries, too
    many files, or too many bytes; and while writing, for entries larger than they say.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _require_harmless(entries, path)
            for entry in entries:
                _extract(archive, entry, into / entry.filename, path)
    except (
        zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError,
    ) as e:  # fmt: skip
        raise _refused(path, str(e)) from e
    except OSError as e:
        if e.errno in FULL:  # where it is unpacked to
            raise
        raise RegistryError(f"{path} cannot be read: {e.strerror}", hint="give a bundle") from e


def _require_harmless(entries: list[zipfile.ZipInfo], path: Path) -> None:
    if not entries or len(entries) > MAX_FILES:
        raise _refused(path, f"it holds {len(entries):,} files")
    seen: set[str] = set()
    for entry in entries:
        name = entry.filename
        if len(name) > _MAX_NAME or not _NAME.fullmatch(name):
            raise _refused(path, f"it holds the name {name[:_MAX_NAME]!r}")
        if {"..", "."} & set(name.split("/")) or name != entry.orig_filename:
            raise _refused(path, f"{name!r} leads out of its folder")
        if any(part.strip(" .") != part and part[0] != "." for part in name.split("/")):
            raise _refused(path, f"it holds the name {name!r}")
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise _refused(path, f"{name} is no plain file")
        if entry.flag_bits & 0x1 or entry.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise _refused(path, f"{name} is encrypted or packed in an unknown way")
        if name.lower() in seen:
            raise _refused(path, f"it holds {name} twice")
        seen.add(name.lower())
        if entry.file_size > MAX_FILE_BYTES or (
            entry.file_size > _CHUNK and entry.file_size > MAX_RATIO * entry.compress_size
        ):
            raise _refused(path, f"{name} would be {entry.file_size:,} bytes")
    for name in seen:
        if any(str(parent) in seen for parent in PurePosixPath(name).parents):
            raise _refused(path, f"{name} is below a file")
    if sum(e.file_size for e in entries) > MAX_TOTAL_BYTES:
        raise _refused(path, f"it would be {sum(e.file_size for e in entries):,} bytes")
    if sum(e.compress_size for e in entries) > path.stat().st_size:
        raise _refused(path, "its entries overlap")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, path: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, open(target, "xb") as f:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > entry.file_size:
                raise _refused(path, f"{entry.filename} is larger than it says")
            f.write(chunk)
    if written != entry.file_size:
        raise _refused(path, f"{entry.filename} is shorter than it says")


def _refused(path: Path, why: str) -> RegistryError:
    return RegistryError(
        f"{path} is refused: {why}", hint="`tinydeploy export` never writes such a file"
    )
