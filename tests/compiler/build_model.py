"""Write small `.tflite` models through the schema's object API, without TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ai_edge_litert.schema_py_generated as schema
import flatbuffers
import numpy as np

# The schema's options table of each operator that has one.
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "L2_POOL_2D": "Pool2DOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "L2_NORMALIZATION": "L2NormOptions",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTMOptions",
    "SVDF": "SVDFOptions",
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CALL_ONCE": "CallOnceOptions",
    "IF": "IfOptions",
    "WHILE": "WhileOptions",
    **dict.fromkeys(
        ("MEAN", "SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "REDUCE_ALL"), "ReducerOptions"
    ),
}
# The others are called as their operator.
CALLED_ALIKE = """
    ADD ARG_MAX ARG_MIN ASSIGN_VARIABLE CAST CONCATENATION CUMSUM DEPTH_TO_SPACE DEQUANTIZE DIV
    EXPAND_DIMS FULLY_CONNECTED GATHER LEAKY_RELU MIRROR_PAD MUL PACK PAD QUANTIZE READ_VARIABLE
    RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR SHAPE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V
    SQUEEZE STRIDED_SLICE SUB TRANSPOSE_CONV UNPACK VAR_HANDLE
"""
OPTIONS |= {
    name: "".join(part.capitalize() for part in name.split("_")) + "Options"
    for name in CALLED_ALIKE.split()
}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


class ModelBuilder:
    """Collects tensors and operators; `build` packs them."""

    def __init__(self) -> None:
        self.tensors: list[Any] = []
        self.ops: list[Any] = []
        self.codes: list[str] = []
        self.buffers: list[Any] = [schema.BufferT()]
        self.bodies: list[tuple[ModelBuilder, Sequence[int], Sequence[int]]] = []

    def body(self) -> ModelBuilder:
        """A builder for a subgraph behind the first; `add_body` takes it."""
        builder = ModelBuilder()
        builder.codes, builder.buffers = self.codes, self.buffers
        return builder

    def add_body(self, body: ModelBuilder, inputs: Sequence[int], outputs: Sequence[int]) -> int:
        """The number of a subgraph, for the options of IF, WHILE and CALL_ONCE."""
        self.bodies.append((body, inputs, outputs))
        return len(self.bodies)

    def subgraph(self, name: str, inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        """What was collected, as the schema's object."""
        sub = schema.SubGraphT()
        sub.name = name
        sub.tensors = self.tensors
        sub.operators = self.ops
        sub.inputs = np.array(inputs, np.int32)
        sub.outputs = np.array(outputs, np.int32)
        return sub

    def tensor(
        self,
        shape: Sequence[int],
        dtype: str = "int8",
        scale: float | Sequence[float] | np.ndarray | None = None,
        zero_point: int | Sequence[int] = 0,
        data: np.ndarray | None = None,
        quantized_dimension: int = 0,
        name: str = "",
    ) -> int:
        """Index of a new tensor; with `data` a constant."""
        t = schema.TensorT()
        t.shape = np.array(shape, np.int32)
        t.type = getattr(schema.TensorType, dtype.upper())
        t.name = name or f"t{len(self.tensors)}"
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.array(scale, np.float32))
            q.zeroPoint = np.broadcast_to(np.array(zero_point, np.int64), q.scale.shape).copy()
            q.quantizedDimension = quantized_dimension
            t.quantization = q
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            t.buffer = len(self.buffers)
            self.buffers.append(buffer)
        self.tensors.append(t)
        return len(self.tensors) - 1

    def op(
        self, name: str, inputs: Sequence[int], outputs: Sequence[int], /, **options: Any
    ) -> None:
        """A new operator; options by the schema's names in snake case, enums as integers."""
        op = schema.OperatorT()
        if name not in self.codes:
            self.codes.append(name)
        op.opcodeIndex = self.codes.index(name)
        op.inputs = np.array(inputs, np.int32)
        op.outputs = np.array(outputs, np.int32)
        if name in OPTIONS:
            op.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[name])
            op.builtinOptions = getattr(schema, OPTIONS[name] + "T")()
            for key, value in options.items():
                if not hasattr(op.builtinOptions, _camel(key)):
                    raise KeyError(key)
                setattr(op.builtinOptions, _camel(key), value)
        self.ops.append(op)

    def build(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The model's bytes."""
        model = schema.ModelT()
        model.version = 3
        model.description = "test model"
        model.buffers = self.buffers
        model.operatorCodes = []
        for name in self.codes:
            code = schema.OperatorCodeT()
            number = getattr(schema.BuiltinOperator, name, None)
            if number is None:
                number = schema.BuiltinOperator.CUSTOM
                code.customCode = name
            code.builtinCode = number
            code.deprecatedBuiltinCode = min(number, 127)
            code.version = 1
            model.operatorCodes.append(code)
        model.subgraphs = [self.subgraph("main", inputs, outputs)]
        for number, (body, a, b) in enumerate(self.bodies, 1):
            model.subgraphs.append(body.subgraph(f"body{number}", a, b))
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}
ACTIVATION = {
    name: getattr(schema.ActivationFunctionType, name)
    for name in ("NONE", "RELU", "RELU_N1_TO_1", "RELU6")
}
