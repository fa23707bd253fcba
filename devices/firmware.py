"""The packaged firmware: where it lies, and what td_build.h tells it about a build."""

from __future__ import annotations

import importlib.resources
import re
from pathlib import Path

from tinydeploy.graph import Graph
from tinydeploy.types import Compiled, DeviceProfile

# These go into td_build.h, which only the protocol includes.
BUILD_DEFINES = ("TD_LINE_BYTES", "TD_WINDOW")
_DTYPE_BYTES = {
    "int8": 1, "uint8": 1, "bool": 1, "int16": 2, "int32": 4, "float32": 4, "int64": 8,
}  # fmt: skip


def firmware_folder() -> Path:
    """The packaged firmware sources; never built in place."""
    return Path(str(importlib.resources.files("tinydeploy.firmware")))


def input_bytes(graph: Graph) -> int:
    """Bytes of all inputs of a model."""
    return sum(
        graph.tensors[i].elements * _DTYPE_BYTES[graph.tensors[i].dtype] for i in graph.inputs
    )


def build_header(
    compiled: Compiled,
    graph: Graph,
    device: DeviceProfile,
    build_id: str,
    name: str,
    layout: str = "",
) -> str:
    """td_build.h: what the protocol tells about this build (see lib/td_link/td_config.h).

    With a `layout` (include/td_update.h) all that differs between two models of it is for the
    content alone, and the code asks the content for it.
    """
    content = "TD_CONTENT_BUILD_ID", "TD_CONTENT_MODEL"
    build_key, model_key = content if layout else ("TD_BUILD_ID", "TD_MODEL_SHA256")
    texts = {
        build_key: build_id,
        "TD_BOARD": device.name,
        "TD_ENGINE": compiled.engine,
        model_key: compiled.model_sha256,
        "TD_MODEL_NAME": re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[:40],
    }
    numbers = {
        "TD_INPUT_BYTES": str(input_bytes(graph)),
        "TD_LINE_BYTES": device.defines.get("TD_LINE_BYTES", "80"),
        "TD_WINDOW": device.defines.get("TD_WINDOW", "1"),
        "TD_INSTRUCTION_COUNTER": str(int(device.counts_instructions)),
        # An emulator's clock is virtual, whether or not it counts.
        **({"TD_VIRTUAL_TIME": "1"} if device.platform == "renode" else {}),
        "TD_BAUD": f"{device.baud}u",
        "TD_INPUT_COUNT": str(len(graph.inputs)),
        "TD_OUTPUT_COUNT": str(len(graph.outputs)),
        **(_of_content(graph, layout) if layout else _output_scale(graph)),
        **(
            {"TD_PROFILE_LAYERS": f"{compiled.profiled_layers}u"}
            if compiled.profiled_layers
            else {}
        ),
    }
    lines = ['#include "td_update.h"', f'#define TD_LAYOUT_ID "{layout}"'] if layout else []
    lines += [f'#define {key} "{value}"' for key, value in texts.items()]
    lines += [f"#define {key} {value}" for key, value in numbers.items()]
    guard = ("#ifndef TD_BUILD_H", "#define TD_BUILD_H")
    return "\n".join([*guard, *lines, "#endif", ""])


def prints_real_units(graph: Graph) -> bool:
    """Whether MLPerf's `results%` can print the first output in real units."""
    return bool(_output_scale(graph))


def _of_content(graph: Graph, layout: str) -> dict[str, str]:
    scale = _output_scale(graph)
    known = {
        "TD_OUTPUT_MILLI_Q16": "(td_update_header()->milli_q16)",
        "TD_OUTPUT_ZERO_POINT": "(td_update_header()->zero_point)",
    }
    return {
        "TD_LAYOUT": f"0x{layout[:8]}u",
        "TD_CONTENT_MILLI_Q16": scale.get("TD_OUTPUT_MILLI_Q16", "0u"),
        "TD_CONTENT_ZERO_POINT": scale.get("TD_OUTPUT_ZERO_POINT", "0"),
        "TD_BUILD_ID": "(td_update_header()->build)",
        "TD_MODEL_SHA256": "(td_update_header()->model)",
        **(known if scale else {}),
    }


def _output_scale(graph: Graph) -> dict[str, str]:
    """What MLPerf's `results%` needs to print the first output in real units."""
    output = graph.tensors[graph.outputs[0]]
    if output.dtype == "float32" or len(output.scales) != 1:
        return {}
    milli_q16 = round(1000 * output.scales[0] * 65536)
    if not 0 < milli_q16 < 1 << 32:
        return {}
    return {
        "TD_OUTPUT_MILLI_Q16": f"{milli_q16}u",
        "TD_OUTPUT_ZERO_POINT": f"({output.zero_points[0]})",
    }
