"""Write a program as C whose numbers can be exchanged on the device: code here, content there.

Everything that a new version of the same graph may change (weights, biases, multipliers, zero
points) becomes a member of one constant, `struct td_model_content`, reached through one pointer.
The code that remains names members and places in the arena, never a value, so that two versions
with the same text have the same code. That text, without its comments, is the layout: a model
whose layout is another is another graph.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tinydeploy.compiler.emit import Writer, banner, declared, literal, values
from tinydeploy.compiler.plan import Plan
from tinydeploy.compiler.program import Call, Data, Program
from tinydeploy.graph import Graph
from tinydeploy.store import sha256_json

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_HEADER = """\
    .header = {
        .magic = TD_CONTENT_MAGIC,
        .layout = TD_LAYOUT,
        .milli_q16 = TD_CONTENT_MILLI_Q16,
        .zero_point = TD_CONTENT_ZERO_POINT,
        .build = TD_CONTENT_BUILD_ID,
        .model = TD_CONTENT_MODEL,
    },
"""


def emit_updatable(graph: Graph, program: Program, plan: Plan) -> tuple[dict[str, str], str]:
    """File names and contents of the C sources, and the sha256 of their layout.

    `td_model.c` is code, `td_model_data.h` declares the content, `td_model_content.c` holds it.
    """
    writer = _Updatable(graph, program, plan)
    model = writer.model()
    declaration = writer.data_header()
    layout = sha256_json([_COMMENT.sub("", text) for text in (model, declaration)])
    sources = {
        "td_model.c": model,
        "td_model_data.h": declaration,
        "td_model_content.c": writer.content(),
    }
    return sources, layout


class _Updatable(Writer):
    """Collects the members of the content and their values.

    A kernel's parameters hold pointers, whose values depend on where the content lies: they are
    copied to RAM when the model is initialized, and their pointers are set there.
    """

    def __init__(self, graph: Graph, program: Program, plan: Plan) -> None:
        super().__init__(graph, program, plan, profile=False)
        self.members: list[str] = []
        self.initializers: list[str] = []
        self.copies: list[str] = []
        self.parameters: list[str] = []

    def data_header(self) -> str:
        return "\n".join(
            [
                banner(self.graph),
                "#ifndef TD_MODEL_DATA_H",
                "#define TD_MODEL_DATA_H",
                '#include "td_kernels.h"',
                '#include "td_update.h"\n',
                "struct td_model_content {",
                "    struct td_content_header header;",
                *(f"    {member};" for member in self.members),
                "};",
                "#endif\n",
            ]
        )

    def content(self) -> str:
        return "\n".join(
            [
                banner(self.graph),
                '#include "td_model_data.h"',
                '#include "td_build.h"\n',
                "const struct td_model_content td_weights_factory = {",
                _HEADER + "\n".join(self.initializers),
                "};",
                "const uint32_t td_update_bytes = sizeof td_weights_factory;",
                "_Static_assert(TD_UPDATE_FLASH_BYTES(sizeof td_weights_factory) <= "
                "TD_PORT_FLASH_BYTES,",
                '    "two copies of the model do not fit the board\'s TD_PORT_FLASH_BYTES");\n',
            ]
        )

    def _struct(self, number: int, call: Call) -> str:
        place = f"td_calls.call{number}"
        self.copies.append(f"    {place} = td_content->call{number};")
        fields = self._content_fields(call.params, f"{number}", place, 1)
        self.members.append(f"struct {call.struct} call{number}")
        self.initializers.append(f"    .call{number} = {{\n{fields}    }},")
        self.parameters.append(f"    struct {call.struct} call{number};")
        return ""

    def _content_fields(
        self, params: Mapping[str, Any], prefix: str, place: str, depth: int
    ) -> str:
        """Initializers of all that is no pointer; pointers are set in td_model_init()."""
        lines = []
        indent = "    " * (depth + 1)
        for name, value in params.items():
            if isinstance(value, Mapping):
                inner = self._content_fields(
                    value, f"{prefix}_{name}", f"{place}.{name}", depth + 1
                )
                lines.append(f"{indent}.{name} = {{\n{inner}{indent}}},\n" if inner else "")
            elif isinstance(value, Data):
                self.copies.append(f"    {place}.{name} = {self._name(value, f'{prefix}_{name}')};")
            elif isinstance(value, str):  # the name of a function
                self.copies.append(f"    {place}.{name} = {value};")
            else:
                lines.append(f"{indent}.{name} = {literal(value)},\n")
        return "".join(lines)

    def _init(self, once: list[str]) -> str:
        before = [
            "static const struct td_model_content *td_content;\n",
            "static struct {",
            *self.parameters,
            "} td_calls;\n",
        ]
        copied = ["    td_content = td_update_content();", *self.copies]
        text = super()._init(once).replace("{\n", "{\n" + "\n".join(copied) + "\n", 1)
        return "\n".join(before) + "\n" + text

    def _parameters(self, number: int) -> str:
        return f"td_calls.call{number}"

    def _name(self, data: Data, hint: str) -> str:
        """A member of its own for each use: which arrays are equal may change with the values."""
        name = f"{data.role}_{hint}"
        self.members.append(declared(name, data))
        self.initializers.append(f"    .{name} = {values(data.array)},")
        return f"td_content->{name}"
