"""Random layers whose parameters lie at their limits, or beyond what converters make."""

from __future__ import annotations

import numpy as np
from random_layers import LayerMaker

PLAIN_SCALE = 0.3
"""How often a scale is an ordinary one: an extreme beside an ordinary one is a case of its own."""


class LimitMaker(LayerMaker):
    """A LayerMaker with zero points at the ends, scales from 2^-20 to 2^4, large strides.

    Strides are often larger than the kernel, dilation goes up to 4, and windows reach far outside
    of the image.
    """

    def scale(self) -> float | None:
        if self.dtype not in ("int8", "int16"):
            return None
        span = (-9, -2) if self.rng.random() < PLAIN_SCALE else (-20, 4)
        return float(np.float32(2.0 ** self.rng.uniform(*span)))

    def zero(self) -> int:
        if self.dtype != "int8":
            return 0
        return int(self.rng.choice((-128, 127)))

    def window(self, size: int, largest: int = 4) -> tuple[str, int, int, int, int]:
        while True:
            padding = str(self.rng.choice(("SAME", "VALID")))
            kernel = self.integer(1, 7)
            stride = int(self.rng.choice((1, 1, kernel + self.integer(1, 3))))
            dilation = self.integer(1, 4) if stride == 1 else 1
            reach = (kernel - 1) * dilation + 1
            out = -(-size // stride) if padding == "SAME" else (size - reach) // stride + 1
            if out >= 1 and (padding == "SAME" or reach <= size):
                return padding, kernel, stride, dilation, out
