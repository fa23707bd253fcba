"""registry.failures: real errors of SQLite and the file system in plain words."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from tinydeploy.errors import RegistryError, UsageError
from tinydeploy.registry.failures import translated


def message(error: pytest.ExceptionInfo[RegistryError]) -> str:
    assert error.value.exit_code == 7
    assert error.value.hint
    return error.value.message


def test_a_locked_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as first, sqlite3.connect(path, timeout=0) as second:
        first.execute("CREATE TABLE t (x)")
        first.commit()
        first.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryError) as caught, translated(path):
            second.execute("INSERT INTO t VALUES (1)")
    assert message(caught) == f"{path}: another program keeps the database locked"


def test_a_database_that_is_full(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 2")
        with pytest.raises(RegistryError) as caught, translated(tmp_path):
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    assert message(caught) == f"{tmp_path}: the disk is full"


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_bytes(b"something else" * 100)
    with (
        pytest.raises(RegistryError) as caught,
        translated(path),
        sqlite3.connect(path) as connection,
    ):
        connection.execute("SELECT * FROM t")
    assert message(caught) == f"{path}: the database is damaged"


def test_another_layout(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with (
        pytest.raises(RegistryError) as caught,
        translated(path),
        sqlite3.connect(path) as connection,
    ):
        connection.execute("SELECT * FROM runs")
    assert message(caught) == f"{path}: the database has the layout of another MLflow version"
    assert f"sqlite:///{path}" in caught.value.hint


def test_a_folder_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught, translated(tmp_path):
        sqlite3.connect(tmp_path / "missing" / "a.db")
    assert message(caught) == f"{tmp_path}: the database cannot be opened"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_even_behind_another_error(tmp_path: Path, number: int) -> None:
    with pytest.raises(RegistryError) as caught, translated(tmp_path):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as e:
            raise sqlite3.OperationalError("something went wrong") from e
    assert message(caught) == f"{tmp_path}: the disk is full"


def test_no_permission(tmp_path: Path) -> None:
    with pytest.raises(RegistryError) as caught, translated(tmp_path):
        raise PermissionError(errno.EACCES, "Permission denied", "/somewhere/x")
    assert message(caught) == f"{tmp_path}: no permission to write /somewhere/x"
    with pytest.raises(RegistryError) as caught, translated(tmp_path):
        raise OSError(errno.EROFS, "Read-only file system", "/somewhere/x")
    assert message(caught) == f"{tmp_path}: no permission to write /somewhere/x"


def test_what_is_ours_or_a_mistake_passes(tmp_path: Path) -> None:
    with pytest.raises(UsageError), translated(tmp_path):
        raise UsageError("no")
    with pytest.raises(ZeroDivisionError), translated(tmp_path):
        1 / 0  # noqa: B018


def test_errors_of_mlflow_are_translated(tmp_path: Path) -> None:
    from mlflow.exceptions import MlflowException

    with pytest.raises(RegistryError) as caught, translated(tmp_path):
        raise MlflowException("first line\nsecond line")
    assert message(caught) == f"{tmp_path}: first line"
