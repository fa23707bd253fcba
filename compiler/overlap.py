"""How far a kernel's output may reach into its input: what the order of reads and writes allows.

A kernel that goes through its input in order has no use for what it has read; its output may be
written there. For each kernel this module knows the order, and computes from a call's shapes the
smallest `distance` in bytes by which the output has to begin below the input, so that no byte is
written before it was read for the last time. A distance of the output's size is no overlap at all.

For every unit of work u (a pixel, a line of them) let end(u) be where its output ends, counted from
the output's start, and need(u) the first input byte, counted from the input's start, that u or any
later unit reads. Where u is read completely before it is written, the distance is the maximum of
end(u) - need(u + 1), otherwise of end(u) - need(u).

A kernel that is not in the table gets no overlap. tests/compiler/test_overlap.py runs kernels with
their output at exactly this distance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from tinydeploy.compiler.program import Call

# The smallest distance in bytes; "same": both begin at the same byte; "anywhere": all is read
# before anything is written.
Overlap = int | Literal["same", "anywhere"]

_ITEM_BYTES = {"s8": 1, "s16": 2, "f32": 4}


def overlap_with(call: Call, operand: int) -> Overlap | None:
    """How the call's output may lie over the memory of an operand that nobody reads later.

    None where it may not.
    """
    if operand in call.in_place:
        return "same"
    order = _ORDERS.get(call.kernel)
    if order is None or operand != 0:
        return None
    overlap = order(call)
    if isinstance(overlap, int):
        return max(overlap + call.output_offset_bytes, 0)
    return overlap


def scratch_over(call: Call, operand: int) -> int | None:
    """The smallest distance by which scratch memory that is written while an operand is read has to
    begin below it; None where the two lie apart."""
    if call.kernel != "td_vector_s8_dsp" or operand != 0:
        return None
    # Groups of four inputs become eight bytes, in order.
    read = np.arange(4, call.params["product"]["depth"], 4, dtype=np.int64)
    return _distance(2 * read, read) if read.size else 0


def _distance(ends: np.ndarray, needs: np.ndarray) -> int:
    """max(end(u) - need(u)), `needs` being what each unit alone reads first."""
    later = np.minimum.accumulate(needs[::-1])[::-1]
    return int((ends - later).max())


def _read_first(ends: np.ndarray, needs: np.ndarray) -> Overlap:
    """The distance where each unit is read before it is written."""
    return _distance(ends[:-1], needs[1:]) if ends.size > 1 else "anywhere"


def _ends(units: int, unit_bytes: int) -> np.ndarray:
    return (np.arange(units, dtype=np.int64) + 1) * unit_bytes


def _needs(w: Mapping[str, int], item: int) -> np.ndarray:
    """The first byte of the window of every output position, [batches][out_h][out_w]."""
    y = np.clip(np.arange(w["out_h"]) * w["stride_h"] - w["pad_top"], 0, w["in_h"])
    x = np.clip(np.arange(w["out_w"]) * w["stride_w"] - w["pad_left"], 0, w["in_w"])
    image = np.arange(w["batches"], dtype=np.int64) * w["in_h"] * w["in_w"]
    pixels = image[:, None, None] + y[None, :, None] * w["in_w"] + x[None, None, :]
    return pixels * w["in_c"] * item


def _lines(w: Mapping[str, int], item: int, together: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Ends and needs of groups of `together` lines of outputs; a batch begins a new group."""
    starts = np.arange(0, w["out_h"], together)
    stops = np.minimum(starts + together, w["out_h"])
    image = np.arange(w["batches"])[:, None] * w["out_h"]
    ends = (image + stops) * w["out_w"] * w["out_c"] * item
    needs = np.minimum.reduceat(_needs(w, item).min(axis=2), starts, axis=1)
    return ends.reshape(-1), needs.reshape(-1)


def _pixel_ends(w: Mapping[str, int], item: int) -> np.ndarray:
    return _ends(w["batches"] * w["out_h"] * w["out_w"], w["out_c"] * item)


def _item(call: Call) -> int:
    return _ITEM_BYTES[call.kernel.rsplit("_", 1)[1]]


def _matmul(call: Call) -> Overlap:
    """A row's channels are written while others still read the row."""
    p, item = call.params, _item(call)
    rows = np.arange(p["rows"], dtype=np.int64)
    return _distance(_ends(p["rows"], p["channels"] * item), rows * p["depth"] * item)


def _matmul_coded(call: Call) -> Overlap | None:
    """As without a code, unless all rows are read for one block of channels after the other."""
    p = call.params["product"]
    if call.params["block"] < p["channels"]:
        return None
    rows = np.arange(p["rows"], dtype=np.int64)
    return _distance(_ends(p["rows"], p["channels"]), rows * p["depth"])


def _conv_coded(call: Call) -> Overlap | None:
    """As without a code, unless the image is read for one block of channels after the other."""
    matmul, w = call.params["matmul"], call.params["window"]
    if matmul["block"] < matmul["product"]["channels"]:
        return None
    return _read_first(_pixel_ends(w, 1), _needs(w, 1).reshape(-1))


def _matmul_columns(call: Call) -> Overlap:
    """Rows are widened to columns before they are multiplied."""
    p = call.params["product"]
    rows = np.arange(p["rows"], dtype=np.int64)
    return _read_first(_ends(p["rows"], p["channels"]), rows * p["depth"])


def _matmul_pairs(call: Call) -> Overlap:
    """Two rows at a time, `step` bytes apart, read while they are written."""
    p = call.params
    starts = np.arange(0, p["rows"], 2, dtype=np.int64)
    stops = np.minimum(starts + 2, p["rows"])
    return _distance(stops * p["product"]["channels"], starts * p["step"])


