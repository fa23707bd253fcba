"""The boards: one TOML file each, found by name.

A board's name is its file's name. The shipped boards lie in `devices/profiles/`; further folders
add to them or take the place of those with the same name. `boardfile.py` checks a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

from tinydeploy.devices.boardfile import NAME, load
from tinydeploy.errors import UsageError
from tinydeploy.types import DeviceProfile

SHIPPED = Path(__file__).parent / "profiles"


def load_all(folders: Iterable[Path] = ()) -> dict[str, DeviceProfile]:
    """All boards by name, sorted; later folders win. Raises UsageError for a wrong file."""
    found: dict[str, DeviceProfile] = {}
    for folder in (SHIPPED, *folders):
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder", hint="name a folder that holds one TOML file a board"
            )
        for path in sorted(folder.glob("*.toml")):
            found[path.stem] = load(path)
    return dict(sorted(found.items()))


def find(name: str, folders: Iterable[Path] = ()) -> DeviceProfile:
    """The board `name`. Raises UsageError, with the nearest names, if there is none."""
    folders = tuple(folders)
    for folder in (*reversed(folders), SHIPPED):
        if NAME.fullmatch(name) and (folder / f"{name}.toml").is_file():
            return load(folder / f"{name}.toml")
    known = load_all(folders)
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(f"no board is called {name!r}", hint=f"{hint}known: {', '.join(known)}")


def matching(
    boards: Iterable[DeviceProfile],
    *,
    core: str | None = None,
    platform: str | None = None,
    min_flash: int = 0,
    min_ram: int = 0,
    real: bool | None = None,
) -> list[DeviceProfile]:
    """The boards that fit all of it; `core` may be the beginning of its name ("cortex-m")."""
    return [
        board
        for board in boards
        if board.core.startswith(core or "")
        and platform in (None, board.platform)
        and board.flash_bytes >= min_flash
        and board.ram_bytes >= min_ram
        and real in (None, board.real)
    ]
