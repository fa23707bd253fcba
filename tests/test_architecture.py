"""The arrows of the design: core knows nobody, siblings never meet, only cli sees all."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS = ("cli", "compiler", "devices", "firmware", "pipeline", "registry", "report")
CORE = "core"
HEAVY = (
    "tensorflow",
    "tf_keras",
    "keras",
    "mlflow",
    "ai_edge_litert",
    "tflite_micro",
    "platformio",
)


def modules(root: Path, room: str) -> list[Path]:
    return [p for p in (root / room).rglob("*.py") if "__pycache__" not in p.parts]


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def rooms_of(names: set[str]) -> set[str]:
    parts = [n.split(".") for n in names if n.startswith("tinydeploy.")]
    return {p[1] for p in parts if p[1] in ROOMS}


@pytest.mark.parametrize("room", [r for r in ROOMS if r != "cli"])
def test_siblings_never_import_each_other(root: Path, room: str) -> None:
    files = modules(root, room)
    assert files
    for path in files:
        foreign = rooms_of(imports(path)) - {room}
        assert not foreign, f"{path.relative_to(root)} imports {foreign}"


def test_core_imports_nothing_of_ours(root: Path) -> None:
    files = modules(root, CORE)
    assert len(files) > 5
    for path in files:
        assert not rooms_of(imports(path)), path.relative_to(root)


def test_nobody_imports_the_cli(root: Path) -> None:
    for room in (CORE, *(r for r in ROOMS if r != "cli")):
        for path in modules(root, room):
            assert "cli" not in rooms_of(imports(path)), path.relative_to(root)


def test_no_relative_and_no_bare_imports(root: Path) -> None:
    bare = {*ROOMS, CORE}
    for room in (CORE, *ROOMS):
        for path in modules(root, room):
            if room == "firmware" and len(path.relative_to(root).parts) > 2:
                continue  # PlatformIO's own scripts run inside PlatformIO
            for name in imports(path):
                assert not name.startswith("."), f"{path.relative_to(root)}: {name}"
                assert name.split(".")[0] not in bare, f"{path.relative_to(root)}: {name}"


@pytest.mark.parametrize("room", [CORE, "cli"])
def test_nothing_heavy_at_the_top_of_core_and_cli(root: Path, room: str) -> None:
    for path in modules(root, room):
        heavy = {n.split(".")[0] for n in imports(path, top_level_only=True)} & set(HEAVY)
        assert not heavy, f"{path.relative_to(root)} imports {heavy}"


def test_help_imports_nothing_heavy() -> None:
    """`tinydeploy --help` answers in under 0.3 s because it imports click and nothing else."""
    code = (
        "import sys; from tinydeploy.cli.main import run; run(['--help']); "
        "print(sorted(set(m.split('.')[0] for m in sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ast.literal_eval(out.stdout.splitlines()[-1])
    assert not set(loaded) & {*HEAVY, "numpy", "serial", "PIL"}


def test_the_rooms_are_never_loaded_under_bare_names() -> None:
    bare = {*ROOMS, CORE} & set(sys.modules)
    assert not bare, f"loaded a second time as {bare}"


def test_helpers_of_tests_have_names_of_their_own(root: Path) -> None:
    """All their folders are on one path: of two with one name the second would never be found."""
    helpers = [
        path.stem
        for path in (root / "tests").rglob("*.py")
        if not path.stem.startswith(("test_", "conftest")) and "data" not in path.parts
    ]
    assert len(helpers) > 20
    assert not {name for name in helpers if helpers.count(name) > 1}
    assert not set(helpers) & sys.stdlib_module_names


def test_every_reason_to_skip_is_given_somewhere(root: Path) -> None:
    listed = (root / "tests/skips.txt").read_text().splitlines()
    reasons = [line for line in listed if line and not line.startswith("#")]
    texts = [path.read_text(encoding="utf-8") for path in (root / "tests").rglob("*.py")]
    assert reasons
    for reason in reasons:
        assert any(f'"{reason}' in text for text in texts), f"nothing skips with {reason!r}"


def test_files_stay_small(root: Path) -> None:
    """A file over 400 lines is asking to be split."""
    for room in (CORE, *ROOMS):
        for path in (root / room).rglob("*"):
            if path.suffix in (".py", ".c", ".h") and path.is_file():
                lines = path.read_text(encoding="utf-8").count("\n")
                assert lines <= 400, f"{path.relative_to(root)} has {lines} lines"
