"""DEPTHWISE_CONV_2D with the DSP extension; see td_depthwise_dsp.c and td_line_dsp.c."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tinydeploy.compiler.lower.layer import Layer, read_depthwise
from tinydeploy.compiler.lower.packing import bytes_of_words, padded
from tinydeploy.compiler.lower.requant import Requant, requant
from tinydeploy.compiler.lower.variant import Candidate, Cost, by_kernel
from tinydeploy.compiler.program import Call, Data

_SCRATCH_LIMIT_BYTES = 8192


@dataclass(frozen=True)
class Axis:
    """One dimension of a window: sizes in positions, `step` and `out_step` in bytes."""

    size: int
    out: int
    k: int
    stride: int
    pad: int
    step: int
    out_step: int


def make_rows(call: Call) -> Candidate | None:
    """Lines along rows of the image."""
    w = call.params["window"]
    return _make(call, _axis(w, "h"), _axis(w, "w"), along_rows=True)


def make_columns(call: Call) -> Candidate | None:
    """Lines along its columns."""
    w = call.params["window"]
    return _make(call, _axis(w, "w"), _axis(w, "h"), along_rows=False)


def _axis(w: Mapping[str, int], name: str) -> Axis:
    pixel = 1 if name == "w" else w["in_w"]
    out_pixel = 1 if name == "w" else w["out_w"]
    return Axis(
        size=w[f"in_{name}"],
        out=w[f"out_{name}"],
        k=w[f"k_{name}"],
        stride=w[f"stride_{name}"],
        pad=w["pad_top" if name == "h" else "pad_left"],
        step=pixel * w["in_c"],
        out_step=out_pixel * w["out_c"],
    )


def _make(call: Call, across: Axis, along: Axis, *, along_rows: bool) -> Candidate | None:
    w = call.params["window"]
    if (
        call.params["multiplier"] != 1
        or w["in_c"] % 4
        or w["dilation_h"] != 1
        or w["dilation_w"] != 1
    ):
        return None
    layer = read_depthwise(call)
    scale = requant(layer)
    if scale is None:
        return None
    by_three = across.k == along.k == 3 and along.stride in (1, 2)
    pairs = -(-along.out // 2)
    words = -(-(along.k + along.stride) // 2)
    if not by_three and words * across.k % 2:
        words += 1
    line_pairs = along.stride * (pairs - 1) + words
    scratch = 16 * across.k * line_pairs + (0 if by_three else 8 * words * across.k)
    if scratch > _SCRATCH_LIMIT_BYTES:
        return None
    constants = _constants(layer, scale, by_three, along_rows)
    params = {
        "batches": w["batches"],
        "in_bytes": w["in_h"] * w["in_w"] * w["in_c"],
        "out_bytes": w["out_h"] * w["out_w"] * w["out_c"],
        "channels": layer.channels,
        "channel_words": constants.shape[1],
        "in_lines": across.size,
        "in_line_step": across.step,
        "lines_before": across.pad,
        "out_lines": across.out,
        "out_line_step": across.out_step,
        "line_stride": across.stride,
        "inside": min(along.size, 2 * line_pairs - along.pad),
        "in_step": along.step,
        "before": along.pad,
        "line_pairs": line_pairs,
        "keeps": int(by_three),
        "in_zero": layer.in_zero,
        "out_min": layer.out_min,
        "out_max": layer.out_max,
        "line": _line(along.stride, scale.relu) if by_three else "td_line_any_dsp",
        "constants": Data("weights", constants),
        "shape": {
            "pairs": along.out // 2,
            "odd": along.out % 2,
            "out_step": along.out_step,
            "zero_and_half": 2 * layer.out_zero + 1,
            "rows": across.k,
            "k": along.k,
            "stride": along.stride,
            "words": words,
        },
    }
    reads_once = by_three or across.k == 1
    same_size = (w["out_h"], w["out_w"]) == (w["in_h"], w["in_w"])
    one_line = across.size == 1 and along.out <= along.size
    shrinks = along_rows and w["out_h"] <= w["in_h"] and w["out_w"] <= w["in_w"]
    replaced = by_kernel(
        call,
        "td_depthwise_s8_dsp",
        params,
        scratch,
        in_place=(0,) if reads_once and (same_size or shrinks or one_line) else (),
    )
    cost = _cost(layer, across, pairs, line_pairs, words, by_three)
    return Candidate(replaced, *cost, "rows" if along_rows else "columns")


def _line(stride: int, relu: bool) -> str:
    return f"td_line_3x3{'_stride_2' if stride == 2 else ''}{'_relu' if relu else ''}_dsp"


def _constants(layer: Layer, scale: Requant, by_three: bool, along_rows: bool) -> np.ndarray:
    """[channels][words] as struct td_line_dsp says."""
    channels = layer.channels
    w = layer.window
    weights = layer.weights.reshape(channels, w["k_h"], w["k_w"])
    if not along_rows:
        weights = weights.transpose(0, 2, 1)
    if by_three:
        bytes_ = padded(weights, 4, axis=2).astype(np.int64)
        bytes_[:, 0, 3] = scale.down
    else:
        flat = padded(weights.reshape(channels, -1), 4, axis=1)
        bytes_ = flat.reshape(channels, -1, 4).astype(np.int64)
    words = bytes_of_words((bytes_ & 0xFF).reshape(-1, 4)).reshape(channels, -1)
    head = [(2 * layer.bias.astype(np.int64)).astype(np.int32), scale.multiplier]
    if not by_three:
        head.append(scale.down)
    return np.concatenate([np.stack(head, axis=1), words], axis=1)


def _cost(
    layer: Layer, across: Axis, pairs: int, line_pairs: int, words: int, by_three: bool
) -> Cost:
    """About what the kernels take, from their assembler and from counts of the emulator."""
    lines = layer.channels * across.out * layer.window["batches"]
    turned = across.stride if by_three else across.k
    turning = Cost(5, 7.5).times(turned * line_pairs).plus(Cost(15, 22))
    if by_three:
        line = Cost(30, 43).times(pairs).plus(Cost(60, 85))
    else:
        taps = words * across.k
        line = Cost(4.5, 7).times(taps).plus(Cost(26, 38)).times(pairs)
        line = line.plus(Cost(20, 29).times(taps)).plus(Cost(60, 85))
    return line.plus(turning).times(lines)
