"""The wheel holds every room and every data file."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOMS = ("cli", "compiler", "devices", "firmware", "pipeline", "registry", "report")


def declared(root: Path) -> set[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    return set(project["tool"]["setuptools"]["packages"])


def test_every_folder_with_an_init_is_declared(root: Path) -> None:
    """A sub-package missing from `packages` is silently left out of the wheel."""
    folders = {"tinydeploy"}
    for room in ROOMS:
        for init in (root / room).rglob("__init__.py"):
            folders.add("tinydeploy." + ".".join(init.parent.relative_to(root).parts))
    assert folders == declared(root)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    source = tmp_path_factory.mktemp("source") / "tinydeploy"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:  # built from a copy, so that no build folder of the checkout leaks in
        if (root / name).is_file() and not name.startswith(("tests/", "examples/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((root / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True, capture_output=True,
    )  # fmt: skip
    return next(out.glob("*.whl"))


def test_the_wheel_holds_every_file_of_every_room(root: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for room, package in [("core", "tinydeploy"), *((r, f"tinydeploy/{r}") for r in ROOMS)]:
        for path in (root / room).rglob("*"):
            relative = path.relative_to(root / room)
            skip = {"__pycache__", ".pio"} & set(relative.parts)
            if path.is_file() and not skip and path.suffix != ".pyc":
                assert f"{package}/{relative.as_posix()}" in names


def test_the_wheel_runs_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "zipfile", "-e", wheel, tmp_path / "site"], check=True)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import tinydeploy; "
        "print(tinydeploy.__file__); from tinydeploy.cli.main import run; "
        "raise SystemExit(run(['devices', 'list']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout.splitlines()[0]
    assert "qemu-cortex-m4" in done.stdout
