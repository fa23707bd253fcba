"""Content hashes and writes that happen whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


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
    fd, tmp = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(tmp)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write plain JSON values, indented, atomically."""
    write_atomic(path, json.dumps(value, indent=2) + "\n")


@contextlib.contextmanager
def staged_directory(final: Path) -> Iterator[Path]:
    """A scratch folder beside `final` that takes its place when the block succeeds.

    On an error the scratch folder is removed and `final` keeps what it had.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}."))
    os.chmod(scratch, 0o755)
    try:
        yield scratch
        if final.exists():
            old = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.old."))
            os.replace(final, old / final.name)
            os.replace(scratch, final)
            shutil.rmtree(old, ignore_errors=True)
        else:
            os.replace(scratch, final)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def cache_dir() -> Path:
    """Folder for what can be made again: `$TINYDEPLOY_CACHE` or `~/.cache/tinydeploy`."""
    root = os.environ.get("TINYDEPLOY_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "tinydeploy"
    )
    return Path(root)
