"""The C API of an exported model, an example that calls it, and the README that explains both."""

from __future__ import annotations

from tinydeploy.graph import Graph, Tensor
from tinydeploy.types import Compiled, DeviceProfile

_CTYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "bool": "uint8_t", "int16": "int16_t",
    "int32": "int32_t", "int64": "int64_t", "float32": "float",
}  # fmt: skip
# What the example feeds: the same on every board, and on the host that checks it.
PATTERN_STEP = 37
PATTERN_RANGE = 251


def pattern(elements: int) -> list[int]:
    """The example's input, element by element, before it is cast to the input's type."""
    return [i * PATTERN_STEP % PATTERN_RANGE - PATTERN_RANGE // 2 for i in range(elements)]


def header(graph: Graph, arena_bytes: int) -> str:
    """td_model.h: the documented API."""
    lines = [
        "/* td_model.h: a model as one C function. Made by tinydeploy; do not edit.",
        " *",
        " * Call td_model_init() once, then td_model_invoke() for each inference. Arrays hold the",
        " * elements of a tensor, last dimension first to change. A quantized value q stands for",
        " * (q - ZERO_POINT) * SCALE: quantize x with round(x / SCALE) + ZERO_POINT, then clip it.",
        " * All memory is static; nothing is kept between calls but what a model with state keeps.",
        " * One call at a time: it is not reentrant, and not for interrupts. */",
        "#ifndef TD_MODEL_H",
        "#define TD_MODEL_H",
        "#include <stdint.h>",
        "",
        f'#define TD_MODEL_SHA256 "{graph.sha256}"  /* of the .tflite */',
        f"#define TD_MODEL_ARENA_BYTES {arena_bytes}u  /* of RAM: all tensors */",
        "",
    ]
    for name, tensor in _arguments(graph):
        upper = f"TD_MODEL_{name.upper()}"
        shape = "x".join(map(str, tensor.shape)) or "scalar"
        lines.append(f"#define {upper}_ELEMENTS {tensor.elements}  /* {shape}, {tensor.dtype} */")
        if len(tensor.scales) == 1:
            lines.append(f"#define {upper}_SCALE {tensor.scales[0]!r}f")
            lines.append(f"#define {upper}_ZERO_POINT ({tensor.zero_points[0]})")
    lines += [
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "void td_model_init(void);",
        f"void td_model_invoke({_parameters(graph)});",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def api(graph: Graph) -> str:
    """td_model.c: the API over the engine, which keeps inputs and outputs in its arena."""
    copy_in = [
        f"    memcpy(td_engine_inputs[{n}].data, {_name('in', n, len(graph.inputs))}, "
        f"td_engine_inputs[{n}].bytes);"
        for n in range(len(graph.inputs))
    ]
    copy_out = [
        f"    memcpy({_name('out', n, len(graph.outputs))}, td_engine_outputs[{n}].data, "
        f"td_engine_outputs[{n}].bytes);"
        for n in range(len(graph.outputs))
    ]
    return "\n".join(
        [
            "/* td_model.c: the API over the engine. Made by tinydeploy; do not edit. */",
            '#include "td_model.h"',
            "",
            "#include <string.h>",
            "",
            '#include "td_engine.h"',
            "",
            "void td_model_init(void)",
            "{",
            "    td_engine_init();",
            "}",
            "",
            f"void td_model_invoke({_parameters(graph)})",
            "{",
            *copy_in,
            "    td_engine_invoke();",
            *copy_out,
            "}",
            "",
        ]
    )


def main(graph: Graph, framework: str) -> str:
    """The example: feeds a fixed pattern, prints every output, again and again."""
    arrays = [
        f"static {_CTYPES[tensor.dtype]} {name}[TD_MODEL_{name.upper()}_ELEMENTS];"
        for name, tensor in _arguments(graph)
    ]
    fill = [
        line
        for name, tensor in _arguments(graph)[: len(graph.inputs)]
        for line in (
            f"    for (uint32_t i = 0; i < TD_MODEL_{name.upper()}_ELEMENTS; i++) {{",
            f"        {name}[i] = ({_CTYPES[tensor.dtype]})((int)(i * {PATTERN_STEP}u % "
            f"{PATTERN_RANGE}u) - {PATTERN_RANGE // 2});",
            "    }",
        )
    ]
    calls = ", ".join(name for name, _ in _arguments(graph))
    outputs = _arguments(graph)[len(graph.inputs) :]
    body = {"arduino": _arduino, "mbed": _printf, "": _printf}[framework]
    includes = {
        "arduino": "#include <Arduino.h>\n",
        "mbed": '#include "mbed.h"\n\n#include <stdio.h>\n',
        "": "#include <stdio.h>\n",
    }[framework]
    return "\n".join(
        [
            "/* An example of the C API in lib/td_model/td_model.h: put your own input in. */",
            f"{includes}",
            '#include "td_model.h"',
            "",
            *arrays,
            "",
            "static void fill_input(void)",
            "{",
            *fill,
            "}",
            "",
            *body(calls, outputs, framework),
            "",
        ]
    )


def _arduino(calls: str, outputs: list[tuple[str, Tensor]], framework: str) -> list[str]:
    shown = [
        line
        for name, tensor in outputs
        for line in (
            f'    Serial.print("{name}:");',
            f"    for (uint32_t i = 0; i < TD_MODEL_{name.upper()}_ELEMENTS; i++) {{",
            "        Serial.print(' ');",
            f"        Serial.print({name}[i]{', 6' if tensor.dtype == 'float32' else ''});",
            "    }",
            "    Serial.println();",
        )
    ]
    return [
        "void setup()",
        "{",
        "    Serial.begin(115200);",
        "    td_model_init();",
        "}",
        "",
        "void loop()",
        "{",
        "    fill_input();",
        "    uint32_t start = micros();",
        f"    td_model_invoke({calls});",
        "    uint32_t us = micros() - start;",
        *shown,
        '    Serial.print("microseconds: ");',
        "    Serial.println(us);",
        "    delay(1000);",
        "}",
    ]


def _printf(calls: str, outputs: list[tuple[str, Tensor]], framework: str) -> list[str]:
    shown = [
        line
        for name, tensor in outputs
        for line in (
            f'    printf("{name}:");',
            f"    for (uint32_t i = 0; i < TD_MODEL_{name.upper()}_ELEMENTS; i++) {{",
            f'        printf(" %{"f" if tensor.dtype == "float32" else "ld"}", '
            f"({'double' if tensor.dtype == 'float32' else 'long'}){name}[i]);",
            "    }",
            '    printf("\\n");',
        )
    ]
    return [
        "int main(void)" if not framework else "int main()",
        "{",
        "    td_model_init();",
        "    fill_input();",
        f"    td_model_invoke({calls});",
        *shown,
        "    return 0;",
        "}",
    ]


def readme(graph: Graph, device: DeviceProfile, compiled: Compiled, complete: bool) -> str:
    """README.md of an export."""
    if complete:
        how = f"""\
Open this folder in the PlatformIO IDE, or:

    pio run                             # the example in src/
    pio run -t upload
    pio run -e {device.name}-measure    # the firmware that `tinydeploy measure` speaks to

PlatformIO gets the platform `{device.platform}` and its framework from its registry at first.
"""
    else:
        how = """\
PlatformIO has no platform for it: add the C files of `lib/td_model` to your project and the folder
to its include path. They need C11 and nothing else. Compile with `-ffp-contract=off`, so that
results are those of the host, byte for byte. Here, for a try:

    cc -std=c11 -ffp-contract=off -Ilib/td_model src/main.c lib/td_model/*.c -o example && ./example
"""
    return f"""\
# A model for {device.description}

Made by tinydeploy from the .tflite with sha256 `{graph.sha256}`, engine `{compiled.engine}`,
optimized for {compiled.optimize}. Nobody has run this on the board: untested on hardware.

{how}
## C API (lib/td_model/td_model.h)

    void td_model_init(void);
    void td_model_invoke({_parameters(graph)});

`td_model_init` once, `td_model_invoke` for each inference; td_model.h has the numbers of elements,
the scales and the zero points. Inputs are copied into the model's arena, outputs out of it:
{compiled.arena_bytes:,} bytes of static RAM, no heap. One call at a time.

`src/main.*` is an example: it feeds a fixed pattern and prints the outputs.
"""


def _arguments(graph: Graph) -> list[tuple[str, Tensor]]:
    """Name and tensor of each parameter: in, out; or in0, in1, ..., out0, ..."""
    return [
        (_name(kind, n, len(tensors)), graph.tensors[t])
        for kind, tensors in (("in", graph.inputs), ("out", graph.outputs))
        for n, t in enumerate(tensors)
    ]


def _name(kind: str, number: int, count: int) -> str:
    return kind if count == 1 else f"{kind}{number}"


def _parameters(graph: Graph) -> str:
    return ", ".join(
        f"{'const ' if name.startswith('in') else ''}{_CTYPES[tensor.dtype]} *{name}"
        for name, tensor in _arguments(graph)
    )
