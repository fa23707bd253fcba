"""Firmware by PlatformIO's own platforms: what is installed, what is missing, and building with it.

The project that is built is the one that an export hands over (`export.py`); the firmware is its
environment for measuring.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import threading
from pathlib import Path

from tinydeploy.devices import export, footprint, pio
from tinydeploy.devices.tflm import TflmLibrary
from tinydeploy.errors import ToolMissingError
from tinydeploy.graph import Graph
from tinydeploy.store import cache_dir
from tinydeploy.types import Compiled, DeviceProfile, Footprint

PROBE_S = 2.0
INSTALL_TIMEOUT_S = 3600.0  # the first run may fetch a compiler and a framework
PROJECT = "project"
# What a board's upload may need, as the platforms name it.
PRODUCTS = ("firmware.elf", "firmware.map", "firmware.bin", "firmware.hex", "firmware.uf2")
PRODUCTS_ESP32 = ("bootloader.bin", "partitions.bin")


def link(
    compiled: Compiled,
    graph: Graph,
    header: str,
    device: DeviceProfile,
    library: TflmLibrary | None,
    out: Path,
) -> Footprint:
    """Build the measuring firmware into `out`, with the project that it is from.

    Raises ToolMissingError, within seconds, for a platform that is neither installed nor to be had.
    """
    environment = export.measure_environment(device)
    folder = out / PROJECT
    export.write_project(compiled, graph, device, header, folder, library)
    require(device, folder, environment)
    objects = cache_dir() / "firmware" / f"{device.name}-official"
    objects.mkdir(parents=True, exist_ok=True)
    with open(objects.with_name(f"{objects.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = {"PLATFORMIO_BUILD_DIR": str(objects)}
        if core_dir := os.environ.get("PLATFORMIO_CORE_DIR"):
            kept["PLATFORMIO_CORE_DIR"] = core_dir
        pio.run(
            folder,
            environment,
            INSTALL_TIMEOUT_S,
            kept,
            lock=lock.fileno(),
            translate=lambda said: pio.failure(said, folder, device.name),
        )
        products = objects / environment
        for name in (*PRODUCTS, *PRODUCTS_ESP32):
            if (products / name).is_file():
                shutil.copyfile(products / name, out / name)
    shutil.rmtree(folder / ".pio", ignore_errors=True)
    map_text = (out / "firmware.map").read_text(errors="replace")
    return footprint.analyse(
        out / "firmware.elf",
        map_text,
        footprint.library_sections(map_text),
        arena_bytes=compiled.arena_bytes,
        stack_bytes=int(device.defines.get("TD_STACK_BYTES", footprint.DEFAULT_STACK_BYTES)),
    )


def missing_packages(device: DeviceProfile, project: Path, environment: str) -> list[str]:
    """The platform, or those of its packages that an environment of a project needs and lacks.

    Reads PlatformIO's folder (`PLATFORMIO_CORE_DIR` or ~/.platformio) and nothing else.
    """
    from platformio.dependencies import get_core_dependencies
    from platformio.package.manager.platform import PlatformPackageManager
    from platformio.package.manager.tool import ToolPackageManager
    from platformio.package.meta import PackageSpec
    from platformio.platform.factory import PlatformFactory
    from platformio.project.config import ProjectConfig

    package = PlatformPackageManager().get_package(export.specification(device))
    if package is None:
        return [export.specification(device)]
    platform = PlatformFactory.new(package)
    platform.config = ProjectConfig(str(project / "platformio.ini"))
    platform.project_env = environment
    platform.configure_project_packages(environment, [])
    scons = PackageSpec(
        owner="platformio", name="tool-scons", requirements=get_core_dependencies()["tool-scons"]
    )
    absent = [] if ToolPackageManager().get_package(scons) else ["tool-scons"]
    return absent + [
        name
        for name, options in platform.packages.items()
        if not options.get("optional") and platform.get_package(name) is None
    ]


def require(device: DeviceProfile, project: Path, environment: str) -> None:
    """Raise ToolMissingError, within seconds, for packages that are neither here nor to be had."""
    missing = missing_packages(device, project, environment)
    if missing and not registry_answers():
        raise ToolMissingError(
            f"{device.name} is built by PlatformIO's platform {device.platform}, and here is no "
            f"{', '.join(missing)}; PlatformIO's registry does not answer",
            hint=f"with network: pio pkg install -g -p '{export.specification(device)}'. Without: "
            f"`tinydeploy build MODEL --device {device.name} --export DIR` writes the project, "
            "to be built where the registry is",
        )


def registry_answers() -> bool:
    """True if PlatformIO's registry can be reached, or a proxy may be able to."""
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True
    from platformio import __registry_mirror_hosts__ as hosts

    reached = threading.Event()
    done = threading.Semaphore(0)

    def probe(host: str) -> None:
        try:
            socket.create_connection((host, 443), PROBE_S).close()
            reached.set()
        except OSError:
            pass
        done.release()

    # Names that no server knows can take a resolver longer than we wait: threads of their own.
    for host in hosts:
        threading.Thread(target=probe, args=(host,), daemon=True).start()
    for _ in hosts:
        if not done.acquire(timeout=PROBE_S) or reached.is_set():
            break
    return reached.is_set()
