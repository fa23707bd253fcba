"""Does a linked firmware fit its board? Judged from the linker's figures, before flashing."""

from __future__ import annotations

from tinydeploy.errors import DoesNotFitError
from tinydeploy.types import DeviceProfile, Footprint


def check(footprint: Footprint, device: DeviceProfile) -> str:
    """Empty if it fits, otherwise plain words with the numbers, flash first.

    `ram_bytes` counts the stack with its reserved size until a device has reported how deep it
    went, so what fits here fits the board.
    """
    return "; ".join(
        f"needs {need:,} B of {memory}, {device.name} has {limit:,} B ({need - limit:,} B too much)"
        for memory, need, limit in _memories(footprint, device)
        if need > limit
    )


def require_fit(footprint: Footprint, device: DeviceProfile) -> None:
    """Raise DoesNotFitError with the numbers and the largest part of each memory that is short."""
    if problem := check(footprint, device):
        raise DoesNotFitError(problem, hint=_hint(footprint, device))


def _memories(footprint: Footprint, device: DeviceProfile) -> list[tuple[str, int, int]]:
    """(name, bytes needed, bytes there) of both memories."""
    return [
        ("flash", footprint.flash_bytes, device.flash_bytes),
        ("RAM", footprint.ram_bytes, device.ram_bytes),
    ]


def _hint(footprint: Footprint, device: DeviceProfile) -> str:
    splits = {"flash": footprint.flash, "RAM": footprint.ram}
    largest = []
    for memory, need, limit in _memories(footprint, device):
        if need > limit and splits[memory]:
            part, size = max(splits[memory].items(), key=lambda item: item[1])
            largest.append(f"{size:,} B of the {memory} is {part}")
    advice = "choose a smaller model, another recipe or a larger board"
    return f"{', '.join(largest)}: {advice}" if largest else advice
