"""The file that a search is kept in: for one search at a time, its errors in our words."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinydeploy.errors import UsageError

_HINT = "give another file: --study FILE"


@contextlib.contextmanager
def held(study: Path) -> Iterator[None]:
    """Keep the study's file for this search: two would end each other's trials.

    The kernel lets go of it when the process ends, however that happens.
    Raises UsageError if another search has it, or SQLite cannot be given its name.
    """
    if "?" in str(study):
        raise UsageError(f"{study}: SQLite's addresses have no question marks", hint=_HINT)
    study.parent.mkdir(parents=True, exist_ok=True)
    with open(f"{study}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another search is at work on {study}", hint=f"wait until it has ended, or {_HINT}"
            ) from None
        yield


def opened(optuna: Any, study: Path, **settings: Any) -> Any:
    """Optuna's study in the file, made if it is not there.

    Raises UsageError for a file that is no database of Optuna's.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return optuna.create_study(storage=f"sqlite:///{study}", load_if_exists=True, **settings)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise UsageError(
            f"{study} does not hold a search: {reason}", hint=f"delete it, or {_HINT}"
        ) from error
