"""Read a `.tflite` flatbuffer into a `Graph`, and expose its intermediate tensors.

The bytes are untrusted: every index and length is checked against the file before it is used, and
anything that does not hold raises UnsupportedModelError. Reading needs only the generated schema
(a plain Python file of `ai_edge_litert`), no interpreter.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError, UsageError
from tinydeploy.graph import Body, Graph, Op, Tensor
from tinydeploy.graph_checks import check_references
from tinydeploy.graph_stats import DTYPE_BITS
from tinydeploy.store import sha256_bytes

_IDENTIFIER = b"TFL3"
_MAX_RANK = 8
_MAX_TENSOR_BYTES = 1 << 30
_HINT = "the file is damaged or not a TensorFlow Lite model: convert or download it again"

# What reading a damaged flatbuffer can raise inside flatbuffers and numpy.
_DAMAGE = (
    struct.error,
    TypeError,
    ValueError,
    IndexError,
    KeyError,
    AttributeError,
    OverflowError,
    AssertionError,
)


def read_graph(model: bytes | Path) -> Graph:
    """The graph of a `.tflite` model, given as its bytes or its path.

    Constants come with their values (views into the model's bytes, read-only); int4 is unpacked.
    Guaranteed of the result: every index is in range, every tensor is produced (or constant, an
    input, or a variable) before it is used, constants have exactly their shape's size, and
    quantization parameters are finite and match the tensor's shape.

    Raises UnsupportedModelError for anything that cannot be read so, UsageError for a missing file.
    """
    data = _read_file(model) if isinstance(model, Path) else bytes(model)
    name = f"{model}" if isinstance(model, Path) else "the model"
    try:
        return _Reader(data).graph()
    except _DAMAGE as error:
        problem = f"{name} is not a readable .tflite model: {error}"
        raise UnsupportedModelError(problem, hint=_HINT) from error


def expose_intermediates(model: bytes) -> bytes:
    """The same model with every activation tensor among its outputs.

    The model's own outputs come first, then the other tensors that operators produce, in index
    order. Made for comparing two engines tensor by tensor: only the list of outputs is new, it is
    appended to the file, and nothing else moves.
    """
    graph = read_graph(model)
    produced = sorted(
        t for op in graph.ops for t in op.outputs if graph.tensors[t].dtype != "resource"
    )
    outputs = [*graph.outputs, *(t for t in produced if t not in graph.outputs)]
    schema = _schema()
    table = schema.Model.GetRootAs(model).Subgraphs(0)._tab
    field = table.Pos + table.Offset(8)  # where SubGraph.outputs' offset is stored
    padded = model + bytes(-len(model) % 4)
    changed = bytearray(padded)
    struct.pack_into("<I", changed, field, len(padded) - field)
    return bytes(changed) + struct.pack(f"<{len(outputs) + 1}i", len(outputs), *outputs)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check the path") from error


def _schema() -> Any:
    import ai_edge_litert.schema_py_generated as schema

    return schema


def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode("utf-8", errors="replace")


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), name)


class _Reader:
    """One pass over the bytes of a model."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if len(data) < 16 or data[4:8] != _IDENTIFIER:
            raise UnsupportedModelError(
                "not a .tflite model: the TFL3 identifier is missing", hint=_HINT
            )
        self.schema = _schema()
        # A well-formed file spends at least a byte on every element of every vector, so more
        # elements than this come from vectors that overlap, made to exhaust the reader.
        self.budget = 4 * len(data) + 1024
        self.enums: dict[str, dict[int, str]] = {
            "padding": _names(self.schema.Padding),
            "fused_activation_function": _names(self.schema.ActivationFunctionType),
            "weights_format": _names(self.schema.FullyConnectedOptionsWeightsFormat),
            "quantized_bias_type": _names(self.schema.TensorType),
            "in_data_type": _names(self.schema.TensorType),
            "out_data_type": _names(self.schema.TensorType),
            "out_type": _names(self.schema.TensorType),
        }
        self.types = {v: k.lower() for v, k in _names(self.schema.TensorType).items()}
        self.builtins = _names(self.schema.BuiltinOperator)
        self.option_types = _names(self.schema.BuiltinOptions)

    def graph(self) -> Graph:
        model = self.schema.Model.GetRootAs(self.data)
        if model.Version() != 3:
            raise UnsupportedModelError(
                f"schema version {model.Version()} of the .tflite model is not 3", hint=_HINT
            )
        subgraphs = self._count(model.SubgraphsLength(), "subgraphs")
        if subgraphs == 0:
            raise UnsupportedModelError("the model holds no subgraph", hint=_HINT)
        codes = [
            self._code(model.OperatorCodes(i))
            for i in range(self._count(model.OperatorCodesLength(), "operator codes"))
        ]
        buffers = self._count(model.BuffersLength(), "buffers")
        tensors: list[Tensor] = []
        bodies = []
        for number in range(subgraphs):
            sub = model.Subgraphs(number)
            first = len(tensors)
            for i in range(self._count(sub.TensorsLength(), "tensors")):
                tensors.append(self._tensor(first + i, sub.Tensors(i), model, buffers))
            body = Body(
                ops=tuple(
                    self._op(i, sub.Operators(i), codes)
                    for i in range(self._count(sub.OperatorsLength(), "operators"))
                ),
                inputs=self._indices(sub.InputsIsNone(), sub.InputsAsNumpy, "inputs"),
                outputs=self._indices(sub.OutputsIsNone(), sub.OutputsAsNumpy, "outputs"),
            )
            where = "the model" if number == 0 else f"subgraph {number}"
            check_references(body, tensors[first:], where)
            bodies.append(_moved(body, first))
        main, *others = bodies
        if not main.ops or not main.inputs or not main.outputs:
            raise UnsupportedModelError(
                "the model holds no operator, no input or no output", hint=_HINT
            )
        return Graph(
            tensors=tuple(tensors),
            ops=main.ops,
            inputs=main.inputs,
            outputs=main.outputs,
            sha256=sha256_bytes(self.data),
            size_bytes=len(self.data),
            description=_text(model.Description()),
            bodies=tuple(others),
        )

    def _count(self, n: int, what: str) -> int:
        """`n` if the file can hold that many, else an error: never loop on a claimed length."""
        self.budget -= n
        if n < 0 or self.budget < 0:
            raise UnsupportedModelError(
                f"the model claims {n} {what}, more than its {len(self.data)} bytes can hold",
                hint=_HINT,
            )
        return n

    def _indices(
        self, absent: bool, as_numpy: Callable[[], np.ndarray], what: str
    ) -> tuple[int, ...]:
        if absent:
            return ()
        values = as_numpy()
        self._count(len(values), what)
        return tuple(int(v) for v in values)

    def _code(self, code: Any) -> tuple[str, int]:
        number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
        name = self.builtins.get(number, f"BUILTIN_{number}")
        if name == "CUSTOM":
            name = _text(code.CustomCode()) or "CUSTOM"
        return name, code.Version()

    def _tensor(self, index: int, tensor: Any, model: Any, buffers: int) -> Tensor:
        name = _text(tensor.Name())
        shape = self._indices(tensor.ShapeIsNone(), tensor.ShapeAsNumpy, "dimensions")
        dtype = self.types.get(tensor.Type(), f"type {tensor.Type()}")
        if len(shape) > _MAX_RANK or any(d < 0 for d in shape):
            raise UnsupportedModelError(
                f"tensor {index} {name!r} has the shape {list(shape)[:_MAX_RANK]}",
                hint="give every dimension a fixed size when the model is converted",
            )
        elements = 1
        for d in shape:
            elements *= d
        if elements * DTYPE_BITS.get(dtype, 64) // 8 > _MAX_TENSOR_BYTES:
            raise UnsupportedModelError(f"tensor {index} {name!r} is over 1 GiB", hint=_HINT)
        if tensor.Sparsity() is not None:
            raise UnsupportedModelError(
                f"tensor {index} {name!r} is stored sparse", hint="convert without sparsity"
            )
        scales, zero_points, dimension = self._quantization(index, name, shape, tensor)
        return Tensor(
            index=index,
            name=name,
            shape=shape,
            dtype=dtype,
            scales=scales,
            zero_points=zero_points,
            quantized_dimension=dimension,
            data=self._constant(index, name, shape, dtype, tensor.Buffer(), model, buffers),
            is_variable=tensor.IsVariable(),
        )

    def _quantization(
        self, index: int, name: str, shape: tuple[int, ...], tensor: Any
    ) -> tuple[tuple[float, ...], tuple[int, ...], int]:
        quantization = tensor.Quantization()
        if quantization is None:
            return (), (), 0
        if quantization.DetailsType() != 0:
            raise UnsupportedModelError(
                f"tensor {index} {name!r} has a custom or blockwise quantization",
                hint="quantize per tensor or per channel",
            )
        if quantization.ScaleIsNone() or quantization.ScaleLength() == 0:
            return (), (), 0
        raw = quantization.ScaleAsNumpy()
        scales = tuple(float(s) for s in raw[: self._count(len(raw), "scales")])
        zero_points: tuple[int, ...] = (0,) * len(scales)
        if not quantization.ZeroPointIsNone() and quantization.ZeroPointLength() > 0:
            raw = quantization.ZeroPointAsNumpy()
            zero_points = tuple(int(z) for z in raw[: self._count(len(raw), "zero points")])
        if len(zero_points) == 1:
            zero_points *= len(scales)
        dimension = quantization.QuantizedDimension()
        per_channel = len(scales) > 1
        if (
            len(zero_points) != len(scales)
            or not np.isfinite(scales).all()
            or min(scales) < 0
            or (per_channel and not 0 <= dimension < len(shape))
            or (per_channel and shape[dimension] != len(scales))
        ):
            raise UnsupportedModelError(
                f"the quantization of tensor {index} {name!r} makes no sense", hint=_HINT
            )
        return scales, zero_points, dimension if per_channel else 0

    def _constant(
        self,
        index: int,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        number: int,
        model: Any,
        buffers: int,
    ) -> np.ndarray | None:
        if number >= buffers:
            raise UnsupportedModelError(
                f"tensor {index} {name!r} uses buffer {number} of {buffers}", hint=_HINT
            )
        buffer = model.Buffers(number)
        if buffer.Offset() > 1:  # large models keep buffers behind the flatbuffer
            raw = np.frombuffer(self.data, np.uint8, buffer.Size(), buffer.Offset())
        elif buffer.DataIsNone() or buffer.DataLength() == 0:
            return None
        else:
            raw = buffer.DataAsNumpy()
        elements = 1
        for d in shape:
            elements *= d
        expected = (elements * DTYPE_BITS.get(dtype, 0) + 7) // 8
        if dtype not in DTYPE_BITS:
            raise UnsupportedModelError(
                f"constant tensor {index} {name!r} is of type {dtype}", hint="use another type"
            )
        if raw.size != expected:
            raise UnsupportedModelError(
                f"constant tensor {index} {name!r} has {raw.size} bytes, its shape "
                f"{list(shape)} needs {expected}",
                hint=_HINT,
            )
        if dtype == "int4":
            self._count(elements, "int4 weights")
            return _unpack_int4(raw, elements).reshape(shape)
        return raw.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)

    def _op(self, index: int, op: Any, codes: list[tuple[str, int]]) -> Op:
        number = op.OpcodeIndex()
        if number >= len(codes):
            raise UnsupportedModelError(
                f"layer {index} uses operator code {number} of {len(codes)}", hint=_HINT
            )
        name, version = codes[number]
        return Op(
            index=index,
            name=name,
            inputs=self._indices(op.InputsIsNone(), op.InputsAsNumpy, "inputs"),
            outputs=self._indices(op.OutputsIsNone(), op.OutputsAsNumpy, "outputs"),
            options=self._options(op),
            version=version,
        )

    def _options(self, op: Any) -> Mapping[str, Any]:
        kind = self.option_types.get(op.BuiltinOptionsType(), "NONE")
        table = op.BuiltinOptions()
        if kind == "NONE" or table is None:
            return {}
        values = vars(getattr(self.schema, kind + "T").InitFromBuf(table.Bytes, table.Pos))
        return {_snake(key): self._option(_snake(key), value) for key, value in values.items()}

    def _option(self, key: str, value: Any) -> Any:
        if key in self.enums:
            return self.enums[key].get(value, str(value))
        if isinstance(value, np.ndarray):
            self._count(len(value), f"entries of {key}")
            return tuple(value.tolist())
        return _text(value) if isinstance(value, bytes) else value


def _moved(body: Body, first: int) -> Body:
    """The body with its tensors' indices counted from `first` on; -1 stays absent."""

    def moved(indices: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(t + first if t >= 0 else t for t in indices)

    ops = tuple(replace(op, inputs=moved(op.inputs), outputs=moved(op.outputs)) for op in body.ops)
    return Body(ops, moved(body.inputs), moved(body.outputs))


def _unpack_int4(raw: np.ndarray, elements: int) -> np.ndarray:
    """Two's complement nibbles, the low one first."""
    nibbles = np.stack([raw & 15, raw >> 4], axis=1).reshape(-1)[:elements].astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles).astype(np.int8)
