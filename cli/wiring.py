"""Puts the rooms together: the implementations behind the ports. Imports on demand."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tinydeploy import plugins
from tinydeploy.store import sha256_tree
from tinydeploy.types import DeviceProfile

if TYPE_CHECKING:
    from tinydeploy.pipeline.run import Tools
    from tinydeploy.ports import Builder, Compiler, Registry, Runner

ROOMS = ("pipeline", "compiler", "devices", "firmware")


def devices(names: Iterable[str], profiles: Iterable[Path] = ()) -> dict[str, DeviceProfile]:
    """The profiles of boards by name, in the given order."""
    from tinydeploy.devices.catalogue import find

    return {name: find(name, profiles) for name in names}


def compiler() -> Compiler:
    """The compiler of both engines."""
    from tinydeploy.compiler.aot import AotCompiler

    return AotCompiler()


def builder() -> Builder:
    """PlatformIO."""
    from tinydeploy.devices.platformio import PlatformioBuilder

    return PlatformioBuilder()


def runner(device: DeviceProfile) -> Runner:
    """What carries firmware for this board: an emulator, a process, a serial port."""
    made: Runner = plugins.load("runner", device.platform)()
    return made


def registry(root: Path) -> Registry:
    """MLflow below `root`/mlruns."""
    from tinydeploy.registry.mlflow import MlflowRegistry

    return MlflowRegistry(root)


@cache
def fingerprints() -> dict[str, str]:
    """A hash of each room's code, and of the core's, for cached results."""
    patterns = ("**/*.py", "**/*.toml", "**/*.c", "**/*.h", "**/*.ld", "**/*.ini", "**/*.json")
    core = sha256_tree(_folder("tinydeploy"), ("*.py",))
    return {r: core + sha256_tree(_folder(f"tinydeploy.{r}"), patterns) for r in ROOMS}


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ImportError(f"{package} is not installed")
    return Path(spec.origin).parent


def tools(registry_root: Path) -> Tools:
    """Everything `pipeline.run.deploy` needs."""
    from tinydeploy.pipeline.run import Tools

    return Tools(compiler(), builder(), runner, registry(registry_root), fingerprints())
