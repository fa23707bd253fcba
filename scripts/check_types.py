"""mypy over all rooms through a generated link tree.

mypy cannot follow the folder mapping of an editable install, so build/types/tinydeploy links
each room to its place. The number of checked files is asserted: a room that is silently left
out would otherwise look clean.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cli", "compiler", "devices", "firmware", "pipeline", "registry", "report")


def link_tree(target: Path) -> int:
    """Link core/*.py and the rooms below `target`/tinydeploy; the number of Python files."""
    shutil.rmtree(target, ignore_errors=True)
    package = target / "tinydeploy"
    package.mkdir(parents=True)
    for path in (ROOT / "core").iterdir():
        if path.suffix == ".py":
            (package / path.name).symlink_to(path)
    for room in ROOMS:
        (package / room).symlink_to(ROOT / room, target_is_directory=True)
    folders = [ROOT / "core", *(ROOT / room for room in ROOMS)]
    return sum(1 for folder in folders for path in folder.rglob("*.py") if is_module(path))


def is_module(path: Path) -> bool:
    """True for a module of ours, not for PlatformIO's own scripts among the firmware."""
    parts = path.relative_to(ROOT).parts
    return "__pycache__" not in parts and (parts[0] != "firmware" or len(parts) == 2)


def main() -> int:
    """Run mypy; its exit code, or 1 when files were left out."""
    target = ROOT / "build" / "types"
    expected = link_tree(target)
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    result = subprocess.run(
        [*command, "-p", "tinydeploy"], cwd=target, capture_output=True, text=True, check=False
    )
    print(result.stdout, end="")
    print(result.stderr, end="", file=sys.stderr)
    checked = [int(n) for n in re.findall(r"(?:in|checked) (\d+) source files?", result.stdout)]
    if result.returncode == 0 and checked[-1:] != [expected]:
        print(f"mypy checked {checked[-1:]} files, the rooms hold {expected}", file=sys.stderr)
        return 1
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
