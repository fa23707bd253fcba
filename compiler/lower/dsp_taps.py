"""DEPTHWISE_CONV_2D along one axis with the DSP extension; see td_taps_dsp.c."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tinydeploy.compiler.lower.layer import Layer, read_depthwise
from tinydeploy.compiler.lower.packing import bytes_of_words
from tinydeploy.compiler.lower.requant import Requant, requant
from tinydeploy.compiler.lower.variant import Candidate, Cost, by_kernel
from tinydeploy.compiler.lower.window import reaches_outside
from tinydeploy.compiler.program import Call, Data

CHANNELS = 4
UNROLLED, PAIR_BYTES = 8, 72  # pairs of taps in the code

PAIR = Cost(18, 21)
SINGLE = Cost(12, 19)
GROUP = Cost(43, 64)
POSITION = Cost(70, 110)
GATHERED = Cost(1.5, 2.5)  # a byte of a window at the border


def make(call: Call) -> Candidate | None:
    """Windows whose taps are all one step apart."""
    w = call.params["window"]
    step = _step(w)
    if call.params["multiplier"] != 1 or w["in_c"] % CHANNELS or step is None:
        return None
    layer = read_depthwise(call)
    scale = requant(layer)
    if scale is None or layer.depth > 2 * UNROLLED + 1:
        return None
    stream = _stream(layer, scale)
    params = {
        "window": w,
        "in_zero": layer.in_zero,
        "out_min": layer.out_min,
        "out_max": layer.out_max,
        "step": step,
        "taps": {
            "stream": Data("weights", stream),
            "stream_bytes": stream.nbytes,
            "skip_bytes": (UNROLLED - layer.depth // 2) * PAIR_BYTES,
            "single": layer.depth % 2,
            "zero_and_half": 2 * layer.out_zero + 1,
        },
    }
    outside = reaches_outside(dict(w))
    replaced = by_kernel(
        call,
        "td_taps_depthwise_s8_dsp",
        params,
        layer.depth * layer.channels if outside else 0,
        in_place=(),
    )
    group = PAIR.times(layer.depth // 2).plus(SINGLE.times(layer.depth % 2)).plus(GROUP)
    position = group.times(layer.channels // CHANNELS).plus(POSITION)
    if outside:  # as if all were
        position = position.plus(GATHERED.times(layer.depth * layer.channels))
    return Candidate(replaced, *position.times(layer.rows))


def _step(w: Mapping[str, int]) -> int | None:
    """Bytes between neighbouring taps, None where they differ."""
    if w["k_w"] == 1:
        return w["in_w"] * w["in_c"] * w["dilation_h"]
    if w["k_h"] == 1:
        return w["in_c"] * w["dilation_w"]
    return None


def _stream(layer: Layer, scale: Requant) -> np.ndarray:
    """[groups of channels][words] as struct td_taps_dsp says."""
    groups, single = layer.channels // CHANNELS, layer.depth % 2
    weights = layer.weights.reshape(groups, CHANNELS, -1)
    first, others = weights[:, :, :single], weights[:, :, single:]
    # From [channels][taps] to [pairs of taps][pairs of channels][tap][channel].
    taps = others.reshape(groups, 2, 2, -1, 2).transpose(0, 3, 1, 4, 2)
    weight_bytes = [np.ascontiguousarray(a).reshape(groups, -1) for a in (first, taps)]
    return np.concatenate(
        [
            layer.bias.reshape(groups, CHANNELS),
            np.concatenate(weight_bytes, axis=1).view(np.int32),
            scale.multiplier.reshape(groups, CHANNELS),
            bytes_of_words(scale.down.reshape(groups, CHANNELS)).reshape(groups, 1),
        ],
        axis=1,
    )
