"""Input and output files of `run` and `measure`: `.npy`, or `.npz` keyed by tensor name."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from tinydeploy.errors import UsageError
from tinydeploy.graph import Graph, Tensor
from tinydeploy.store import write_atomic


def load_inputs(path: Path, graph: Graph) -> list[np.ndarray]:
    """One array a model input, (N, *sample shape), in the model's own dtypes.

    Raises UsageError for a file that is no array file, another dtype, shape or number of samples.
    """
    tensors = [graph.tensors[i] for i in graph.inputs]
    arrays = _read(path)
    if len(arrays) == 1 and len(tensors) == 1:
        found = [next(iter(arrays.values()))]
    else:
        missing = [t.name for t in tensors if t.name not in arrays]
        if missing:
            raise UsageError(
                f"{path} has no array called {missing[0]!r}",
                hint=f"the model's inputs: {', '.join(t.name for t in tensors)}",
            )
        found = [arrays[t.name] for t in tensors]
    inputs = [_stacked(a, t, path) for a, t in zip(found, tensors, strict=True)]
    if len({len(a) for a in inputs}) != 1:
        raise UsageError(f"{path}: the inputs hold different numbers of samples")
    return inputs


def save_outputs(path: Path, outputs: list[np.ndarray], graph: Graph) -> None:
    """Write `.npy` for one output, `.npz` keyed by tensor name for a path ending in it."""
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        names = [graph.tensors[i].name for i in graph.outputs]
        np.savez(buffer, **dict(zip(names, outputs, strict=True)))  # type: ignore[arg-type]
    elif len(outputs) == 1:
        np.save(buffer, outputs[0])
    else:
        raise UsageError(f"the model has {len(outputs)} outputs", hint="give --output a .npz path")
    write_atomic(path, buffer.getvalue())


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist") from None
    except (OSError, ValueError, EOFError) as e:
        raise UsageError(f"{path} is not a .npy or .npz file: {e}") from e
    if isinstance(loaded, np.ndarray):
        return {"": loaded}
    try:
        return {name: loaded[name] for name in loaded.files}
    except (OSError, ValueError, EOFError) as e:
        raise UsageError(f"{path} is damaged: {e}") from e


def _stacked(array: np.ndarray, tensor: Tensor, path: Path) -> np.ndarray:
    if str(array.dtype) != tensor.dtype:
        raise UsageError(
            f"{path} holds {array.dtype}, the model's input {tensor.name!r} is {tensor.dtype}",
            hint="run takes raw values of the model's own dtype; evaluate quantizes",
        )
    sample = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
    if array.ndim == 0 or len(array) == 0:
        raise UsageError(f"{path} holds no samples")
    if array.shape[1:] not in (sample, tensor.shape):
        raise UsageError(
            f"{path} holds samples of shape {array.shape[1:]}, the model takes {sample}",
            hint=f"stack N inputs to shape (N, {', '.join(map(str, sample))})",
        )
    return np.ascontiguousarray(array.reshape(len(array), *sample))


def random_inputs(graph: Graph, samples: int, seed: int = 0) -> list[np.ndarray]:
    """Seeded random inputs over the whole range of each input's dtype (floats: -1 to 1)."""
    rng = np.random.default_rng(seed)
    result = []
    for index in graph.inputs:
        tensor = graph.tensors[index]
        sample = tensor.shape[1:] if tensor.shape[:1] == (1,) else tensor.shape
        dtype = np.dtype(tensor.dtype)
        if dtype.kind == "f":
            values = rng.uniform(-1, 1, (samples, *sample)).astype(dtype)
        elif dtype.kind == "b":
            values = rng.integers(0, 2, (samples, *sample)).astype(dtype)
        else:
            info = np.iinfo(dtype)
            values = rng.integers(info.min, info.max, (samples, *sample), dtype, endpoint=True)
        result.append(values)
    return result
