"""Errors of MLflow, SQLAlchemy, SQLite and the file system become RegistryError, with a hint."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from tinydeploy.errors import RegistryError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

# What SQLite says (in any wrapping) -> what it means, what to do.
_SQLITE = (
    (
        "disk is full",
        "the disk is full",
        "free some space and run again: nothing is half registered",
    ),
    (
        "disk i/o error",
        "the database cannot be written",
        "check free space and the health of the disk, then run again",
    ),
    (
        "database is locked",
        "another program keeps the database locked",
        "wait for it to end (or stop it), then run again",
    ),
    (
        "readonly database",
        "the database is read-only",
        "give yourself write permission, or choose another folder with --registry",
    ),
    (
        "unable to open database",
        "the database cannot be opened",
        "check the permissions of its folder, or choose another one with --registry",
    ),
    *(
        (
            words,
            "the database is damaged",
            "restore it from a backup, or move the folder away and deploy again",
        )
        for words in ("malformed", "not a database")
    ),
    *(
        (
            words,
            "the database has the layout of another MLflow version",
            "make a backup and run `mlflow db upgrade sqlite:///FILE`",
        )
        for words in ("out-of-date database schema", "no such table", "no such column")
    ),
)


@contextlib.contextmanager
def translated(place: Path) -> Iterator[None]:
    """Raise RegistryError in place of whatever went wrong below the registry at `place`."""
    try:
        yield
    except (OSError, sqlite3.Error) as e:
        raise _explained(place, e) from e
    except Exception as e:
        if _is_foreign(e):
            raise _explained(place, e) from e
        raise


def _is_foreign(error: Exception) -> bool:
    """True for errors of MLflow and SQLAlchemy, recognised without importing them."""
    return any(
        cls.__module__.split(".")[0] in ("mlflow", "sqlalchemy", "alembic")
        for cls in type(error).__mro__
    )


def _explained(place: Path, error: Exception) -> RegistryError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _FULL:
            return RegistryError(
                f"{place}: the disk is full",
                hint="free some space and run again: nothing is half registered",
            )
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    for words, meaning, hint in _SQLITE:
        if words in text.lower():
            return RegistryError(f"{place}: {meaning}", hint=hint.replace("FILE", str(place)))
    if isinstance(error, PermissionError):
        return RegistryError(
            f"{place}: no permission to write {error.filename or ''}".rstrip(),
            hint="give yourself write permission, or choose another folder with --registry",
        )
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return RegistryError(
        f"{place}: {first_line}", hint="`tinydeploy doctor` checks the installation"
    )
