"""Write a planned program as plain C11: `td_model.c` and its constants, `td_model_data.h`.

The linker map is split by names: arrays `td_weights_*` hold what the `.tflite` holds too,
`td_tables_*` what the compiler added (multipliers, corrected biases, parameter structs), and
`td_arena` all tensors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

import tinydeploy
from tinydeploy.compiler.plan import Plan
from tinydeploy.compiler.program import Call, Data, Program
from tinydeploy.graph import Graph, Tensor

_DTYPES = {
    "int8": "TD_INT8",
    "int16": "TD_INT16",
    "float32": "TD_FLOAT32",
    "int32": "TD_INT32",
    "uint8": "TD_UINT8",
    "bool": "TD_BOOL",
    "int64": "TD_INT64",
}
_CTYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "bool": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "uint32": "uint32_t",
    "int32": "int32_t",
    "int64": "int64_t",
    "float32": "float",
}
_LINE = 96


def emit(graph: Graph, program: Program, plan: Plan, *, profile: bool = False) -> dict[str, str]:
    """File names and contents of a model's C sources.

    With `profile` every call is preceded by a mark that says to which layer it belongs.
    """
    writer = Writer(graph, program, plan, profile)
    model = writer.model()
    return {"td_model.c": model, "td_model_data.h": writer.data_header()}


class Writer:
    """Names constants as it meets them; equal arrays are written once."""

    def __init__(self, graph: Graph, program: Program, plan: Plan, profile: bool) -> None:
        self.graph = graph
        self.program = program
        self.plan = plan
        self.profile = profile
        self.names: dict[tuple[str, str, bytes], str] = {}
        self.arrays: list[str] = []

    def model(self) -> str:
        """The text of td_model.c. Meets all constants, which `data_header` writes then."""
        calls = list(enumerate(self.program.calls))
        structs = [self._struct(n, call) for n, call in calls if not call.control]
        lines = [self._invoke(n, call) for n, call in calls]
        once, invoke = lines[: self.program.init_calls], lines[self.program.init_calls :]
        return "\n".join(
            [
                banner(self.graph),
                '#include "td_model.h"\n',
                *(['#include "td_bytes.h"'] if self.program.persistent else []),
                '#include "td_kernels.h"',
                *(['#include "td_profile.h"'] if self.profile else []),
                '#include "td_model_data.h"\n',
                f"static _Alignas(16) uint8_t td_arena[{max(self.plan.arena_bytes, 16)}];",
                "const uint32_t td_model_arena_bytes = sizeof td_arena;\n",
                self._io("input", self.program.inputs),
                self._io("output", self.program.outputs),
                *structs,
                self._init(once),
                "void td_model_invoke(void)\n{",
                *invoke,
                "}\n",
            ]
        )

    def data_header(self) -> str:
        """The text of td_model_data.h."""
        return "\n".join(
            [
                banner(self.graph),
                "#ifndef TD_MODEL_DATA_H",
                "#define TD_MODEL_DATA_H",
                "#include <stdint.h>\n",
                *self.arrays,
                "#endif\n",
            ]
        )

    def _init(self, once: list[str]) -> str:
        """State that is kept between invokes begins with its fill, and with what a model sets."""
        lines = [
            f"    memset({self._at(t)}, {fill}, {self.program.tensor_bytes[t]});"
            for t, fill in self.program.persistent.items()
        ]
        return "\n".join(["void td_model_init(void)\n{", *lines, *once, "}\n"])

    def _io(self, kind: str, tensors: Iterable[int]) -> str:
        rows = [self._io_row(self.graph.tensors[t]) for t in tensors]
        return "\n".join(
            [
                f"const struct td_io td_model_{kind}s[] = {{",
                *rows,
                "};",
                f"const uint8_t td_model_{kind}_count = {len(rows)};\n",
            ]
        )

    def _io_row(self, tensor: Tensor) -> str:
        size = self.program.tensor_bytes[tensor.index]
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        return (
            f"    {{{self._at(tensor.index)}, {size}, {_DTYPES[tensor.dtype]}}},"
            f" /* {_comment(tensor.name)}, {shape} */"
        )

    def _struct(self, number: int, call: Call) -> str:
        fields = self._fields(call.params, f"{number}", 1)
        return f"static const struct {call.struct} td_tables_call{number} = {{\n{fields}}};\n"

    def _fields(self, params: Mapping[str, Any], prefix: str, depth: int) -> str:
        lines = []
        for name, value in params.items():
            if isinstance(value, Mapping):
                inner = self._fields(value, f"{prefix}_{name}", depth + 1)
                text = f"{{\n{inner}{'    ' * depth}}}"
            elif isinstance(value, Data):
                text = self._name(value, f"{prefix}_{name}")
            else:
                text = literal(value)
            lines.append(f"{'    ' * depth}.{name} = {text},\n")
        return "".join(lines)

    def _statement(self, number: int, call: Call) -> str:
        """A branch or a loop, around the calls between its parts."""
        condition = ""
        if call.control in ("if", "do"):
            operand = call.operands[0]
            if isinstance(operand, Data):
                condition = f"{self._name(operand, f'{number}_condition')}[0]"
            else:
                condition = f"td_arena[{self.plan.tensors[operand]}]"
        return {
            "if": f"    if ({condition}) {{",
            "else": "    } else {",
            "while": "    for (;;) {",
            "do": f"    if (!{condition})\n        break;",
            "end": "    }",
        }[call.control]

    def _invoke(self, number: int, call: Call) -> str:
        if call.control:
            return self._statement(number, call)
        arguments = [f"&{self._parameters(number)}"]
        for position, operand in enumerate(call.operands):
            if isinstance(operand, Data):
                arguments.append(self._name(operand, f"{number}_operand{position}"))
            else:
                writable = operand in self.program.persistent
                const = "" if writable else "const "
                arguments.append(f"({const}void *)({self._at(operand)})")
        arguments.append(f"(void *)({self._at(call.output, call.output_offset_bytes)})")
        if call.takes_scratch:
            offset = self.plan.scratch.get(number)
            arguments.append("0" if offset is None else f"(void *)(td_arena + {offset})")
        where = (
            f"layer {call.op_index}, {self.graph.ops[call.op_index].name}: "
            if call.op_index < len(self.graph.ops)
            else ""
        )
        comment = f"    /* {_comment(where + call.comment)} */"
        marked = self.profile and number >= self.program.init_calls
        mark = f"    td_profile_mark({self._layer(call)});\n" if marked else ""
        return f"{comment}\n{mark}    {call.kernel}({', '.join(arguments)});"

    def _parameters(self, number: int) -> str:
        return f"td_tables_call{number}"

    def _layer(self, call: Call) -> str:
        return str(call.op_index) if call.op_index < len(self.graph.ops) else "TD_PROFILE_NONE"

    def _at(self, tensor: int, offset: int = 0) -> str:
        return f"td_arena + {self.plan.tensors[tensor] + offset}"

    def _name(self, data: Data, hint: str) -> str:
        key = (data.role, data.array.dtype.name, data.array.tobytes())
        if key not in self.names:
            self.names[key] = f"td_{data.role}_{hint}"
            self.arrays.append(_array(self.names[key], data))
        return self.names[key]


def banner(graph: Graph) -> str:
    """The comment at the top of every emitted file."""
    return (
        f"/* Made by tinydeploy {tinydeploy.__version__} from the model with sha256\n"
        f" * {graph.sha256}. Do not edit. */"
    )


def _comment(text: str) -> str:
    """Text of a model, made safe for a C comment."""
    printable = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)
    return printable.replace("*/", "* /").replace("/*", "/ *")[:200]


def literal(value: Any) -> str:
    """The C initializer of a parameter: a number, numbers in sequence, the name of a function."""
    if isinstance(value, str):  # the name of a function
        return value
    if isinstance(value, list | tuple):
        return "{" + ", ".join(literal(v) for v in value) + "}"
    if isinstance(value, float):
        return f"{value.hex()}f"
    if value == -(2**31):
        return "INT32_MIN"
    return str(int(value))


def _array(name: str, data: Data) -> str:
    return f"static const {declared(name, data)} = {values(data.array)};\n"


def declared(name: str, data: Data) -> str:
    """A constant array's type and name; at least one element, since C has no empty ones.

    Weights begin at a word, so that kernels may load several at once.
    """
    ctype = _CTYPES[data.array.dtype.name]
    if data.role == "weights" and data.array.dtype.itemsize < 4:
        ctype = f"_Alignas(4) {ctype}"
    return f"{ctype} {name}[{max(data.array.size, 1)}]"


def values(array: np.ndarray) -> str:
    """An array's initializer."""
    flat = array.reshape(-1)
    if array.dtype == np.float32:
        words = [f"{v.hex()}f" for v in flat.astype(np.float64).tolist()]
    elif array.dtype == np.int32:
        words = ["INT32_MIN" if v == -(2**31) else str(v) for v in flat.tolist()]
    elif array.dtype == np.int64:
        words = ["INT64_MIN" if v == -(2**63) else f"INT64_C({v})" for v in flat.tolist()]
    else:
        words = [str(v) for v in flat.astype(np.int64).tolist()]
    per_line = max(1, _LINE // (max((len(w) for w in words), default=1) + 2))
    rows = [
        "    " + ", ".join(words[i : i + per_line]) + "," for i in range(0, len(words), per_line)
    ]
    body = "\n".join(rows) if rows else "    0,"
    return f"{{\n{body}\n}}"
