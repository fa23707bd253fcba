"""The text of a TFLite-Micro bundle's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tinydeploy.graph import Graph, Tensor

_BYTES_A_LINE = 16


def sources(
    graph: Graph,
    content: bytes,
    *,
    methods: Sequence[str],
    int8_kernels: Mapping[str, tuple[str, str]],
    arena_bytes: int,
    arena_origin: str,
    model_name: str,
    board: str,
) -> dict[str, str]:
    """File name -> text. `methods` are the op resolver's, `content` the model's bytes.

    `int8_kernels` maps some of the methods to the header and the name of a registration that
    serves int8 alone.
    """
    head = f"// Made by tinydeploy from {_comment(model_name)}, sha256 {graph.sha256}.\n"
    return {
        "model_data.h": head + _DATA_H,
        "model_data.cc": head + _DATA_CC.format(size=len(content), bytes=_array(content)),
        "model_ops.h": head
        + _OPS_H.format(
            count=len(methods),
            includes="".join(
                f'#include "tensorflow/lite/micro/kernels/{header}"\n'
                for header in sorted({header for header, _ in int8_kernels.values()})
            ),
            adds="".join(_add(method, int8_kernels) for method in methods),
        ),
        "model_arena.h": head + _ARENA_H.format(bytes=arena_bytes, origin=_comment(arena_origin)),
        "main.cc": head + _MAIN_CC,
        "README.md": _readme(graph, methods, arena_bytes, arena_origin, model_name, board),
    }


def _add(method: str, int8_kernels: Mapping[str, tuple[str, str]]) -> str:
    kernel = f"tflite::{int8_kernels[method][1]}()" if method in int8_kernels else ""
    return f"  TF_LITE_ENSURE_STATUS(resolver.{method}({kernel}));\n"


def _comment(text: str) -> str:
    """A single line that cannot end or continue a comment."""
    return "".join(c if c.isprintable() and c != "\\" else "?" for c in text)


def _array(content: bytes) -> str:
    lines = []
    for start in range(0, len(content), _BYTES_A_LINE):
        part = content[start : start + _BYTES_A_LINE]
        lines.append("    " + " ".join(f"0x{byte:02x}," for byte in part))
    return "\n".join(lines)


_DATA_H = """\
#ifndef MODEL_DATA_H_
#define MODEL_DATA_H_

#include <cstddef>

// The .tflite flatbuffer; TFLite-Micro needs it aligned to 16 bytes.
extern const unsigned char g_model_data[];
extern const std::size_t g_model_data_bytes;

#endif  // MODEL_DATA_H_
"""

_DATA_CC = """\
#include "model_data.h"

alignas(16) const unsigned char g_model_data[{size}] = {{
{bytes}
}};
const std::size_t g_model_data_bytes = sizeof(g_model_data);
"""

_OPS_H = """\
#ifndef MODEL_OPS_H_
#define MODEL_OPS_H_

{includes}#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

// Only the operators of this model, and of those that are all int8 only the kernels for int8: the
// linker leaves everything else out.
using ModelOpResolver = tflite::MicroMutableOpResolver<{count}>;

inline TfLiteStatus AddModelOps(ModelOpResolver& resolver) {{
{adds}  return kTfLiteOk;
}}

#endif  // MODEL_OPS_H_
"""

_ARENA_H = """\
#ifndef MODEL_ARENA_H_
#define MODEL_ARENA_H_

#include <cstddef>

// Origin: {origin}; the least in which TFLite-Micro with reference kernels allocates there.
// A 32-bit core has smaller structs and needs a little less; kernels with scratch buffers
// (CMSIS-NN, ESP-NN) can need more. interpreter.arena_used_bytes() says what your build uses.
constexpr std::size_t kTensorArenaBytes = {bytes};

#endif  // MODEL_ARENA_H_
"""

_MAIN_CC = """\
// An example: one inference of zeros. Put your input where it says so.

#include <cstdint>
#include <cstring>

#include "model_arena.h"
#include "model_data.h"
#include "model_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
alignas(16) std::uint8_t g_tensor_arena[kTensorArenaBytes];
}

int main() {
  tflite::InitializeTarget();

  const tflite::Model* model = tflite::GetModel(g_model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    MicroPrintf("schema version %d, not %d", static_cast<int>(model->version()),
                static_cast<int>(TFLITE_SCHEMA_VERSION));
    return 1;
  }

  static ModelOpResolver resolver;
  if (AddModelOps(resolver) != kTfLiteOk) {
    return 1;
  }

  static tflite::MicroInterpreter interpreter(model, resolver, g_tensor_arena, kTensorArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    MicroPrintf("the arena of %d bytes is too small", static_cast<int>(kTensorArenaBytes));
    return 1;
  }

  for (std::size_t i = 0; i < interpreter.inputs_size(); ++i) {
    TfLiteTensor* input = interpreter.input(i);
    std::memset(input->data.raw, 0, input->bytes);  // your input goes here
  }
  if (interpreter.Invoke() != kTfLiteOk) {
    return 1;
  }
  for (std::size_t i = 0; i < interpreter.outputs_size(); ++i) {
    const TfLiteTensor* output = interpreter.output(i);
    MicroPrintf("output %d: %d bytes", static_cast<int>(i), static_cast<int>(output->bytes));
  }
  MicroPrintf("arena: %d of %d bytes used", static_cast<int>(interpreter.arena_used_bytes()),
              static_cast<int>(kTensorArenaBytes));
  return 0;
}
"""


def _readme(
    graph: Graph,
    methods: Sequence[str],
    arena_bytes: int,
    arena_origin: str,
    model_name: str,
    board: str,
) -> str:
    rows = [
        *(_row("input", i, graph.tensors[t]) for i, t in enumerate(graph.inputs)),
        *(_row("output", i, graph.tensors[t]) for i, t in enumerate(graph.outputs)),
    ]
    name = _comment(model_name).replace("`", "'")
    return f"""\
# TFLite-Micro bundle of `{name}`{f" for {board}" if board else ""}

| file | what it is |
|---|---|
| `model.tflite` | the model, {graph.size_bytes:,} bytes, sha256 `{graph.sha256}` |
| `model_data.h`, `model_data.cc` | the same bytes as a C array in flash, aligned to 16 |
| `model_ops.h` | an op resolver with the {len(methods)} operators of this model |
| `model_arena.h` | `kTensorArenaBytes` = {arena_bytes:,} ({_comment(arena_origin)}) |
| `main.cc` | an example that allocates, runs once and prints the arena it used |

| tensor | shape | type | real value |
|---|---|---|---|
{chr(10).join(rows)}

The TFLite-Micro library is not included: add one to your project, for example by PlatformIO's
`lib_deps` or from your vendor's SDK, put these files beside your sources, and build with
`-std=c++17`. On the host this model was allocated and run with the arena above.
"""


def _row(kind: str, number: int, tensor: Tensor) -> str:
    shape = "×".join(map(str, tensor.shape))
    value = "the element"
    if len(tensor.scales) == 1:
        value = f"{tensor.scales[0]:.9g} · (element - {tensor.zero_points[0]})"
    return f"| {kind} {number} | {shape} | {tensor.dtype} | {value} |"
