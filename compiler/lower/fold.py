"""Constant folding: what Keras' converters leave of shape arithmetic, done at compile time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tinydeploy.graph import Graph, Op


def fold(op: Op, graph: Graph, known: Mapping[int, np.ndarray]) -> np.ndarray | None:
    """The value of an op's only output if it is known at compile time, else None.

    `known` holds what was folded before. SHAPE folds always: shapes are fixed.
    """
    if op.name not in _FOLDERS or len(op.outputs) != 1:
        return None
    output = graph.tensors[op.outputs[0]]
    if op.name == "SHAPE":
        if not op.inputs or op.inputs[0] < 0:
            return None
        values: list[np.ndarray] = [np.array(graph.tensors[op.inputs[0]].shape)]
    else:
        found = [known.get(t, graph.tensors[t].data) for t in op.inputs if t >= 0]
        if any(value is None for value in found):
            return None
        values = [value for value in found if value is not None]
    try:
        result = _FOLDERS[op.name](op, values)
        return result.astype(output.dtype).reshape(output.shape)
    except (ValueError, IndexError, TypeError):
        return None  # the lowering of the op, or its absence, reports it


def _strided_slice(op: Op, values: Sequence[np.ndarray]) -> np.ndarray:
    data, begin, end, strides = values
    masks = {name: op.options.get(name, 0) for name in ("begin_mask", "end_mask")}
    if op.options.get("ellipsis_mask") or op.options.get("new_axis_mask"):
        raise ValueError("masks that change the rank")
    index: list[int | slice] = []
    for axis, (b, e, s) in enumerate(zip(begin, end, strides, strict=True)):
        if op.options.get("shrink_axis_mask", 0) >> axis & 1:
            index.append(int(b))
            continue
        first = None if masks["begin_mask"] >> axis & 1 else int(b)
        last = None if masks["end_mask"] >> axis & 1 else int(e)
        index.append(slice(first, last, int(s)))
    return np.asarray(data[tuple(index)])


_FOLDERS: dict[str, Callable[[Op, Sequence[np.ndarray]], np.ndarray]] = {
    "SHAPE": lambda op, values: values[0],
    "BROADCAST_ARGS": lambda op, values: np.array(np.broadcast_shapes(*map(tuple, values))),
    "(view)": lambda op, values: values[0],
    "STRIDED_SLICE": _strided_slice,
    "PACK": lambda op, values: np.stack(values, axis=op.options.get("axis", 0)),
    "RESHAPE": lambda op, values: values[0],
    "SQUEEZE": lambda op, values: values[0],
    "EXPAND_DIMS": lambda op, values: values[0],
    "CONCATENATION": lambda op, values: np.concatenate(values, axis=op.options["axis"]),
}
