"""What `tinydeploy update` does: the new build, what the board has, the exchange, the proof."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinydeploy.cli import wiring
from tinydeploy.errors import DeviceError, UsageError
from tinydeploy.store import sha256_bytes, write_atomic
from tinydeploy.types import Build, DeviceProfile

if TYPE_CHECKING:
    from tinydeploy.devices.session import Session

SAMPLES = 3
CONTENTS = "contents"  # what the board of a build was given, by SHA-256


def update(
    directory: Path,
    target: Path,
    *,
    out: Path | None,
    port: str,
    baud: int | None,
    dry_run: bool,
    signed: bool,
    profiles: tuple[Path, ...],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Update a board; what was sent and proven.

    With `signed` (or TINYDEPLOY_REQUIRE_SIGNATURE) `target` has to be a folder that a trusted key
    signed. Raises as `devices.updating.update`, and DeviceError for outputs that differ.
    """
    from tinydeploy.devices import delta, updating

    flashed = wiring.builder().load(directory)
    device = wiring.devices([flashed.board], profiles)[flashed.board]
    known = _contents(flashed)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tinydeploy-")))
        _require_signature(target, signed)
        new = _new_build(target, flashed, device, out or scratch / "build")
        updating.require_same_graph(flashed.layout, new)
        content = updating.content_of(new)
        figures: dict[str, Any] = {
            "board": device.name,
            "build_id": new.build_id,
            "content_bytes": len(content),
            "firmware_bytes": new.footprint.flash_bytes,
        }
        if dry_run:
            change = delta.encode(updating.content_of(flashed), content)
            return {**figures, "delta_bytes": len(change)}
        board = wiring.runner(device, port, baud)
        session = stack.enter_context(board.session(flashed, device))  # type: ignore[attr-defined]
        proof = _Proof(session, new)
        done = updating.update(session, new, known, proof, progress)
        write_atomic(_kept(flashed, done.sha256), content)
        return {
            **figures,
            "slot": done.slot,
            "content_sha256": done.sha256,
            "base_sha256": done.base_sha256,
            "known_base": done.known_base,
            "delta_bytes": done.delta_bytes,
            "outputs_compared": proof.compared,
            "outputs_equal": proof.compared,
        }


class _Proof:
    """The board must be the new build and compute what the host computes, byte for byte."""

    def __init__(self, session: Session, build: Build) -> None:
        self._session = session
        self._build = build
        self.compared = 0

    def __call__(self) -> None:
        from tinydeploy.cli.arrays import random_inputs
        from tinydeploy.tflite import read_graph

        self._session.require(self._build)
        inputs = random_inputs(read_graph(self._build.model_path), SAMPLES)
        predictor = wiring.compiler().native(self._build.model_path, optimize=self._build.optimize)
        self._session.reset()
        expected = predictor.predict(inputs)
        for n in range(SAMPLES):
            data = b"".join(array[n].tobytes() for array in inputs)
            outputs = self._session.infer(data).outputs
            if list(outputs) != [array[n].tobytes() for array in expected]:
                raise DeviceError(
                    "the new model computes something else on the board than on the host",
                    hint="the former model runs again; do not trust this build",
                )
            self.compared += 1


def _new_build(target: Path, flashed: Build, device: DeviceProfile, out: Path) -> Build:
    if target.is_dir():
        return wiring.builder().load(target)
    return wiring.build_firmware(
        target, device, out, engine=flashed.engine, optimize=flashed.optimize, updatable=True
    )


def _require_signature(target: Path, asked: bool) -> None:
    from tinydeploy.registry.keys import signatures_required
    from tinydeploy.registry.signing import require_signature

    required = signatures_required(asked)
    if target.is_dir():
        require_signature(target, str(target), required)
    elif required:
        raise UsageError(
            f"{target} carries no signature", hint="build a folder, and `tinydeploy sign` it"
        )


def _contents(flashed: Build) -> dict[str, bytes]:
    """The contents that the board may have, by SHA-256: the flashed one, and those of updates."""
    from tinydeploy.devices import updating

    found = [updating.content_of(flashed)]
    found += [path.read_bytes() for path in sorted((flashed.directory / CONTENTS).glob("*.bin"))]
    return {sha256_bytes(c): c for c in found if len(c) == len(found[0])}


def _kept(flashed: Build, sha256: str) -> Path:
    folder = flashed.directory / CONTENTS
    folder.mkdir(exist_ok=True)
    return folder / f"{sha256}.bin"
