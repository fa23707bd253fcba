"""An inference taken apart: the counter's figures, or the device's own clock, layer by layer."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tinydeploy.devices.counter import Layers, Region, less
from tinydeploy.devices.elf import Elf
from tinydeploy.devices.session import LayerTime
from tinydeploy.errors import UsageError
from tinydeploy.types import Build, DeviceProfile, LayerCost, Origin, Profile

MARK = "td_profile_mark"
LAYERS = "td_profile_layers"
_ENTRY_BYTES = 8
_BESIDES = 2  # entries behind those of the layers: what is in none, what a mark costs


def marked_layers(elf: Elf) -> int:
    """How many layers a firmware marks. Raises UsageError if it was not built for a profile."""
    extent = elf.extent(LAYERS)
    if extent is None:
        raise UsageError(
            "this firmware does not mark its layers", hint="`tinydeploy profile` builds its own"
        )
    return extent[1] // _ENTRY_BYTES - _BESIDES


def counted(build: Build, device: DeviceProfile, region: Region, layers: Layers) -> Profile:
    """The profile of an inference that an emulator counted, the cost of the marks subtracted."""
    elf = Elf(build.elf)
    count = marked_layers(elf)
    mark = layers.regions[count + 1]
    whole = less(region, mark, sum(layers.begun.values()))
    origin: dict[str, Origin] = {"instructions": "emulated"}
    if whole.cycles is not None:
        origin["cycles_model"] = "estimated"
    names = _Functions(build.elf)
    costs = []
    for number in sorted(n for n in layers.regions if n < count):
        cost = less(layers.regions[number], mark, layers.begun[number])
        costs.append(
            LayerCost(
                layer=number,
                begun=layers.begun[number],
                instructions=cost.instructions,
                cycles_model=cost.cycles,
                classes={name: n for name, n in cost.classes.items() if n},
                functions=names.sums(layers.code.get(number, {})),
            )
        )
    return Profile(
        build_id=build.build_id,
        board=device.name,
        layers=tuple(costs),
        instructions=whole.instructions,
        cycles_model=whole.cycles,
        origin=origin,
    )


def timed(
    build: Build, device: DeviceProfile, whole_us: float, layers: Sequence[LayerTime]
) -> Profile:
    """The profile of an inference by the device's own clock."""
    costs = [
        LayerCost(layer=number, begun=layer.begun, latency_us=float(layer.us))
        for number, layer in enumerate(layers)
        if layer.begun
    ]
    return Profile(
        build_id=build.build_id,
        board=device.name,
        layers=tuple(costs),
        latency_us=whole_us,
        origin={"latency_us": "measured"},
    )


class _Functions:
    """The functions of a firmware by address."""

    def __init__(self, elf: Path) -> None:
        self._functions = Elf(elf).functions()
        self._starts = [address for address, _, _ in self._functions]

    def sums(self, code: dict[int, int]) -> dict[str, int]:
        """Instructions by function, most first, without those of the marks."""
        found: Counter[str] = Counter()
        for address, instructions in code.items():
            index = bisect_right(self._starts, address) - 1
            found[self._functions[index][2] if index >= 0 else "?"] += instructions
        del found[MARK]
        return dict(found.most_common())
