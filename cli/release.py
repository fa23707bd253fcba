"""What `verify`, `sign`, `export`, `import` and `flash` share: a target, and whether it is intact.

A target is `NAME@ALIAS`, `NAME/VERSION` or `NAME` of a registry, a bundle (.zip), or a folder that
`tinydeploy build` wrote.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from tinydeploy.cli import wiring
from tinydeploy.errors import UsageError
from tinydeploy.registry.integrity import Checked

BUNDLE = ".zip"


def required(asked: bool) -> bool:
    """Whether nothing may be used unsigned: by an option, or by the environment."""
    from tinydeploy.registry.keys import signatures_required

    return signatures_required(asked)


def check(target: str, registry: Path, signed: bool) -> list[Checked]:
    """Every folder of a registered version (or of all), or of a bundle, re-hashed.

    Raises RegistryError for what does not exist or, with `signed`, for an intact target that no
    trusted key has signed; what was changed is in `problems`.
    """
    from tinydeploy.registry import archive, integrity
    from tinydeploy.registry.bundle import check_bundle

    if target.endswith(BUNDLE):
        with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
            archive.unpack(Path(target), Path(scratch))
            found = check_bundle(Path(scratch))
            _require_signed(found, signed)
            return found
    store = wiring.registry(registry)
    name, version, _ = store.locate(target)
    found = integrity.verify(store, name, version)
    _require_signed(found, signed)
    return found


def sign(target: str, registry: Path, key: Path) -> dict[str, Any]:
    """Sign a version and its runs on boards, or a folder with firmware; what was signed."""
    from tinydeploy.registry import integrity, signing
    from tinydeploy.registry.keys import load_public

    key_id = load_public(key).key_id
    if Path(target).is_dir():
        build = wiring.builder().load(Path(target))
        signing.sign_folder(Path(target), f"{build.model_sha256[:12]}@{build.board}", key)
        return {"key_id": key_id, "signed": [target]}
    store = wiring.registry(registry)
    name, version, _ = store.locate(target)
    if not version:
        raise UsageError(f"{target!r} names no version", hint="write NAME@ALIAS or NAME/VERSION")
    found = integrity.sign(store, name, version, key)
    return {
        "key_id": key_id,
        "signed": [f"{name}/{version} {c.board or 'model'}" for c in found],
    }


def _require_signed(found: list[Checked], signed: bool) -> None:
    from tinydeploy.registry.integrity import require_intact

    if signed and not any(c.problems for c in found):
        for checked in found:
            require_intact(checked, signed=True)
