"""A meter without hardware: it reads its energy from a script."""

from __future__ import annotations

from collections.abc import Sequence

from tinydeploy.errors import UsageError


class ScriptedMeter:
    """Gives the values of `energy_uj` one after the other, then from the start again."""

    def __init__(self, energy_uj: Sequence[float]) -> None:
        if not energy_uj:
            raise UsageError("a scripted meter needs values", hint="one or more, in microjoules")
        self._energy_uj = tuple(energy_uj)
        self._windows = 0
        self._open = False

    def start(self) -> None:
        """See `tinydeploy.ports.Meter`."""
        if self._open:
            raise UsageError("the meter's window is open already", hint="stop it first")
        self._open = True

    def stop(self) -> float:
        """See `tinydeploy.ports.Meter`."""
        if not self._open:
            raise UsageError("the meter's window is not open", hint="start it first")
        self._open = False
        energy_uj = self._energy_uj[self._windows % len(self._energy_uj)]
        self._windows += 1
        return energy_uj
