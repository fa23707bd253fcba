"""Load an ONNX model without following it out of its folder, with every dimension fixed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tinydeploy.errors import UnsupportedModelError

_MAX_BYTES = 1 << 30
_MAX_ELEMENTS = 1 << 24


def load_model(path: Path, *, trusted: bool = False) -> Any:
    """The checked `onnx.ModelProto`, with external data and a batch of one.

    Raises UnsupportedModelError for a damaged file, external data outside the model's folder unless
    it is `trusted`, inputs that are not float32 or have an unknown dimension beside the batch.
    """
    import onnx

    if path.stat().st_size > _MAX_BYTES:
        raise UnsupportedModelError(
            f"{path.name} is larger than 1 GiB", hint="no microcontroller takes such a model"
        )
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError, depending on its implementation
        raise UnsupportedModelError(
            f"{path.name} is not a readable ONNX model: {error}", hint="export it again"
        ) from error
    if not trusted:
        _require_own_data(model, path)
    try:
        if trusted:
            _read_data(model, path)
        onnx.external_data_helper.load_external_data_for_model(model, str(path.parent))
        _fix_inputs(model, path)
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
    except UnsupportedModelError:
        raise
    except Exception as error:  # ValidationError, InferenceError, OSError, ValueError, ...
        raise UnsupportedModelError(
            f"{path.name} is not a valid ONNX model: {' '.join(str(error).split())[:400]}",
            hint="check it with onnx.checker, and export it again",
        ) from error


def _require_own_data(model: Any, path: Path) -> None:
    for tensor in _tensors(model.graph):
        for entry in tensor.external_data:
            if entry.key != "location":
                continue
            target = (path.parent / entry.value).resolve()
            if not target.is_relative_to(path.parent.resolve()):
                raise UnsupportedModelError(
                    f"{path.name}: the tensor {tensor.name!r} is stored in {entry.value!r}, "
                    "outside the model's folder: it is not read",
                    hint="save the model with its data beside it, or inside; "
                    "or, if you trust the file, --trust-source",
                )


def _read_data(model: Any, path: Path) -> None:
    """Take in what tensors keep in files, wherever those are: onnx itself stays in the folder."""
    import onnx

    for tensor in _tensors(model.graph):
        said = {entry.key: entry.value for entry in tensor.external_data}
        if tensor.data_location != onnx.TensorProto.EXTERNAL or "location" not in said:
            continue
        with open(path.parent / said["location"], "rb") as file:
            file.seek(int(said.get("offset", 0)))
            tensor.raw_data = file.read(int(said["length"]) if "length" in said else -1)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _tensors(graph: Any) -> Any:
    """Every stored tensor of a graph and of the graphs within its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _fix_inputs(model: Any, path: Path) -> None:
    """Drop inputs that are constants, and make every batch one."""
    import onnx

    graph = model.graph
    constants = {t.name for t in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    batches = set()
    for tensor in graph.input:
        kind = tensor.type.tensor_type
        if kind.elem_type != onnx.TensorProto.FLOAT:
            found = onnx.TensorProto.DataType.Name(kind.elem_type)
            raise UnsupportedModelError(
                f"{path.name}: the input {tensor.name!r} is {found.lower()}, not float",
                hint="export the model with float32 inputs",
            )
        dims = kind.shape.dim
        for number, dim in enumerate(dims):
            if number == 0 and dim.dim_value != 1:
                batches.add(dim.dim_value)
                dim.dim_value = 1
            elif dim.dim_value <= 0:
                raise UnsupportedModelError(
                    f"{path.name}: dimension {number} of the input {tensor.name!r} is not fixed "
                    f"({dim.dim_param or 'unknown'})",
                    hint="export the model with a fixed size for every dimension but the batch",
                )
        if math.prod(dim.dim_value for dim in dims) > _MAX_ELEMENTS:
            raise UnsupportedModelError(
                f"{path.name}: the input {tensor.name!r} is {[d.dim_value for d in dims]}",
                hint="no microcontroller has memory for such an input",
            )
    for output in graph.output:
        for number, dim in enumerate(output.type.tensor_type.shape.dim):
            if number == 0 and (dim.HasField("dim_param") or dim.dim_value in batches):
                dim.Clear()
    del graph.value_info[:]
