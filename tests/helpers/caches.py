"""Caches of a test's own that need not compile again what every test compiles."""

from __future__ import annotations

from pathlib import Path

from tinydeploy.store import cache_dir

COMPILED = ("native", "firmware", "counter")


def own_cache_at(folder: Path) -> Path:
    """A new cache that shares with the one in use only what C compilers made."""
    folder.mkdir()
    for name in COMPILED:
        everybodys = cache_dir().absolute() / name
        everybodys.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(everybodys)
    return folder
