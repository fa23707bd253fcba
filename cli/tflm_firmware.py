"""Firmware of the `tflm` engine, with the least arena that the model needs on its board.

TFLite-Micro knows what it needs only once it has allocated, and that depends on the core and on the
kernels. So the board is asked: firmware with an ample arena first, then with what it used.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tinydeploy.cli import options, wiring
from tinydeploy.cli.arrays import random_inputs
from tinydeploy.errors import DeviceError
from tinydeploy.ports import Builder
from tinydeploy.tflite import read_graph
from tinydeploy.types import Build, Compiled, DeviceProfile

# While it allocates it may need a little more than what it reports afterwards.
SLACK_BYTES = (0, 64, 128, 256, 384, 512, 768, 1024)
AMPLE_BYTES = 65_536  # above what the host needs: scratch buffers of optimized kernels
_ALIGNMENT = 16


def build(
    model: Path, device: DeviceProfile, out: Path, *, profile: bool = False, library: str = ""
) -> Build:
    """Firmware in `out`, its arena as small as the board allocates it in.

    If the board is too small even so, the build tells by how much, as every build does. Raises
    what the compiler, the builder and the runner raise.
    """
    options.progress("tflm: TFLite-Micro is compiled at first for each core, which takes minutes")
    builder = wiring.builder(library)
    inputs = random_inputs(read_graph(model), 1)
    with tempfile.TemporaryDirectory(prefix="tinydeploy-") as scratch:
        folder = Path(scratch)

        def link(arena: tuple[int, str] | None, to: Path) -> Build:
            compiled = wiring.compiler().compile(
                model,
                folder / "source",
                device=device,
                engine="tflm",
                profile=profile,
                tflm_arena=arena,
            )
            return builder.build(compiled, model, device, to)

        def ask(build: Build) -> int:
            _, result = wiring.runner(device).run(build, device, inputs)
            return result.arena_bytes or build.footprint.arena_bytes

        by_host = link(None, out)
        if device.real:  # not asked: it may not be attached
            return by_host
        spare = device.ram_bytes - by_host.footprint.ram_bytes
        if spare < 0:
            return by_host
        ample = by_host.footprint.arena_bytes + min(spare, AMPLE_BYTES) // _ALIGNMENT * _ALIGNMENT
        needed = ask(link((ample, "ample"), folder / "ample"))
        for slack in SLACK_BYTES:
            fitted = link((needed + slack, f"{device.name}, {slack} bytes of slack"), out)
            try:
                ask(fitted)
                break
            except DeviceError:  # it does not allocate: a fault, or a device without inputs
                if slack == SLACK_BYTES[-1]:
                    raise
        return fitted


class MeasuringBuilder:
    """A Builder for `deploy`: what it is given was compiled with the arena that the host measured,
    and is compiled again with the one that the board needs."""

    def __init__(self, builder: Builder, library: str) -> None:
        """`builder` loads what was built; `library` names TFLite-Micro."""
        self._builder, self._library = builder, library

    def build(self, compiled: Compiled, model: Path, device: DeviceProfile, out: Path) -> Build:
        """See the port, and `build`."""
        return build(model, device, out, library=self._library)

    def load(self, directory: Path) -> Build:
        """See the port."""
        return self._builder.load(directory)
