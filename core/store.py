"""Content hashes and writes that happen whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""Error numbers of a disk, a quota or a limit that is used up."""
_STAGED = re.compile(r"\..+\.([0-9a-f]{6})-(\d+)\.[a-z0-9_]{8}")


def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's content."""
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of plain JSON values, independent of key order."""
    return sha256_bytes(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())


def sha256_tree(root: Path, patterns: tuple[str, ...] = ("**/*",)) -> str:
    """Hex sha256 of the names and contents of all files below `root` that match a pattern."""
    files = sorted({p for g in patterns for p in root.glob(g) if p.is_file()})
    return sha256_json([[p.relative_to(root).as_posix(), sha256_file(p)] for p in files])


def write_atomic(path: Path, data: bytes | str) -> None:
    """Replace `path` by `data`; readers see the old content or the new, never a part."""
    raw = data.encode() if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=_staging_prefix(path))
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    except BaseException as e:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(tmp)
        _name_place(e, path)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON values, indented, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The JSON value of a file. Raises OSError, or ValueError for whatever else it may hold."""
    return parse_json(path.read_bytes())


def parse_json(text: bytes | str) -> Any:
    """A JSON value that may be a stranger's. Raises ValueError, also where it nests too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it nests too deeply") from None


@contextlib.contextmanager
def staged_directory(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final` that takes its place when the block succeeds.

    On an error the scratch folder is removed and `final` keeps what it had.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=_staging_prefix(final)))
    os.chmod(scratch, 0o755)
    try:
        yield scratch
        if final.exists():
            old = _moved_away(final)
            os.replace(scratch, final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, final)
    except BaseException as e:
        shutil.rmtree(scratch, ignore_errors=True)
        _name_place(e, final)
        raise


def remove_directory(folder: Path) -> None:
    """Remove a folder: readers see all of it or nothing, also if this is killed."""
    shutil.rmtree(_moved_away(folder), ignore_errors=True)


def _moved_away(folder: Path) -> Path:
    """A hidden folder beside a folder, which is now in it."""
    old = Path(tempfile.mkdtemp(dir=folder.parent, prefix=_staging_prefix(folder)))
    os.replace(folder, old / folder.name)
    return old


def _name_place(error: BaseException, path: Path) -> None:
    """Say where there was no room: the system does not when a file is written to."""
    if isinstance(error, OSError) and error.errno in FULL and error.filename is None:
        error.filename = str(path)


def _staging_prefix(final: Path) -> str:
    """Hidden, beside `final`, and telling which process on which machine is at work there."""
    return f".{final.name}.{_host()}-{os.getpid()}."


def _host() -> str:
    return sha256_bytes(socket.gethostname().encode())[:6]


def staged_left(folders: Iterable[Path], hours: float) -> list[Path]:
    """What the writers and removers above left below folders when they were killed.

    That is: of a process of this machine that has ended, or older than `hours`.
    """
    oldest = time.time() - hours * 3600
    found = []
    for folder in folders:
        for path in sorted(folder.rglob(".*")):
            if match := _STAGED.fullmatch(path.name):
                host, pid = match.groups()
                gone = host == _host() and not Path(f"/proc/{pid}").exists()
                if gone or path.lstat().st_mtime < oldest:
                    found.append(path)
    return found


def remove_staged(paths: Iterable[Path]) -> None:
    """Remove what `staged_left` found."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def cache_dir() -> Path:
    """Folder for what can be made again: `$TINYDEPLOY_CACHE` or `~/.cache/tinydeploy`."""
    root = os.environ.get("TINYDEPLOY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tinydeploy"
    )
    return Path(root)


def state_dir() -> Path:
    """Folder for what must not be lost: `$TINYDEPLOY_STATE` or `~/.local/state/tinydeploy`."""
    root = os.environ.get("TINYDEPLOY_STATE") or os.path.join(
        os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "tinydeploy"
    )
    return Path(root)
