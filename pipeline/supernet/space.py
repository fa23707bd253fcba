"""What a supernet can be cut down to: its choices, and what each of them computes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinydeploy.errors import UsageError
from tinydeploy.tomlfile import parse, read_toml

CHANNELS_STEP = 4
"""Channels are multiples of it, which kernels for Cortex-M like."""
CHOICES = ("width", "depth", "kernel", "resolution")
"""The fields of Choice; Space has the values of each."""


@dataclass(frozen=True, order=True)
class Choice:
    """One net of the family.

    A share of all channels, blocks a stage, the side of depthwise kernels, and to what share of its
    height and width a sample is made smaller first.
    """

    width: float
    depth: int
    kernel: int
    resolution: float = 1.0

    @property
    def name(self) -> str:
        """For example ``w50-d2-k3``, or ``w50-d2-k3-r75`` of samples made smaller."""
        name = f"w{100 * self.width:g}-d{self.depth}-k{self.kernel}"
        smaller = f"-r{100 * self.resolution:g}" if self.resolution != 1 else ""
        return (name + smaller).replace(".", "_")

    def within(self, other: Choice) -> bool:
        """Whether it is no larger than `other` in any way, so that it needs no more memory.

        What makes samples smaller needs memory that a net of whole samples does not.
        """
        return (
            self.width <= other.width
            and self.depth <= other.depth
            and self.kernel <= other.kernel
            and (self.resolution == other.resolution or self.resolution < other.resolution < 1)
        )


@dataclass(frozen=True)
class Space:
    """A family of depthwise-separable CNNs (MobileNet's blocks), and the file that describes it.

    A stem convolution with stride 2, then `stages` of blocks: (channels, stride of the first
    block). Every combination of `widths`, `depths`, `kernels` and `resolutions` is a net of the
    family; the largest of each make the net that all others are parts of.
    """

    stem: int = 16
    stem_kernel: int = 5
    stages: tuple[tuple[int, int], ...] = ((32, 1), (64, 2))
    widths: tuple[float, ...] = (0.25, 0.5, 0.75, 1.0)
    depths: tuple[int, ...] = (1, 2, 3)
    kernels: tuple[int, ...] = (3, 5)
    resolutions: tuple[float, ...] = (1.0,)

    @property
    def largest(self) -> Choice:
        """The whole supernet."""
        return self._end(max)

    @property
    def smallest(self) -> Choice:
        """The part that all nets have in common."""
        return self._end(min)

    def _end(self, of: Callable[..., Any]) -> Choice:
        return Choice(of(self.widths), of(self.depths), of(self.kernels), of(self.resolutions))

    def choices(self) -> tuple[Choice, ...]:
        """All nets of the family, smallest first."""
        found = itertools.product(self.widths, self.depths, self.kernels, self.resolutions)
        return tuple(sorted(Choice(*values) for values in found))

    def require(self, choice: Choice) -> Choice:
        """The choice, if the family has it. Raises UsageError with what there is."""
        for what in CHOICES:
            there = getattr(self, f"{what}s")
            if getattr(choice, what) not in there:
                raise UsageError(
                    f"{what} {getattr(choice, what)} is not in this supernet",
                    hint=f"{what}s: {', '.join(f'{v:g}' for v in there)}",
                )
        return choice


def channels(count: int, width: float) -> int:
    """`width` of `count` channels, rounded to a multiple of CHANNELS_STEP."""
    return max(CHANNELS_STEP, round(count * width / CHANNELS_STEP) * CHANNELS_STEP)


def alone(space: Space, choice: Choice) -> Space:
    """A family with one net only, which is `choice` of `space`."""
    return Space(
        channels(space.stem, choice.width),
        space.stem_kernel,
        tuple((channels(count, choice.width), stride) for count, stride in space.stages),
        (1.0,),
        (choice.depth,),
        (choice.kernel,),
        (choice.resolution,),
    )


def resized(shape: tuple[int, ...], resolution: float) -> tuple[int, int]:
    """Height and width of a sample (height, width, channels) that is made smaller."""
    return max(1, round(shape[0] * resolution)), max(1, round(shape[1] * resolution))


def macs(space: Space, choice: Choice, shape: tuple[int, ...], classes: int) -> int:
    """Multiply-accumulates of one inference, positions in the padding included.

    `shape` is that of a sample, (height, width, channels).
    """
    height, breadth = (math.ceil(side / 2) for side in resized(shape, choice.resolution))
    inner = channels(space.stem, choice.width)
    total = height * breadth * space.stem_kernel**2 * shape[2] * inner
    for count, first_stride in space.stages:
        outer = channels(count, choice.width)
        for block in range(choice.depth):
            stride = first_stride if block == 0 else 1
            height, breadth = math.ceil(height / stride), math.ceil(breadth / stride)
            total += height * breadth * inner * (choice.kernel**2 + outer)
            inner = outer
    return total + inner * classes


def load_space(path: Path | None) -> Space:
    """The family that a TOML file describes, or the usual one. Raises UsageError with the place."""
    if path is None:
        return Space()
    space = parse(Space, read_toml(path), path)
    if key := wrong_key(space):
        raise UsageError(f"{path}: {key} = {getattr(space, key)}", hint=_ALLOWED[key])
    return space


def wrong_key(space: Space) -> str:
    """The key of a family whose values make no sense, or ""."""
    wrong = {
        "stem": not 1 <= space.stem <= 1024,
        "stem_kernel": space.stem_kernel not in (1, 3, 5, 7),
        "stages": not 1 <= len(space.stages) <= _MOST_VALUES
        or any(not (1 <= c <= 4096 and s in (1, 2)) for c, s in space.stages),
        "widths": any(not 0 < w <= 1 for w in space.widths),
        "depths": any(not 1 <= d <= 16 for d in space.depths),
        "kernels": any(k not in (1, 3, 5, 7, 9) for k in space.kernels),
        "resolutions": any(not 0 < r <= 1 for r in space.resolutions),
    }
    for key in (f"{what}s" for what in CHOICES):
        values = getattr(space, key)
        wrong[key] |= not 1 <= len(values) <= _MOST_VALUES or len(set(values)) != len(values)
    return next((key for key, is_wrong in wrong.items() if is_wrong), "")


_MOST_VALUES = 32
_ALLOWED = {
    "stem": "channels of the first convolution",
    "stem_kernel": "1, 3, 5 or 7",
    "stages": "at least one [channels, stride], with stride 1 or 2",
    "widths": "shares of the channels, above 0 and at most 1, none twice",
    "depths": "blocks a stage, 1 to 16, none twice",
    "kernels": "odd sides of depthwise kernels, 1 to 9, none twice",
    "resolutions": "shares of a sample's height and width, above 0 and at most 1, none twice",
}
