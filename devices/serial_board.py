"""Real boards, or whatever else runs our firmware at the end of a serial line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tinydeploy.devices import profile
from tinydeploy.devices.discover import Lister, attached, find_port, port_of
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.fault import explain
from tinydeploy.devices.link import open_link
from tinydeploy.devices.lock import held
from tinydeploy.devices.measure import measure, timed_layers
from tinydeploy.devices.protocol import Identity
from tinydeploy.devices.session import Session, infer_timeout_s
from tinydeploy.errors import FirmwareFaultError
from tinydeploy.ports import Meter
from tinydeploy.types import Build, DeviceProfile, Measurement, Profile


class SerialRunner:
    """Runs builds that are on a board already: implements `tinydeploy.ports.Runner`.

    `port` is a device (/dev/ttyACM0, COM3), a URL (socket://HOST:PORT) or a board's serial number;
    without it, the plugged-in board with the USB ids of the profile that runs the build is taken.
    `baudrate` is the profile's unless given. The port is locked as long as it is used.
    """

    def __init__(
        self,
        port: str = "",
        baudrate: int | None = None,
        *,
        meter: Meter | None = None,
        lister: Lister = attached,
    ) -> None:
        self._port = port
        self._baudrate = baudrate
        self._meter = meter
        self._lister = lister

    @contextmanager
    def session(self, build: Build, device: DeviceProfile) -> Iterator[Session]:
        """A session with the board. Raises LinkError, and what a crash means in `build`."""
        if self._port:
            port = find_port(self._port, self._lister)
        else:
            port = port_of(device, build.build_id, self._lister)
        baudrate = self._baudrate or device.baud
        limit_s = infer_timeout_s(device)
        with held(port), open_link(port, baudrate=baudrate) as link:
            try:
                yield Session(link, infer_timeout_s=limit_s)
            except FirmwareFaultError as e:
                raise explain(e, build.elf, device.toolchain_prefix) from e

    def run(
        self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Measurement]:
        """See `tinydeploy.ports.Runner`; the board has to carry `build` already."""
        with self.session(build, device) as session:
            return measure(session, build, device, inputs, meter=self._meter)

    def profile(self, build: Build, device: DeviceProfile, inputs: Sequence[np.ndarray]) -> Profile:
        """See `tinydeploy.ports.Runner`; one inference, of the first sample."""
        profile.marked_layers(Elf(build.elf))
        with self.session(build, device) as session:
            return timed_layers(session, build, device, inputs)

    def identify(self, build: Build, device: DeviceProfile) -> Identity:
        """Ask the board who it is; raises as `run` does."""
        with self.session(build, device) as session:
            return session.require(build)
