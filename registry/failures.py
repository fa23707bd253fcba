"""Errors of MLflow, SQLAlchemy, SQLite and the file system become RegistryError, with a hint."""

from __future__ import annotations

import contextlib
import errno
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from tinydeploy.errors import RegistryError, UnreachableError
from tinydeploy.store import FULL

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


class RunGoneError(RegistryError):
    """A run was deleted between looking and writing: who looks again does not see it."""


_UNREACHABLE = (
    "TEMPORARILY_UNAVAILABLE",
    *(f"error code {code}" for code in (429, 500, 502, 503, 504)),
    *(f"{code} Server Error" for code in (500, 502, 503, 504)),
)


@contextlib.contextmanager
def translated(place: Path | str, told: Callable[[], str] = str) -> Iterator[None]:
    """Raise RegistryError in place of whatever went wrong below the registry at `place`.

    `told` says what had been changed by then, if a server does not answer.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as e:
        raise _explained(place, e, told()) from e
    except Exception as e:
        if _is_foreign(e):
            raise _explained(place, e, told()) from e
        raise


def _is_foreign(error: Exception) -> bool:
    """True for errors of the libraries below, recognised without importing them."""
    return _is_of(error, "mlflow", "sqlalchemy", "alembic", "requests", "urllib3")


def _is_of(error: BaseException, *packages: str) -> bool:
    return any(cls.__module__.split(".")[0] in packages for cls in type(error).__mro__)


def is_unreachable(error: BaseException) -> bool:
    """True if a server did not answer, or answered that it cannot: the error or what began it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UnreachableError) or _says_unreachable(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _says_unreachable(error: BaseException) -> bool:
    if _is_of(error, "requests", "urllib3") and getattr(error, "response", None) is None:
        return True
    return _is_of(error, "mlflow", "requests") and any(w in str(error) for w in _UNREACHABLE)


def _explained(place: Path | str, error: Exception, told: str) -> RegistryError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(place, str) and _says_unreachable(cause):
            again = "then run it again: what is done stays; " if told else ""
            return UnreachableError(
                f"{place} does not answer: {_first_line(_innermost(cause))}{told}",
                hint=f"does the MLflow server run there, is the network up? {again}"
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES says how often it is asked again",
            )
        if isinstance(cause, OSError) and cause.errno in FULL:
            return RegistryError(
                f"{place}: the disk is full",
                hint="free some space and run again: nothing is half registered",
            )
        cause = cause.__cause__ or cause.__context__
    text = str(error)
    for words, meaning, hint in _SQLITE:
        if words in text.lower():
            return RegistryError(f"{place}: {meaning}", hint=hint.replace("FILE", str(place)))
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return RegistryError(
            f"{place}: no permission to write {error.filename or ''}".rstrip(),
            hint="give yourself write permission, or choose another folder with --registry",
        )
    if isinstance(place, str):
        return RegistryError(
            f"{place}: {_first_line(error)}",
            hint="is it an MLflow server, and are you allowed to write there "
            "(MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_TOKEN)?",
        )
    return RegistryError(
        f"{place}: {_first_line(error)}", hint="`tinydeploy doctor` checks the installation"
    )


def _innermost(error: BaseException) -> BaseException:
    """What began it: "Connection refused" rather than all that followed."""
    while inner := error.__cause__ or error.__context__ or getattr(error, "reason", None):
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__
