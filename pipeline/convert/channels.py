"""Take the TRANSPOSEs out of a float `.tflite` that came from a channels-first framework.

A TRANSPOSE is pushed towards the output through operators that do not mind it, until it meets one
that can do without: a reduction (over the axes before transposing), its own inverse, a flatten in
front of a dense layer (whose columns are reordered instead), or nothing but dimensions of one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tinydeploy.errors import UnsupportedModelError

_UNARY = frozenset(
    [
        "ABS",
        "CAST",
        "ELU",
        "EXP",
        "GELU",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LOG",
        "LOGISTIC",
        "NEG",
        "RELU",
        "RELU6",
        "RELU_N1_TO_1",
        "RSQRT",
        "SQRT",
        "SQUARE",
        "TANH",
    ]
)
_BINARY = frozenset(["ADD", "DIV", "MAXIMUM", "MINIMUM", "MUL", "SQUARED_DIFFERENCE", "SUB"])
_REDUCTIONS = frozenset(["MEAN", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"])
_ROUNDS = 1000


def without_transposes(model: bytes) -> bytes:
    """The same model with as few TRANSPOSEs as can be; the same bytes if none can go.

    Float models of one subgraph. Outputs and inputs keep their shapes.
    """
    import ai_edge_litert.schema_py_generated as schema

    editor = _Editor(schema, model)
    if len(editor.model.subgraphs) != 1:
        return model
    changed = False
    for _ in range(_ROUNDS):
        if not any(editor.removed(op) for op in list(editor.graph.operators)):
            break
        changed = True
    else:
        raise UnsupportedModelError("the model's TRANSPOSEs cannot be moved", hint="report this")
    return editor.packed() if changed else model


class _Editor:
    """The mutable objects of a flatbuffer, and the rules that take a TRANSPOSE out of it."""

    def __init__(self, schema: Any, model: bytes) -> None:
        self.model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        self.graph = self.model.subgraphs[0]
        names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        self.codes = [
            names.get(max(c.deprecatedBuiltinCode, c.builtinCode), "")
            for c in self.model.operatorCodes
        ]

    # ------------------------------------------------------------ looking
    def name(self, op: Any) -> str:
        return self.codes[op.opcodeIndex]

    def shape(self, index: int) -> tuple[int, ...]:
        shape = self.graph.tensors[index].shape
        return () if shape is None else tuple(int(d) for d in shape)

    def value(self, index: int) -> np.ndarray | None:
        """A constant's values, None for an activation."""
        tensor = self.graph.tensors[index]
        data = self.model.buffers[tensor.buffer].data
        if data is None or len(data) == 0:
            return None
        kinds: dict[int, Any] = {0: np.float32, 2: np.int32, 4: np.int64}
        if tensor.type not in kinds:
            return None
        raw = np.asarray(data, np.uint8).tobytes()
        return np.frombuffer(raw, kinds[tensor.type]).reshape(self.shape(index))

    def readers(self, index: int) -> list[Any]:
        return [op for op in self.graph.operators if index in list(op.inputs)]

    def perm(self, index: int) -> tuple[int, ...] | None:
        """How the tensor was transposed, if a TRANSPOSE of constant permutation made it."""
        for op in self.graph.operators:
            if index in list(op.outputs):
                return self._perm_of(op)
        return None

    def _perm_of(self, op: Any) -> tuple[int, ...] | None:
        if self.name(op) != "TRANSPOSE":
            return None
        value = self.value(op.inputs[1])
        return None if value is None else tuple(int(v) for v in value)

    def source(self, index: int) -> int:
        """The tensor before the TRANSPOSE that made `index`."""
        return next(int(op.inputs[0]) for op in self.graph.operators if index in list(op.outputs))

    # ------------------------------------------------------------ changing
    def constant(self, like: int, values: np.ndarray, name: str) -> int:
        """A new constant of the type of tensor `like`."""
        tensor = copy.copy(self.graph.tensors[like])
        buffer = copy.copy(self.model.buffers[0])
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.buffer = len(self.model.buffers) - 1
        tensor.shape = np.array(values.shape, np.int32)
        tensor.shapeSignature = None
        tensor.name = name.encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def activation(self, like: int, shape: tuple[int, ...], name: str) -> int:
        tensor = copy.copy(self.graph.tensors[like])
        tensor.shape = np.array(shape, np.int32)
        tensor.shapeSignature = None
        tensor.name = name.encode()
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def set_input(self, op: Any, position: int, index: int) -> None:
        inputs = np.array(op.inputs, np.int32)
        inputs[position] = index
        op.inputs = inputs

    def removed(self, op: Any) -> bool:
        """Whether this TRANSPOSE was taken out, or moved on."""
        perm = self._perm_of(op)
        if perm is None:
            return False
        output = int(op.outputs[0])
        if output in list(self.graph.outputs):
            return False
        readers = self.readers(output)
        rules: tuple[Callable[..., bool], ...] = (
            self._inverse, self._reduction, self._dense, self._through,
        )  # fmt: skip
        moved = False
        for reader in readers:
            moved |= any(rule(op, perm, output, reader) for rule in rules)
        if not self.readers(output):
            self.graph.operators.remove(op)
            moved = True
        return moved

    def _inverse(self, op: Any, perm: tuple[int, ...], output: int, reader: Any) -> bool:
        """A second TRANSPOSE reads the first one's input."""
        second = self._perm_of(reader)
        if second is None:
            return False
        both = tuple(perm[p] for p in second)
        result = int(reader.outputs[0])
        if both == tuple(range(len(both))) and result not in list(self.graph.outputs):
            for user in self.readers(result):
                for position, index in enumerate(user.inputs):
                    if index == result:
                        self.set_input(user, position, int(op.inputs[0]))
            self.graph.operators.remove(reader)
        else:
            like = int(reader.inputs[1])
            kind = self.value(like)
            values = np.array(both, np.int32 if kind is None else kind.dtype)
            self.set_input(reader, 1, self.constant(like, values, f"permutation_{result}"))
            self.set_input(reader, 0, int(op.inputs[0]))
        return True

    def _reduction(self, op: Any, perm: tuple[int, ...], output: int, reader: Any) -> bool:
        if self.name(reader) not in _REDUCTIONS:
            return False
        axes = self.value(int(reader.inputs[1]))
        if axes is None:
            return False
        rank = len(perm)
        reduced = {int(a) % rank for a in axes.reshape(-1)}
        rest = [perm[d] for d in range(rank) if d not in reduced]
        result = int(reader.outputs[0])
        keeps = reader.builtinOptions is not None and reader.builtinOptions.keepDims
        if rest != sorted(rest) or (keeps and not self._only_reshaped(result)):
            return False
        new = np.array(sorted(perm[a] for a in reduced), axes.dtype)
        like = int(reader.inputs[1])
        self.set_input(reader, 1, self.constant(like, new, f"axes_{result}"))
        self.set_input(reader, 0, int(op.inputs[0]))
        if keeps:
            inverse = np.argsort(perm)
            shape = [self.shape(result)[int(i)] for i in inverse]
            self.graph.tensors[result].shape = np.array(shape, np.int32)
        return True

    def _only_reshaped(self, index: int) -> bool:
        if index in list(self.graph.outputs):
            return False
        return all(self.name(r) in ("RESHAPE", "SQUEEZE") for r in self.readers(index))

    def _dense(self, op: Any, perm: tuple[int, ...], output: int, reader: Any) -> bool:
        """TRANSPOSE, flatten, dense layer: the dense layer's columns take the order before."""
        if self.name(reader) != "RESHAPE":
            return False
        source = int(op.inputs[0])
        result = int(reader.outputs[0])
        moved = [p for p in perm if self.shape(source)[p] != 1]
        if moved == sorted(moved):  # nothing but dimensions of one has moved
            self.set_input(reader, 0, source)
            return True
        layers = self.readers(result)
        flat = int(np.prod(self.shape(source)[1:]))
        before = self.shape(output)
        if (
            perm[0] != 0
            or self.shape(result)[-1] != flat
            or result in list(self.graph.outputs)
            or not layers
            or any(
                self.name(d) != "FULLY_CONNECTED"
                or int(d.inputs[0]) != result
                or self.value(int(d.inputs[1])) is None
                for d in layers
            )
        ):
            return False
        inverse = np.argsort(perm)
        for dense in layers:
            weights = self.value(int(dense.inputs[1]))
            if weights is None:
                return False
            columns = weights.reshape(len(weights), *before[1:])
            ordered = columns.transpose(0, *[int(i) for i in inverse[1:]])
            new = self.constant(
                int(dense.inputs[1]), ordered.reshape(weights.shape), f"weights_{result}"
            )
            self.set_input(dense, 1, new)
        self.set_input(reader, 0, source)
        return True

    def _through(self, op: Any, perm: tuple[int, ...], output: int, reader: Any) -> bool:
        """Transpose behind the reader instead of before it."""
        kind = self.name(reader)
        result = int(reader.outputs[0])
        if result in list(self.graph.outputs) and kind not in _UNARY:
            return False
        if kind in _UNARY:
            positions = [0]
        elif kind in _BINARY:
            positions = [p for p, i in enumerate(reader.inputs) if self.value(int(i)) is None]
            others = [int(i) for i in reader.inputs if self.value(int(i)) is not None]
            if any(int(np.prod(self.shape(i))) != 1 for i in others):
                return False
        elif kind == "CONCATENATION":
            positions = list(range(len(reader.inputs)))
        else:
            return False
        if any(self.perm(int(reader.inputs[p])) != perm for p in positions):
            return False
        if result in list(self.graph.outputs):
            return False
        for position in positions:
            self.set_input(reader, position, self.source(int(reader.inputs[position])))
        if kind == "CONCATENATION":
            options = reader.builtinOptions
            options.axis = perm[options.axis % len(perm)]
        inverse = np.argsort(perm)
        shape = tuple(self.shape(result)[int(i)] for i in inverse)
        inner = self.activation(result, shape, f"before_transpose_{result}")
        reader.outputs = np.array([inner], np.int32)
        behind = copy.copy(op)
        behind.inputs = np.array([inner, int(op.inputs[1])], np.int32)
        behind.outputs = np.array([result], np.int32)
        place = next(i for i, o in enumerate(self.graph.operators) if o is reader)
        self.graph.operators.insert(place + 1, behind)
        return True

    # ------------------------------------------------------------ writing
    def packed(self) -> bytes:
        """The flatbuffer, without tensors that nothing uses any more."""
        import flatbuffers

        graph = self.graph
        used = {int(i) for op in graph.operators for i in (*op.inputs, *op.outputs) if i >= 0}
        used |= {int(i) for i in (*graph.inputs, *graph.outputs)}
        order = {old: new for new, old in enumerate(sorted(used))}
        for op in graph.operators:
            op.inputs = np.array([order.get(int(i), -1) for i in op.inputs], np.int32)
            op.outputs = np.array([order[int(i)] for i in op.outputs], np.int32)
        graph.inputs = np.array([order[int(i)] for i in graph.inputs], np.int32)
        graph.outputs = np.array([order[int(i)] for i in graph.outputs], np.int32)
        graph.tensors = [graph.tensors[i] for i in sorted(used)]
        for signature in self.model.signatureDefs or ():
            for entry in (*signature.inputs, *signature.outputs):
                entry.tensorIndex = order[entry.tensorIndex]
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())