def _conv(call: Call) -> Overlap:
    """Each window is gathered before it is multiplied."""
    w, item = call.params["window"], _item(call)
    return _read_first(_pixel_ends(w, item), _needs(w, item).reshape(-1))


def _conv_columns(call: Call) -> Overlap:
    """The windows of a block are widened before it is multiplied."""
    w = call.params["window"]
    return _read_first(_pixel_ends(w, 1), _needs(w, 1).reshape(-1))


def _conv_strip(call: Call) -> Overlap:
    """The rows that a line of outputs needs are copied before it is begun."""
    return _read_first(*_lines(call.params["window"], 1))


def _conv_tall(call: Call) -> Overlap:
    """`tall` lines of outputs are written together, from the left to the right."""
    return _distance(*_lines(call.params["window"], 1, call.params["tall"]))


def _by_channel(w: Mapping[str, int], item: int) -> Overlap:
    """Windows whose channel c alone makes channel c of the output, written channel after channel:
    of the pixel itself, what is written lies as far behind what is read as their starts."""
    ends = _pixel_ends(w, item) - w["out_c"] * item
    return _distance(ends, _needs(w, item).reshape(-1))


def _depthwise(call: Call) -> Overlap:
    w, item = call.params["window"], _item(call)
    if call.params["multiplier"] == 1:
        return _by_channel(w, item)
    return _distance(_pixel_ends(w, item), _needs(w, item).reshape(-1))


def _depthwise_groups(call: Call) -> Overlap:
    """Four channels of a position after the other."""
    return _by_channel(call.params["window"], 1)


def _depthwise_coded(call: Call) -> Overlap:
    """All weights are decoded first."""
    layer = call.params["layer"]
    if layer["multiplier"] == 1:
        return _by_channel(layer["window"], 1)
    return _distance(_pixel_ends(layer["window"], 1), _needs(layer["window"], 1).reshape(-1))


def _depthwise_lines(call: Call) -> Overlap:
    """Sixteen channels of a line after the other, each reads all of the line's rows."""
    return _distance(*_lines(call.params["window"], 1))


def _depthwise_column(call: Call) -> Overlap | None:
    """Sixteen channels of an image after the other: in place if all their rows are read at once."""
    w = call.params["window"]
    whole = call.params["span"] >= w["out_h"] and w["out_h"] <= w["in_h"]
    return "same" if whole else None


def _pool(call: Call) -> Overlap:
    return _by_channel(call.params["window"], _ITEM_BYTES[call.kernel.split("_")[3]])


def _vector_columns(call: Call) -> Overlap:
    return "anywhere"


def _elements(in_bytes: int, out_bytes: int) -> Callable[[Call], Overlap]:
    """Element by element, of these sizes."""

    def order(call: Call) -> Overlap:
        count = np.arange(call.params["elements"], dtype=np.int64)
        return _read_first(_ends(count.size, out_bytes), count * in_bytes)

    return order


def _pad(call: Call) -> Overlap:
    """Runs of the innermost dimension are copied, with fill between them."""
    return _distance(*pad_runs(call.params))


def pad_runs(p: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Where the copied runs of a PAD end in the output and begin in the input, in bytes."""
    size, before, after = (np.array(p[key], np.int64) for key in ("in_size", "before", "after"))
    steps = np.append(np.cumprod((size + before + after)[:0:-1])[::-1], 1)
    at = np.zeros((1,), np.int64)
    for d in range(len(size) - 1):
        positions = (np.arange(size[d]) + before[d]) * steps[d]
        at = (at[:, None] + positions).reshape(-1)
    ends = (at + before[-1] + size[-1]) * p["element_bytes"]
    return ends, np.arange(at.size) * size[-1] * p["element_bytes"]


_ORDERS: dict[str, Callable[[Call], Overlap | None]] = {
    **{f"td_matmul_{s}": _matmul for s in _ITEM_BYTES},
    **{f"td_conv_{s}": _conv for s in _ITEM_BYTES},
    **{f"td_depthwise_{s}": _depthwise for s in _ITEM_BYTES},
    **{f"td_{kind}_pool_{s}": _pool for kind in ("average", "max") for s in _ITEM_BYTES},
    "td_requantize_s8_s16": _elements(1, 2),
    "td_requantize_s16_s8": _elements(2, 1),
    "td_quantize_s8": _elements(4, 1),
    "td_dequantize_s8": _elements(1, 4),
    "td_pad": _pad,
    "td_matmul_s8_coded": _matmul_coded,
    "td_depthwise_s8_coded": _depthwise_coded,
    "td_conv_s8_coded": _conv_coded,
    "td_matmul_s8_packed": _matmul_columns,
    "td_conv_s8_packed": _conv_columns,
    "td_matmul_s8_dsp": _matmul_columns,
    "td_vector_s8_dsp": _vector_columns,
    "td_conv_s8_dsp": _conv_columns,
    "td_strip_conv_s8_dsp": _conv_strip,
    "td_winograd_s8_dsp": _conv_tall,
    "td_taps_depthwise_s8_dsp": _depthwise_groups,
    "td_average_pool_s8_mve": _pool,
    "td_max_pool_s8_mve": _pool,
    "td_matmul_s8_mve": _matmul_pairs,
    "td_conv_s8_mve": _conv_tall,
    "td_patch_conv_s8_mve": _conv_columns,
    "td_depthwise_s8_mve": _depthwise_lines,
    "td_depthwise_column_s8_mve": _depthwise_column,
}
