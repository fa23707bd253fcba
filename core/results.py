"""Folders that a user names for a result: replaced as a whole, but never with files of the user."""

from __future__ import annotations

import contextlib
import fnmatch
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from tinydeploy.errors import UsageError
from tinydeploy.store import sha256_file, staged_directory, write_atomic

SUMS_FILE = "SHA256SUMS"
"""Lists all other files of a result, as `sha256sum --check` reads it."""
_LINE = re.compile(r"([0-9a-f]{64})  ([\w.-]+(?:/[\w.-]+)*)", flags=re.ASCII)


@contextlib.contextmanager
def result_directory(final: Path, ours: Collection[str] = ()) -> Iterator[Path]:
    """A scratch folder that takes the place of `final`, with `SHA256SUMS`, when the block succeeds.

    Raises UsageError before anything is done if `final` is a file, or a folder with a file that
    was not written here or was changed since. `ours` are patterns of names that may have changed.
    """
    require_replaceable(final, ours)
    with staged_directory(final.resolve()) as scratch:  # a link stays one
        yield scratch
        write_sums(scratch)
        require_replaceable(final, ours)  # the work may have taken long


def require_replaceable(final: Path, ours: Collection[str] = ()) -> None:
    """Raise UsageError if something would be lost were `final` replaced as a whole."""
    if not final.exists():
        return
    if not final.is_dir():
        raise UsageError(f"{final} is a file", hint="give a folder")
    try:
        listed = read_sums(final)
    except ValueError:
        listed = {}
    for path in final.rglob("*"):
        name = path.relative_to(final).as_posix()
        if path.is_dir() and not path.is_symlink():
            continue
        if name == SUMS_FILE or any(fnmatch.fnmatchcase(name, o) for o in ours):
            continue
        if not path.is_file() or listed.get(name) != sha256_file(path):
            what = "was changed" if name in listed else "is not of an earlier result"
            raise UsageError(
                f"{final} would be replaced, but {name} in it {what}",
                hint="give a folder of its own, or move away what you need and remove the folder",
            )


def write_sums(folder: Path) -> None:
    """List every file of a result."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    lines = [f"{sha256_file(folder / n)}  {n}\n" for n in names if n != SUMS_FILE]
    write_atomic(folder / SUMS_FILE, "".join(lines))


def read_sums(folder: Path) -> dict[str, str]:
    """File -> sha256 as listed; none without a list. Raises ValueError if it is damaged."""
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return {}
    found = [_LINE.fullmatch(line) for line in sums.read_text("utf-8", "replace").splitlines()]
    if not all(found):
        raise ValueError(f"{sums} is damaged")
    return {m[2]: m[1] for m in found if m}
