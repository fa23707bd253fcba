"""Builds for the tests of this folder: small models, and models that misbehave."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tinydeploy.compiler.aot import AotCompiler
from tinydeploy.devices.catalogue import find
from tinydeploy.devices.platformio import PlatformioBuilder
from tinydeploy.types import Build, Compiled, DeviceProfile

MODELS = Path(__file__).resolve().parents[1] / "models"
SMALL_MODEL = MODELS / "dscnn_int8.tflite"

Small = Callable[[str], Build]


def compile_small(model: Path, device: DeviceProfile, folder: Path) -> Compiled:
    return AotCompiler().compile(model, folder / "source", device=device)


def build_small(model: Path, board: str, folder: Path) -> Build:
    device = find(board)
    compiled = compile_small(model, device, folder)
    return PlatformioBuilder().build(compiled, model, device, folder / "build")


def build_injected(code: str, board: str, folder: Path) -> Build:
    """A build of the small model whose invoke runs a piece of C first."""
    device = find(board)
    compiled = inject(compile_small(SMALL_MODEL, device, folder), code)
    return PlatformioBuilder().build(compiled, SMALL_MODEL, device, folder / "build")


def inject(compiled: Compiled, code: str) -> Compiled:
    """Put a piece of C at the start of the compiled model's invoke."""
    path = compiled.directory / "td_model.c"
    text, count = re.subn(
        r"^void td_model_invoke\(void\)\n\{$",
        lambda m: f"{m[0]}\n{code}",
        path.read_text(),
        flags=re.MULTILINE,
    )
    assert count == 1
    path.write_text(text)
    return compiled
